"""The integer reference against ONNX Runtime, the simulation and the generated C, by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.export.c import compiler
from onnxq.graph import Model
from onnxq.integer import Program, Step, encode, execute, lower, run
from onnxq.integer.arithmetic import accumulate
from onnxq.integer.kinds import Concat, Conv
from onnxq.report.qdq_form import qdq_form
from onnxq.report.verify.counts import Counts
from onnxq.report.verify.generated import GeneratedCodes
from onnxq.report.verify.runtime import RuntimeCodes
from onnxq.report.verify.simulated import SimulatedCodes
from onnxq.runtime.providers import Provider

SCHEMA = "onnxq-verify/1"
#: Frames that are run together.
_TOGETHER = 32

Samples = Iterable[Mapping[str, NDArray[Any]]]


@dataclass
class _Layer:
    """Counts of one step.

    Attributes:
        chain: reference against ONNX Runtime, each from the input on.
        alone: the same where the reference gets the codes that ONNX Runtime has.
        simulation: reference against the simulation model, each from the input on.
        c: reference against the generated C, each from the input on.
        first: the first difference of *alone*.
    """

    chain: Counts = field(default_factory=Counts)
    alone: Counts = field(default_factory=Counts)
    simulation: Counts = field(default_factory=Counts)
    c: Counts = field(default_factory=Counts)
    first: dict[str, Any] | None = None


def verify(
    model: Model,
    samples: Samples,
    *,
    providers: Sequence[Provider] = (),
    c: bool = True,
    simulation: bool = True,
) -> dict[str, Any]:
    """Compare all values of *model* on *samples*; JSON of the schema ``onnxq-verify/1``.

    ``layers`` hold, for each step, counts of exact, off by one and worse: ``runtime`` (each from
    the input on), ``runtime_alone`` (the step alone, on the runtime's own codes), ``simulation``
    (the model of explicit arithmetic, in ONNX Runtime; from the input on) and ``c`` (None where
    there is no compiler). ``claim`` says what of ONNX Runtime is exact: ``runtime``, the layer on
    codes as it is; ``simulation``, the simulation alone; ``none``. ``holds`` says of
    ``simulation`` and ``c`` whether every value is equal, and of ``runtime`` whether no step alone
    is off by more than one, which its float requantization with ties to even explains.

    Raises:
        UnsupportedModelError: a node cannot run on integers alone.
    """
    program = lower(qdq_form(model))
    runtime = RuntimeCodes(model, program, providers)
    layers = {s.output: _Layer() for s in program.steps}
    frames = 0
    with ExitStack() as stack:
        generated = None
        simulated = SimulatedCodes(model, program, providers) if simulation else None
        if c and compiler() is not None:
            generated = stack.enter_context(GeneratedCodes(program))
        for feed in _batches(samples, _TOGETHER if runtime.batched else 1):
            codes = {v: encode(program.values[v], feed[n]) for n, v in program.inputs.items()}
            reference, measured = run(program, codes), runtime.run(feed)
            made = None if generated is None else generated.run(codes)
            explicit = None if simulated is None else simulated.run(feed)
            for step in program.steps:
                layer = layers[step.output]
                layer.chain.add(reference[step.output], measured[step.output])
                _alone(program, step, measured, layer, frames)
                for counts, other in ((layer.c, made), (layer.simulation, explicit)):
                    if other is not None:
                        counts.add(reference[step.output], other[step.output])
            frames += len(next(iter(codes.values())))
    return _summary(model, program, layers, frames, generated, simulation)


def _batches(samples: Samples, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    kept: list[Mapping[str, NDArray[Any]]] = []
    for sample in samples:
        kept.append(sample)
        if len(kept) == size:
            yield _joined(kept)
            kept = []
    if kept:
        yield _joined(kept)


def _joined(samples: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {n: np.concatenate([np.asarray(s[n]) for s in samples]) for n in samples[0]}


def _alone(
    program: Program, step: Step, measured: Mapping[str, NDArray[Any]], layer: _Layer, frames: int
) -> None:
    given = {**program.constants, **{n: measured[n] for n in step.inputs if n in measured}}
    found = execute(program, step, given)
    difference = layer.alone.add(found, measured[step.output])
    if layer.first is None and difference.any():
        at = tuple(int(i) for i in np.argwhere(difference)[0])
        layer.first = {
            "frame": frames + at[0], "index": list(at[1:]), "reference": int(found[at]),
            "runtime": int(measured[step.output][at]), **_operands(program, step, given, at),
        }  # fmt: skip


def _operands(
    program: Program, step: Step, given: Mapping[str, NDArray[Any]], at: tuple[int, ...]
) -> dict[str, Any]:
    if isinstance(step.kind, Concat):
        return {}
    inputs = [given[n] if n in program.constants else given[n][at[0] : at[0] + 1]
              for n in step.inputs]  # fmt: skip
    acc = accumulate(step, inputs, program.values[step.output].shape)
    channel = at[1] if isinstance(step.kind, Conv) else at[-1]
    shift = step.shifts[0 if len(step.shifts) == 1 else channel]
    total, found = int(acc[(0, *at[1:])]), {"shift": shift}
    if step.multipliers:
        found["multiplier"] = step.multipliers[0 if len(step.multipliers) == 1 else channel]
    ratio = found.get("multiplier", 1 << 31) / 2.0 ** (31 + shift)
    return {"accumulator": total, **found, "quotient": total * ratio + step.zero_point}


def _summary(
    model: Model, program: Program, layers: Mapping[str, _Layer], frames: int,
    generated: GeneratedCodes | None, simulation: bool,
) -> dict[str, Any]:  # fmt: skip
    outputs = [v for v in program.outputs.values() if v in layers]
    found = list(layers.values())
    total = sum(layer.chain.all for layer in found)
    return {
        "schema": SCHEMA,
        "model": model.path.name if model.path is not None else "",
        "frames": frames,
        "values": total,
        "rounding": program.rounding.value,
        "layers": [
            {
                "node": s.node, "op_type": s.op_type, "value": s.output,
                "runtime": asdict(layers[s.output].chain),
                "runtime_alone": asdict(layers[s.output].alone),
                "simulation": asdict(layers[s.output].simulation) if simulation else None,
                "c": asdict(layers[s.output].c) if generated is not None else None,
                "claim": _claim(layers[s.output], simulation),
                "first_difference": layers[s.output].first,
            }
            for s in program.steps
        ],
        "outputs": [
            {"name": n, "runtime": asdict(layers[v].chain),
             "simulation": asdict(layers[v].simulation) if simulation else None,
             "c": asdict(layers[v].c) if generated is not None else None}
            for n, v in program.outputs.items() if v in outputs
        ],
        "simulation": None if not simulation else {
            "values": sum(layer.simulation.all for layer in found),
            "equal": sum(layer.simulation.exact for layer in found),
        },
        "c": None if generated is None else {
            "values": sum(layer.c.all for layer in found),
            "equal": sum(layer.c.exact for layer in found),
            "static_ram_bytes": generated.source.ram,
            "constant_bytes": generated.source.constants,
        },
        "holds": {
            "simulation": all(x.simulation.equal for x in found) if simulation else None,
            "c": None if generated is None else all(x.c.equal for x in found),
            "runtime": not any(layer.alone.worse for layer in found),
        },
    }  # fmt: skip


def _claim(layer: _Layer, simulation: bool) -> str:
    if layer.alone.equal:
        return "runtime"
    return "simulation" if simulation and layer.simulation.equal else "none"
