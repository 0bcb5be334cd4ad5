"""Static quantization of what lies in the bodies of If, Loop and Scan.

A body is quantized as a model of its own, with the same recipe, on what it reads while the model
around it runs on the samples. What it reads from around it, and hands back, stays float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice

from onnx import ModelProto, TensorProto, ValueInfoProto

from onnxq.api.calibration import Calibration
from onnxq.api.keep_scales import TRAINED
from onnxq.api.result import Result
from onnxq.api.rounds import Emitted
from onnxq.calibrate.bodies import body_feeds, typed
from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.sources import Feed
from onnxq.errors import OnnxqError
from onnxq.graph.bodies import CONTROL, Body, bodies, node_names, put_back
from onnxq.passes.canonical.remove_unused import RemoveUnused
from onnxq.passes.emit.io_dtype import IoDtype
from onnxq.passes.plan.exclude_nodes import ExcludeNodes
from onnxq.passes.plan.override_tensors import OverrideTensors
from onnxq.pipeline import Recipe
from onnxq.runtime.providers import Provider

#: About how many steps of a Loop or Scan calibrate its body; more make ranges no better.
STEPS = 512
#: Options of a call that are those of its bodies, too; the recipe has the others.
PASSED_ON = (
    "providers", "report_detail", "max_opset", "runtime_version", "keep_unfused", "seed",
)  # fmt: skip
_UNSEEN = "no sample reaches it: its weights alone are stored as integers"
_UNKNOWN = "no sample reaches it, and without one the ranks of what it reads are not known"
_STATES = "without samples its weights alone are stored as integers: each step changes"
_OUTSIDE = (ExcludeNodes, OverrideTensors, IoDtype)


@dataclass(frozen=True)
class Inner:
    """A body after quantization.

    Attributes:
        body: the body as it was.
        result: what became of it; None where it stayed as it was.
        reason: why it stayed, or why its weights alone were quantized.
        steps: on how many feeds it was calibrated.
        names: names of its nodes and tensors in the model around it, where they are others.
    """

    body: Body
    result: Result | None
    reason: str
    steps: int
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Inside:
    """How bodies are quantized.

    Attributes:
        quantize: ``onnxq.quantize`` with the options of the call.
        keep_scales: whether scales are those of training.
        data_free: whether there are no samples, and ranges follow from weights.
        calibrates: whether there are samples to calibrate on.
        providers: execution providers.
    """

    quantize: Callable[..., Result]
    keep_scales: bool = False
    data_free: bool = False
    calibrates: bool = True
    providers: Sequence[Provider] = ()


def quantize_bodies(made: Emitted, run: Calibration, steps: Recipe, inside: Inside) -> list[Inner]:
    """Quantize the bodies in the main graph of *made*, and put them into its models, in place.

    *steps* is the recipe of the call.
    """
    if not any(node.op in CONTROL and node.name for node in made.original.graph.nodes):
        return []
    kept = [p for p in steps.passes if not isinstance(p, (*_OUTSIDE, *TRAINED))]
    recipe = Recipe(tuple(kept), steps.name)
    original = made.original.to_proto()
    done = []
    for body in bodies(original):
        if body.node:
            done.append(_quantized(body, original, made, run, recipe, inside))
    for model in (made.work,) if made.qdq is made.work else (made.work, made.qdq):
        proto = model.to_proto()
        there = {n for node in proto.graph.node for n in node.output}
        there |= {v.name for v in (*proto.graph.input, *proto.graph.initializer)}
        for i, inner in enumerate(done):
            if inner.result is not None and there.issuperset(inner.body.captured):
                names = put_back(proto, inner.body, inner.result.model.to_proto())
                if model is made.work:
                    done[i] = replace(inner, names=names)
        model.replace(proto)
        RemoveUnused().run(model, made.ctx)
    return done


def _quantized(
    body: Body,
    around: ModelProto,
    made: Emitted,
    run: Calibration,
    recipe: Recipe,
    inside: Inside,
) -> Inner:
    """*body*, of the model *around*, quantized on the samples of *run*."""
    outside = made.ctx.plan.excluded.get(body.node)
    if outside is not None:
        return Inner(body, None, outside, 0)
    both = [b for b in bodies(around) if b.node == body.node]
    own = next(b for b in both if b.attribute == body.attribute)
    most = max(2, STEPS // max(run.split.calibration_samples, 1))

    def feeds(samples: Iterable[Feed]) -> Iterator[Feed]:
        found = body_feeds(around, both, samples, most, inside.providers)
        return (feed for b, feed in found if b is own)

    names = set(node_names(body.model.graph))
    excluded = tuple(n for n in made.ctx.plan.excluded if n in names)
    try:
        seen = feeds(run.split)
        first = next(seen, None)
        alone = typed(body, around, first)
        if not all(_has_shape(v) for v in (*alone.graph.input, *alone.graph.output)):
            return Inner(body, None, _UNKNOWN, 0)
        held = list(islice(feeds(run.report_feeds()), STEPS)) or None
        call = partial(inside.quantize, exclude=excluded)
        if inside.keep_scales:
            data = chain([first], seen) if inside.calibrates and first is not None else None
            result = call(alone, recipe=recipe, keep_scales=True, data=data, report_data=held)
            reason = ""
        elif inside.data_free:
            ranges, reason = _ranges(alone, own, around, made, run)
            if reason:
                result = call(alone, mode="weights")
            else:
                result = call(
                    alone, recipe=recipe, data_free=True, input_range=ranges, report_data=held
                )
        elif first is None:
            result, reason = call(alone, mode="weights"), _UNSEEN
        else:
            data = chain([first], seen)
            result, reason = call(alone, recipe=recipe, data=data, report_data=held), ""
    except OnnxqError as error:
        return Inner(body, None, f"its body stays as it is: {error.message}", 0)
    if result.model.opset != made.work.opset:
        return Inner(body, None, "its body needs another opset than the model around it", 0)
    samples = int(result.report["data"]["calibration_samples"])
    return Inner(body, result if result.report["layers"] else None, reason, samples)


def _ranges(
    alone: ModelProto, body: Body, around: ModelProto, made: Emitted, run: Calibration
) -> tuple[dict[str, tuple[float, float]], str]:
    """Estimated ranges of what *body* reads, by name, or why they are not known.

    What a Loop or Scan carries from step to step has other ranges behind each of them.
    """
    node = next(n for n in around.graph.node if n.name == body.node)
    floats = [
        i.name for i in alone.graph.input if i.type.tensor_type.elem_type == TensorProto.FLOAT
    ]
    sources = {name: name for name in body.captured}
    if body.op == "Scan":  # its states come first
        scanned = next(a.i for a in node.attribute if a.name == "num_scan_inputs")
        sources |= dict(zip(body.own[-scanned:], node.input[-scanned:], strict=True))
    carried = [name for name in floats if name not in sources]
    if carried:
        return {}, f"{_STATES} '{carried[0]}'"
    wanted = {sources[name]: (Extremes(),) for name in floats}
    found = run.measure(made.original, wanted) if wanted else None
    ranges = {}
    for name in floats:
        state = None if found is None else found.states.get(sources[name], {}).get(Extremes())
        if state is None or not state.low.size:
            return {}, f"the range of '{name}', which it reads, cannot be estimated"
        low, high = float(state.low.min()), float(state.high.max())
        ranges[name] = (low, high) if low < high else (low - 1, low + 1)
    return ranges, ""


def _has_shape(value: ValueInfoProto) -> bool:
    kind = value.type
    return bool(kind.WhichOneof("value") != "tensor_type" or kind.tensor_type.HasField("shape"))
