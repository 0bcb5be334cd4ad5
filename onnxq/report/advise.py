"""The last part of a report: what each layer does to the outputs, and which to keep in float."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from onnxq.errors import DataError, UnsupportedModelError
from onnxq.report.entries import finite
from onnxq.report.isolated import Isolated
from onnxq.report.outcome import Effect
from onnxq.report.recommend import Advice, Recommender, Step
from onnxq.report.sensitivity import Clock, Metric, Sensitivity
from onnxq.report.spread import Spread, enough
from onnxq.runtime.providers import Provider
from onnxq.targets import TARGETS

#: Layers of a model from which nothing is measured here, and bytes of constants likewise.
LAYERS, BYTES = 1500, 1 << 29
#: Layers from which their order is found by measuring blocks of them.
MANY = 100
#: By how much (dB) all layers together may be worse than the quantized model that they make up.
DOUBT_DB = 6.0
_DOUBT = (
    "layers may be compared with the wrong tensors of the float model: the quantized model reaches "
    "{:.1f} dB, its layers put together {:.1f} dB; do not rely on the errors of single layers. "
    "Nothing is recommended. Names, or the metadata that the quantizer wrote, would help"
)
#: Beginnings of the names of the targets whose kernels take activations of 8 bits alone.
_EIGHT_BITS = ("x86", "arm")
_WHY_FLOAT = (
    "layers are recommended to be kept in float and not to be raised to 16 bit: ONNX Runtime's "
    "integer kernels on processors take activations of 8 bits alone"
)


_WHY_WIDER = (
    "'raise to 16 bits' was measured in float, which is about the same: --overrides FILE.toml with "
    'dtype = "int16" for each of the tensors that --json lists there, or --activations int16'
)


@dataclass(frozen=True)
class Effort:
    """How much to spend.

    Attributes:
        budget_s: seconds, about.
        metric: a measure of the user's, of the outputs on one sample.
        clock: what tells the time (seconds).
    """

    budget_s: float = 15.0
    metric: Metric | None = None
    clock: Clock = monotonic


def advise(
    report: dict[str, Any],
    isolated: Isolated,
    kept: Spread,
    *,
    effort: Effort,
    providers: Sequence[Provider] = (),
) -> None:
    """Add "sensitivity", the layers' "effect" and "recommendation" to *report*.

    *kept* has the samples. Two thirds of the time go to the layers' effects, the rest to the
    recommendation; layers with the largest noise of their own come first, of more than ``MANY``
    those for which blocks of layers let expect the largest effect.

    Raises:
        OptionError: the metric fails.
    """
    try:
        _advise(report, isolated, kept, effort, providers)
    except (UnsupportedModelError, DataError) as error:  # the rest of the report stands
        _nothing(report, f"ONNX Runtime cannot run the graph with switches: {error.why}")


def _nothing(report: dict[str, Any], reason: str) -> None:
    report["sensitivity"], report["recommendation"] = None, []
    note(report, f"what layers do to the outputs was not measured: {reason}")


def _advise(
    report: dict[str, Any],
    isolated: Isolated,
    kept: Spread,
    effort: Effort,
    providers: Sequence[Provider],
) -> None:
    start = effort.clock()
    report["recommendation"] = []
    for entry in report["layers"]:
        entry["effect"] = None
    layers = {str(e.get("quantized_node", e["node"])): e for e in report["layers"]}
    # others read codes that were made for their neighbours, and compute in float
    groups = [g for g in isolated.groups if g.node in layers]
    reason = _too_large(isolated, len(groups))
    if reason:
        _nothing(report, reason)
        return
    macs = {node: float(e["macs"] or 0) for node, e in layers.items()}
    total = float(report["summary"].get("macs") or sum(macs.values()))
    samples = kept.take(enough(len(layers), total, kept.most))
    sensitivity = Sensitivity(
        isolated.original, groups, isolated.values, samples, macs,
        metric=effort.metric, providers=providers,
    )  # fmt: skip
    candidates = {node: macs[node] for node in sensitivity.index if node in layers}
    exact = {g.node for g in isolated.exact}
    rank = [node for node in layers if node in candidates]  # worst isolated first, see the report
    noisy = [node for node in rank if node not in exact]
    deadline, middle = start + effort.budget_s, start + effort.budget_s * 2 / 3
    forecast: dict[str, float] = {}
    if len(noisy) > MANY:
        own = {node: layers[node].get("isolated_noise_to_signal") or 0.0 for node in noisy}
        forecast = sensitivity.forecast(own, middle, effort.clock)
        noisy.sort(key=lambda node: -forecast.get(node, 0.0))
        rank = [*noisy, *(node for node in rank if node in exact)]
    effects = sensitivity.effects(noisy, middle, effort.clock)
    advice = Recommender(
        sensitivity,
        effects,
        candidates,
        total,
        rank,
        isolated.exact,
        deadline,
        effort.clock,
        forecast,
    ).advise()
    _add_effects(layers, effects, sensitivity)
    if effort.metric is None:
        _add_estimates(layers, forecast)
    report["sensitivity"] = {
        "method": "switchable graph" + (", ordered by blocks of layers" if forecast else ""),
        "samples": len(samples),
        "layers_measured": len(effects),
        "layers": len(noisy),
        "budget_s": effort.budget_s,
        "approximated": len(effects) < len(noisy),
        "sqnr_db": finite(sensitivity.whole.sqnr_db),
        "segments": len(sensitivity.segments.segments),
    }
    if effort.metric is not None:
        name = getattr(effort.metric, "__name__", type(effort.metric).__name__)
        report["sensitivity"]["metric"] = {
            "name": name, "float": sensitivity.whole.ideal, "quantized": sensitivity.whole.metric
        }  # fmt: skip
    if len(effects) < len(noisy):
        note(
            report,
            f"effects on the outputs were measured for {len(effects)} of {len(noisy)} layers, "
            f"those with the largest {'effect expected' if forecast else 'noise of their own'}: "
            f"the budget of {effort.budget_s:g} s was used up",
        )
    report["recommendation"] = _entries(report, layers, advice, sensitivity, candidates, total)
    reached = _overall(report["summary"]["outputs"])
    if reached is not None and sensitivity.whole.sqnr_db < reached - DOUBT_DB:
        report["recommendation"] = []
        report["warnings"] = [*report.get("warnings", ()), _DOUBT.format(
            reached, sensitivity.whole.sqnr_db
        )]  # fmt: skip
        return
    _explain(report, advice)


def _explain(report: dict[str, Any], advice: Advice) -> None:
    """Say why layers are recommended to be what they are, or why none is."""
    target = TARGETS.get(str(report.get("target", "")))
    integer = None if target is None else target.integer
    if not advice.steps:
        what = "kept in float" if integer is None else "raised to 16 bits"
        note(report, f"no layer is recommended to be {what}: {advice.reason}")
    elif target is not None and target.name.startswith(_EIGHT_BITS):
        note(report, _WHY_FLOAT)
    elif target is not None and integer is not None and integer.code_bits < 16:
        report["recommendation"] = []
        note(
            report,
            f"nothing is recommended: {target.name} has no floating point, and codes of "
            f"{integer.code_bits} bits at most",
        )
    elif integer is not None:
        note(report, _WHY_WIDER)


def note(report: dict[str, Any], text: str) -> None:
    """Add a note to *report*."""
    report["notes"] = [*report.get("notes", ()), text]


def _too_large(isolated: Isolated, count: int) -> str:
    if not count:
        return "no quantized layer was recognised"
    if count > LAYERS:
        return f"{count} layers are more than {LAYERS}"
    size = sum(v.nbytes for v in isolated.values.values())
    if size > BYTES:
        return f"the constants take {size >> 20} MB, more than {BYTES >> 20}"
    return ""


def _add_effects(
    layers: Mapping[str, dict[str, Any]], effects: Mapping[str, Effect], whole: Sensitivity
) -> None:
    for node, effect in effects.items():
        entry: dict[str, Any] = {
            "alone_sqnr_db": finite(effect.alone.sqnr_db),
            "recovered_db": finite(_gain(effect.without.sqnr_db, whole.whole.sqnr_db)),
        }
        if effect.alone.metric is not None:
            entry["alone_metric"] = effect.alone.metric
            entry["without_metric"] = effect.without.metric
        layers[node]["effect"] = entry


def _add_estimates(layers: Mapping[str, dict[str, Any]], forecast: Mapping[str, float]) -> None:
    """What was forecast for the layers that were not measured, marked as such."""
    for node, noise in forecast.items():
        if layers[node]["effect"] is None and noise > 0:
            alone = finite(-10.0 * math.log10(noise))
            layers[node]["effect"] = {
                "alone_sqnr_db": alone, "recovered_db": None, "estimated": True
            }  # fmt: skip


def _gain(after: float, before: float) -> float:
    return 0.0 if after == before else after - before


def _entries(
    report: Mapping[str, Any],
    layers: Mapping[str, Mapping[str, Any]],
    advice: Advice,
    sensitivity: Sensitivity,
    macs: Mapping[str, float],
    total: float,
) -> list[dict[str, Any]]:
    """The recommendation as the report has it."""
    # a few samples measured the gain, all of the report's samples what it starts from
    start = _overall(report["summary"]["outputs"])
    shift = 0.0 if start is None else start - sensitivity.whole.sqnr_db
    last_db, last_metric = before, metric = sensitivity.whole.sqnr_db, sensitivity.whole.metric
    target = TARGETS.get(str(report.get("target", "")))
    wider = target is not None and target.integer is not None
    groups = {g.node: g for g in sensitivity.groups}
    first: Step | None = None
    found: list[dict[str, Any]] = []
    for step in advice.steps:
        after = step.outcome.sqnr_db
        if first is None or step.outcome is not first.outcome:
            first, before, metric = step, last_db, last_metric
        last_db, last_metric = after, step.outcome.metric
        text = f"the outputs gain {_gain(after, before):.1f} dB"
        if math.isinf(after):
            text = "the outputs are exact then"
        if metric is not None and step.outcome.metric is not None:
            text = f"the metric goes from {metric:.4g} to {step.outcome.metric:.4g}"
        if step.together:
            names = ", ".join(f"'{layers[n]['node']}'" for n in step.together)
            text += f"; together with {names}, which rounds the same values"
        found.append({
            "node": layers[step.node]["node"],
            "action": "int16" if wider else "float",
            "predicted_sqnr_db": finite(after + shift),
            "macs_percent": 100.0 * macs[step.node] / total if total else 0.0,
            "reason": text,
            "together": [layers[n]["node"] for n in step.together],
        })  # fmt: skip
        if step.outcome.metric is not None:
            found[-1]["predicted_metric"] = step.outcome.metric
        if wider:
            group = groups[step.node]
            ends = [group.result] if group.grid is not None else []
            ends += [s.tensor for s in group.sources if s.grid is not None]
            found[-1]["tensors"] = list(dict.fromkeys(ends))
    return found


def _overall(outputs: Sequence[Mapping[str, Any]]) -> float | None:
    """The SQNR (dB) of the mean of the outputs' noise to signal ratios, see ``Outcome``."""
    ratios = [o["noise_to_signal"] for o in outputs if o.get("noise_to_signal") is not None]
    noise = math.fsum(ratios) / len(ratios) if ratios else 0.0
    return -10.0 * math.log10(noise) if noise > 0 else None
