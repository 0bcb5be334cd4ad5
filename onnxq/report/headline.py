"""A report in three lines: the error of the outputs, how much is integer, the first thing to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxq.report.ranking import blame, ranked, ranking_key, reasons
from onnxq.report.units import GOOD_DB, POOR_DB, db_text, middle, percent

Report = Mapping[str, Any]


def samples_text(report: Report) -> str:
    """On how many samples errors were measured, and whether calibration saw them."""
    data = report.get("data") or {}
    count = data.get("report_samples")
    if count is None:
        return ""
    kinds = {True: ", held out", False: ", also used for calibration"}
    kind = "" if data.get("held_out") is None else kinds[bool(data["held_out"])]
    made_up = "synthetic " if data.get("synthetic") else ""
    return f"{count} {made_up}sample{'' if count == 1 else 's'}{kind}"


def agreement_text(output: Mapping[str, Any]) -> str:
    """Top-1 agreement in percent; empty if it was not measured."""
    value = output.get("top1_agreement")
    return "" if value is None else percent(100 * share(value))


def share(agreement: float) -> float:
    """*agreement* as a fraction: a share or a percentage, both are found in the wild."""
    return agreement if agreement <= 1 else agreement / 100


def integer_text(report: Report) -> str:
    """How much of the compute, and how many of the nodes, run on integers."""
    parts = report.get("summary") or {}
    shown = [
        f"{percent(parts[key])} of {what}"
        for key, what in (
            ("integer_macs_percent", "multiply-accumulates"),
            ("integer_nodes_percent", "nodes"),
        )
        if parts.get(key) is not None
    ]
    return ", ".join(shown)


def recommended_text(item: object) -> str:
    """One recommendation as a sentence without a full stop."""
    if not isinstance(item, Mapping):
        return str(item)
    node = f"'{item.get('node')}'"
    action = item.get("action")
    text = (
        f"keep {node} in float"
        if action == "float"
        else f"raise {node} to 16 bits" if action == "int16" else f"{action or 'look at'} {node}"
    )  # fmt: skip
    facts = []
    if item.get("predicted_sqnr_db") is not None:
        facts.append(f"output {db_text(item['predicted_sqnr_db'])} dB predicted")
    if item.get("macs_percent") is not None:
        facts.append(f"{percent(item['macs_percent'])} of the multiply-accumulates")
    return text + (f": {', '.join(facts)}" if facts else "")


def applied_by(report: Report, path: str) -> str:
    """The command that does what *report*, in the file *path*, recommends; "" where it does not."""
    advice = report.get("recommendation") or []
    actions = {item.get("action") for item in advice if isinstance(item, Mapping)}
    if "float" in actions:
        return f"onnxq quantize … --exclude-from {path}"
    return "onnxq quantize … --activations int16" if "int16" in actions else ""


def _joined(advice: Sequence[Any], width: int) -> tuple[Mapping[str, Any], int]:
    """The first entry of *advice* with those that only help together with it, and their number."""
    names = {advice[0].get("node"), *(advice[0].get("together") or ())}
    parts = [a for a in advice if isinstance(a, Mapping) and a.get("node") in names]
    nodes = [middle(str(p.get("node")), width) for p in parts]
    text = "' and '".join(["', '".join(nodes[:-1]), nodes[-1]] if len(nodes) > 1 else nodes)
    costs = [p["macs_percent"] for p in parts if p.get("macs_percent") is not None]
    last = {"node": text, "macs_percent": sum(costs) if costs else None}
    return {**parts[-1], **last}, len(parts)


def first_step(report: Report, *, width: int = 60) -> str:
    """The first thing to do, a sentence; node names cut to *width*."""
    advice = report.get("recommendation") or []
    if advice:
        first, count = advice[0], 1
        if isinstance(first, Mapping):
            first, count = _joined(advice, width)
        text = recommended_text(first)
        more = f" ({count} of {len(advice)} recommended)" if len(advice) > count else ""
        return text[0].upper() + text[1:] + more
    if (report.get("data") or {}).get("calibrated") is False:
        free = (report.get("data") or {}).get("data_free")
        source = "batch-norms and weights" if free else "random ones"
        return f"Calibrate with real samples: ranges come from {source}"
    parts = report.get("summary") or {}
    worst_output = min(
        (float(o["sqnr_db"]) for o in parts.get("outputs") or [] if o.get("sqnr_db") is not None),
        default=None,
    )
    macs, kept = parts.get("integer_macs_percent"), report.get("kept_float") or []
    if macs is not None and macs < 50 and kept:
        reason, nodes = reasons(kept)[0]
        return f"See why so much stayed float: {len(nodes)} × {reason}"
    layers = report.get("layers") or []
    key = ranking_key(layers)
    order = ranked(layers, key)
    if worst_output is not None and worst_output >= GOOD_DB:
        return "Nothing: the outputs are close to the float model's"
    if order and (worst_output is not None or float(order[0][key]) < POOR_DB):
        worst = order[0]
        where = "alone" if key == "isolated_sqnr_db" else "up to there"
        part = blame(worst)
        cause = f", mostly its {part[0]}" if part else ""
        name = middle(str(worst.get("node")), width)
        return f"Look at '{name}' first: {db_text(worst[key])} dB {where}{cause}"
    return "Nothing stands out" if order else "Measure: give samples to compare on"
