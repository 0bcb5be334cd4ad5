"""What would be quantized, and what would not and why; without data and without a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import Model
from onnxq.pipeline import Context, PassManager, Recipe, Stage, TensorFact
from onnxq.pipeline.eligibility import NOT_FLOAT
from onnxq.pipeline.macs import macs
from onnxq.targets import Target


@dataclass(frozen=True)
class NodeRow:
    """One node of the model as it is after fusion.

    Attributes:
        node, op_type: its name and operator.
        kernel: the integer kernel that is planned, or the node whose kernel absorbs this one;
            empty where it stays in float.
        reason: why it stays in float.
        macs: multiply-accumulates for one sample; None where shapes are not known.
        weight_bytes: size of its stored inputs in the float model.
    """

    node: str
    op_type: str
    kernel: str
    reason: str
    macs: int | None
    weight_bytes: int


@dataclass(frozen=True)
class Inspection:
    """The plan of a model for a target.

    Attributes:
        model, target, recipe: what was asked.
        rows: its nodes, in order.
        notes: what could not be decided without data, and other warnings.
    """

    model: str
    target: str
    recipe: str
    rows: tuple[NodeRow, ...]
    notes: tuple[str, ...]

    def operators(self) -> list[dict[str, Any]]:
        """Totals by operator type, those with most multiply-accumulates and bytes first."""
        found: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            total = found.setdefault(
                row.op_type,
                {"op_type": row.op_type, "nodes": 0, "integer": 0, "macs": 0, "bytes": 0},
            )
            total["nodes"] += 1
            total["integer"] += bool(row.kernel)
            total["macs"] += row.macs or 0
            total["bytes"] += row.weight_bytes
        return sorted(found.values(), key=lambda t: (-t["macs"], -t["bytes"], -t["nodes"]))

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "model": self.model,
            "target": self.target,
            "recipe": self.recipe,
            "operators": self.operators(),
            "nodes": [vars(row) for row in self.rows],
            "kept_float": self.kept_float(),
            "warnings": list(self.notes),
        }

    def kept_float(self) -> list[dict[str, str]]:
        """Nodes that would stay in float, in the form that reports use."""
        return [
            {"node": r.node, "op_type": r.op_type, "reason": r.reason}
            for r in self.rows
            if not r.kernel and r.reason not in ("", NOT_FLOAT)
        ]


def inspect(model: Model, target: Target, recipe: Recipe) -> Inspection:
    """Canonicalize, fuse and plan *model*, in place, and tell the plan.

    Args:
        model: the float model.
        target: the hardware profile.
        recipe: its passes up to planning are run.

    Raises:
        OnnxqError: what those passes raise.
    """
    ctx = Context(target=target, probe=stated_facts)
    ctx.learn(model)
    for pass_ in recipe.passes:
        if pass_.stage > Stage.PLAN:
            continue
        if ctx.statistics.missing(pass_.wants(model, ctx)):
            ctx.journal.warn(f"'{pass_.name}' needs calibration data: its decisions are not shown")
            continue
        PassManager([pass_]).run(model, ctx)
    ctx.learn(model)
    seen: set[int] = set()
    absorbed = {name: plan.node for plan in ctx.plan.nodes.values() for name in plan.absorbs}
    rows = tuple(_row(node, ctx, absorbed, seen) for node in model.graph.nodes)
    name = model.path.name if model.path else "model"
    return Inspection(name, target.name, recipe.name, rows, tuple(ctx.journal.warnings))


def stated_facts(model: Model) -> dict[str, TensorFact]:
    """Types and shapes that follow from the file, for a batch of one.

    The first dimension of an input is taken as 1 where it is free; what depends on other free
    dimensions is None.
    """
    proto = model.to_proto()
    stored = {t.name for t in proto.graph.initializer}
    for value in proto.graph.input:
        shape = value.type.tensor_type.shape
        if value.name not in stored and len(shape.dim) > 1 and not shape.dim[0].dim_value:
            shape.dim[0].dim_value = 1
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}  # unknown shapes are shown as unknown
    graph = proto.graph
    return {v.name: _fact(v) for v in (*graph.input, *graph.value_info, *graph.output)}


def _fact(value: onnx.ValueInfoProto) -> TensorFact:
    kind = value.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return TensorFact(int(kind.elem_type), shape)


def _row(node: gs.Node, ctx: Context, absorbed: dict[str, str], seen: set[int]) -> NodeRow:
    planned = ctx.plan.nodes.get(node.name)
    kernel = planned.kernel if planned else ""
    if node.name in absorbed:
        kernel = f"part of '{absorbed[node.name]}'"
    reason = "" if kernel else ctx.plan.kept_float.get(node.name, "")
    return NodeRow(node.name, node.op, kernel, reason, macs(node, ctx), sum(_stored(node, seen)))


def _stored(node: gs.Node, seen: set[int]) -> Iterator[int]:
    """Sizes of the constants that *node* reads and that were not *seen* before."""
    for tensor in node.inputs:
        if isinstance(tensor, gs.Constant) and id(tensor) not in seen:
            seen.add(id(tensor))
            count = 1
            for size in tensor.shape:
                count *= int(size)
            yield count * int(getattr(tensor.dtype, "itemsize", 4))
