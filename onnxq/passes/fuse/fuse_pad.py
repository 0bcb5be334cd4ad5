"""The pass ``fuse-pad``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, constant_value, consumers
from onnxq.passes._scope import Scope, is_standard, present
from onnxq.passes.fuse._activation import bounds
from onnxq.pipeline import Context, Pass, Stage

_NOT_NEGATIVE = frozenset(
    {"Relu", "Sigmoid", "Softmax", "HardSigmoid", "Abs", "Exp", "Sqrt", "Softplus"}
)
_TAKES = ("Conv", "MaxPool", "AveragePool")


@dataclass(frozen=True, kw_only=True)
class FusePad(Pass):
    """Fold a Pad with zeros into the Conv or pooling behind it.

    What it does:
        Conv pads with zeros itself, so that its ``pads`` take over those of the Pad::

            Conv(Pad(x, p); q)  =  Conv(x; p + q)

        AveragePool does the same where it counts the padding (``count_include_pad``), which it is
        set to where it had no padding of its own. MaxPool pads with −∞, which gives the same as
        zero where x is not negative (behind Relu, Sigmoid, a Clip from 0 up, …).

    Why:
        A Pad is a copy of the whole tensor, and it keeps Q and DQ apart from the kernel.

    Example:
        ``Pad(x, [0,0,1,1,0,0,1,1]) → Conv``  becomes  ``Conv<pads = [1,1,1,1]>``.

    When it declines:
        Padding by another value or mode than constant zero, by computed amounts, of batch or
        channels, or a negative one (a crop); the padded tensor is read elsewhere or is an output
        of the graph; automatic or ceil-mode padding behind; before MaxPool, an input that may be
        negative; before AveragePool, padding that is not counted; before both, padding as wide
        as the kernel, which runtimes refuse.

    Numerics:
        Exact: the same terms are added.

    Source:
        ONNX operator specifications, Pad, Conv, MaxPool and AveragePool.
    """

    name: ClassVar[str] = "fuse-pad"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-6

    def run(self, model: Model, ctx: Context) -> None:
        """Fold every Pad that can be."""
        scope = Scope(model)
        for node in scope.sites("Pad"):
            users = consumers(node.outputs[0])
            below = users[0][0] if users and users[0][1] == 0 else None
            if below is None or below.op not in _TAKES or not is_standard(below):
                continue
            if scope.graph(below) is not scope.graph(node):
                continue
            reason = _fold(scope, node, below)
            if reason:
                ctx.decline(node, reason)


def _fold(scope: Scope, node: gs.Node, below: gs.Node) -> str:
    padded = node.outputs[0]
    if not scope.only_use(padded):
        others = scope.others(padded, below) or "read twice"
        return f"'{padded.name}' between it and '{below.name}' is {others}"
    kernel = attribute(below, "kernel_shape") or below.inputs[1].shape
    if kernel is None:
        return f"the kernel of '{below.name}' has no stated shape"
    rank = len(kernel) + (2 if "kernel_shape" in below.attrs else 0)
    amounts = _amounts(node, rank)
    if isinstance(amounts, str):
        return amounts
    if len(amounts) != 2 * rank:
        return f"it pads {len(amounts) // 2} axes, and '{below.name}' has {rank}"
    if any(amounts[i] for i in (0, 1, rank, rank + 1)):
        return f"it pads the batch or the channels, which '{below.name}' cannot"
    if any(a < 0 for a in amounts):
        return "it crops (negative padding)"
    extra = amounts[2:rank] + amounts[rank + 2 :]
    if attribute(below, "auto_pad", "NOTSET") in {"SAME_UPPER", "SAME_LOWER"}:
        return f"'{below.name}' pads automatically ({attribute(below, 'auto_pad')})"
    own = list(attribute(below, "pads", [0] * len(extra)))
    total = [int(a + b) for a, b in zip(own, extra, strict=True)]
    if below.op != "Conv":
        reason = _pool(scope, node, below, own, total)
        if reason:
            return reason
    blocked = scope.bypass(node)
    if blocked:
        return blocked
    if below.op == "AveragePool":
        below.attrs["count_include_pad"] = 1
    below.attrs.pop("auto_pad", None)
    below.attrs["pads"] = total
    return ""


def _amounts(node: gs.Node, rank: int) -> list[int] | str:
    """Padding before and after each axis, or why the node is not a plain pad with zeros."""
    mode = attribute(node, "mode", "constant")
    if mode != "constant":
        return f"it pads in mode '{mode}', not with zeros"
    if not present(node, 1):
        pads, value = attribute(node, "pads"), attribute(node, "value", 0.0)
    else:
        pads = constant_value(node.inputs[1])
        value = constant_value(node.inputs[2]) if present(node, 2) else 0.0
    if pads is None or value is None:
        return "its amounts or its value are computed; try 'fold-constants' first"
    if np.any(np.asarray(value) != 0):
        return f"it pads with {np.asarray(value).item()}, not with zeros"
    if not present(node, 3):
        return [int(p) for p in np.asarray(pads)]
    axes = constant_value(node.inputs[3])
    if axes is None:
        return "its axes are computed; try 'fold-constants' first"
    amounts = np.zeros((2, rank), dtype=np.int64)
    amounts[:, axes] = np.asarray(pads).reshape(2, -1)
    return [int(p) for p in amounts.reshape(-1)]


def _pool(scope: Scope, node: gs.Node, below: gs.Node, own: list[int], total: list[int]) -> str:
    """Why a pool cannot take the padding; empty where it can."""
    kernel, dilations = attribute(below, "kernel_shape"), attribute(below, "dilations")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations or [1] * len(kernel), strict=True)]
    if any(p >= r for p, r in zip(total, reach + reach, strict=True)):
        return f"padding as wide as the kernel of '{below.name}' is refused by runtimes"
    if attribute(below, "ceil_mode", 0):
        return f"'{below.name}' rounds its output size up, which counts padding differently"
    if below.op == "MaxPool":
        if len(below.outputs) > 1:
            return f"'{below.name}' gives indices, which would shift"
        if not _not_negative(scope.above(node)):
            return f"'{below.name}' pads with −∞, and '{node.inputs[0].name}' may be below 0"
        return ""
    if any(own) and not attribute(below, "count_include_pad", 0):
        return f"'{below.name}' has padding of its own, which it does not count"
    return ""


def _not_negative(above: gs.Node | None) -> bool:
    if above is None or not is_standard(above):
        return False
    if above.op in _NOT_NEGATIVE:
        return True
    found = bounds(above)
    return found is not None and found[0] >= 0
