"""The pass ``raise-opset``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx

from onnxq.errors import OptionError
from onnxq.graph import Model
from onnxq.passes._scope import Scope
from onnxq.passes.canonical._defaults import OPTIONAL, fix_defaults, raise_ir
from onnxq.passes.canonical._upgrade import ADAPTERS, misfit
from onnxq.passes.canonical._upgrade_six import misread
from onnxq.pipeline import Context, Pass, Stage

_OLDEST = 6


@dataclass(frozen=True, kw_only=True)
class RaiseOpset(Pass):
    """Bring the model to the operator set that the target needs.

    What it does:
        Rewrites each node whose operator changed between the model's opset and the wanted one:
        attributes that became inputs (axes of Squeeze, bounds of Clip, pads of Pad, …), defaults
        that changed, in the main graph and in sub-graphs. A model that holds an operator which
        this pass does not know how to rewrite goes through ONNX's version converter instead. The
        opset and, where needed, the IR version are raised; neither is ever lowered.

    Why:
        QuantizeLinear for each channel exists from opset 13. The nodes are edited in place
        first because the converter drops the metadata of nodes and names nothing that it adds.

    Example:
        ``y = Squeeze<axes = [0]>(x)`` at opset 11  becomes  ``y = Squeeze(x, axes)`` at 13.

    When it declines:
        The model holds local functions (run 'inline-functions' first), or neither this pass nor
        the converter can rewrite it, or the converter changes an input, an output or a shape.
        The model then keeps its opset, and the reason names the node.

    Numerics:
        Exact.

    Source:
        ONNX operator changelog.

    Attributes:
        opset: the wanted version of the default operator set; the target's, where that is higher.
    """

    name: ClassVar[str] = "raise-opset"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 0.0

    opset: int = 13

    def __post_init__(self) -> None:
        newest = onnx.defs.onnx_opset_version()
        if not 1 <= self.opset <= newest:
            raise OptionError(
                f"raise-opset: there is no opset {self.opset}", hint=f"1 to {newest}, such as 13"
            )

    def run(self, model: Model, ctx: Context) -> None:
        """Raise the opset, or note why it stays."""
        wanted = max(self.opset, ctx.target.opset)
        if model.opset >= wanted:
            return
        functions = model.header.functions
        if functions:
            ctx.decline(functions[0].name, "it is a local function; try 'inline-functions' first")
            return
        trial = model.clone()
        if _rewrite(trial, ctx, wanted):
            reason = _convert(model, wanted)
            if reason:
                node, why = _rewrite(model.clone(), ctx, wanted) or ("", "")
                ctx.decline(
                    node,
                    f"opset {model.opset} stays: {why}, and ONNX's version converter cannot "
                    f"either ({reason}); try to export the model at opset {wanted}",
                )
            return
        _rewrite(model, ctx, wanted)
        _stamp(model, wanted)


def _rewrite(model: Model, ctx: Context, wanted: int) -> tuple[str, str] | None:
    """Adapt every node; the first that cannot be, and why."""
    if model.opset < _OLDEST:
        return "", f"operators older than opset {_OLDEST} differ too much"
    scope = Scope(model)
    if model.opset == _OLDEST or any(True for _ in scope.sites("Clip", "Pad")):
        scope.stated.infer()  # adapters ask for types and ranks, which half a rewrite hides
    for node in scope.sites():
        for version in range(model.opset + 1, wanted + 1):
            adapter = ADAPTERS.get((node.op, version))
            reason = adapter(scope, node, ctx) if adapter else ""
            if reason:
                return node.name or node.op, f"{reason} at opset {version}"
        reason = misfit(node, wanted)
        if reason:
            return node.name or node.op, reason
    return None


def _stamp(model: Model, wanted: int) -> None:
    for graph in model.graphs():
        graph.opset = wanted
    if model.header.ir_version < OPTIONAL:
        fix_defaults(model)  # listed as inputs because they had to be
    raise_ir(model, _least_ir(wanted))


def _least_ir(opset: int) -> int:
    return int(onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]))


def _convert(model: Model, wanted: int) -> str:
    """Let ONNX's converter do it; why that failed, or an empty string."""
    for node in Scope(model).sites("PRelu"):
        if model.opset <= _OLDEST and misread(node):
            return f"it would lay the slopes of '{node.name}' along another axis"
    before = model.to_proto()
    # the converter adds initializers, which an IR below 4 wants among the inputs as well
    before.ir_version = max(before.ir_version, _least_ir(wanted))
    try:
        after = onnx.version_converter.convert_version(before, wanted)
        onnx.checker.check_model(after, full_check=True)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        return " ".join(str(error).split())[:200]
    for kind in ("input", "output"):
        pairs = zip(getattr(before.graph, kind), getattr(after.graph, kind), strict=False)
        for old, new in pairs:
            if old.name != new.name or old.type != new.type:
                return f"it changes the {kind} '{old.name}'"
    model.replace(after)
    return ""
