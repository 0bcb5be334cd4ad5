"""The pass ``fuse-focus``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, constant_value, consumers, replace_input
from onnxq.passes._scope import Scope, is_standard, present
from onnxq.pipeline import Context, Pass, Stage

_PHASES = {(0, 0), (0, 1), (1, 0), (1, 1)}


@dataclass(frozen=True, kw_only=True)
class FuseFocus(Pass):
    """Fold the slices of a Focus layer into the Conv behind it.

    What it does:
        Focus joins every second pixel of x, from each of the four corners of a 2 x 2 cell, along
        the channels. A Conv of k x k over it sees 2k x 2k pixels of x with stride 2::

            Conv(Concat(x[0::2, 0::2], x[1::2, 0::2], …), w)  =  Conv(x, w'; strides 2, pads 2p)
            w'[o, c, 2i + row, 2j + column]  =  w[o, C · phase + c, i, j]

    Why:
        Eight slices and a join copy the largest tensor of a detector three times; the
        multiply-accumulates are the same without them.

    Example:
        The stem of YOLOv5 up to release 5 and of YOLOX: ``Slice × 8, Concat, Conv 3 x 3`` becomes
        ``Conv 6 x 6``, as in the later releases of YOLOv5.

    When it declines:
        A part that is read elsewhere or is an output of the graph; a Conv with groups,
        dilations, automatic padding or a computed weight. What joins other slices is no candidate.

    Numerics:
        The same products, added in another order.

    Source:
        Ultralytics' replacement of Focus by an equivalent convolution (YOLOv5 6.0).
    """

    name: ClassVar[str] = "fuse-focus"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-4

    def run(self, model: Model, ctx: Context) -> None:
        """Fold every Focus that can be."""
        scope = Scope(model)
        for conv in scope.sites("Conv"):
            join = scope.above(conv)
            if join is None or join.op != "Concat" or not is_standard(join):
                continue
            focus = _focus(scope, join, ctx)
            if focus is None:
                continue
            reason = _why_not(scope, conv, join)
            if reason:
                ctx.decline(conv, reason)
            else:
                _fold(conv, scope, *focus)
                _drop(scope, join)


def _focus(
    scope: Scope, join: gs.Node, ctx: Context
) -> tuple[gs.Tensor, list[tuple[int, int]]] | None:
    """The tensor whose four phases *join* puts side by side, and their order; None if not so."""
    if attribute(join, "axis", None) not in (1, -3) or len(join.inputs) != 4:
        return None
    found = [_phase(scope, join, index, ctx) for index in range(4)]
    parts = [part for part in found if part is not None]
    if len(parts) < 4 or {phase for _, phase in parts} != _PHASES:
        return None
    source = parts[0][0]
    if any(tensor is not source for tensor, _ in parts) or ctx.rank(source) != 4:
        return None
    return source, [phase for _, phase in parts]


def _phase(
    scope: Scope, join: gs.Node, index: int, ctx: Context
) -> tuple[gs.Tensor, tuple[int, int]] | None:
    """What input *index* of *join* takes every second pixel of, and from which row and column."""
    starts: dict[int, int] = {}
    node = scope.above(join, index)
    tensor = join.inputs[index]
    while node is not None and node.op == "Slice" and is_standard(node) and len(starts) < 2:
        found = _halves(node, ctx.shape(node.inputs[0]))
        if found is None or found.keys() & starts.keys():
            return None
        starts |= found
        tensor = node.inputs[0]
        node = scope.above(node)
    return (tensor, (starts[2], starts[3])) if starts.keys() == {2, 3} else None


def _halves(node: gs.Node, shape: tuple[int | None, ...] | None) -> dict[int, int] | None:
    """By axis, the start of a Slice that takes every second row or column to the end."""
    if len(node.inputs) < 5 or not present(node, 3) or not present(node, 4):
        return None
    values = [constant_value(t) for t in node.inputs[1:5]]
    if any(v is None for v in values):
        return None
    starts, ends, axes, steps = (np.asarray(v).reshape(-1).tolist() for v in values)
    axes = [axis % 4 for axis in axes]  # the rank of the input of a Conv over images
    sizes = [None if shape is None or len(shape) != 4 else shape[axis] for axis in axes]
    whole = all(e >= (s or 2**31 - 1) for e, s in zip(ends, sizes, strict=True))
    if not whole or any(s != 2 for s in steps) or any(s not in (0, 1) for s in starts):
        return None
    return dict(zip(axes, starts, strict=True))


def _why_not(scope: Scope, conv: gs.Node, join: gs.Node) -> str:
    if constant_value(conv.inputs[1]) is None:
        return f"its weight '{conv.inputs[1].name}' is computed; try 'fold-constants' first"
    if attribute(conv, "group", 1) != 1 or any(d != 1 for d in attribute(conv, "dilations", [])):
        return "it has groups or dilations"
    if attribute(conv, "auto_pad", "NOTSET") in {"SAME_UPPER", "SAME_LOWER"}:
        return "it pads automatically"
    others = scope.others(join.outputs[0], conv)
    return f"'{join.outputs[0].name}' in front of it is {others}" if others else ""


def _drop(scope: Scope, node: gs.Node) -> None:
    """Remove *node* and what it alone was computed from, where nothing reads it any more."""
    if any(consumers(t) or scope.is_output(t) for t in node.outputs):
        return
    above = [scope.above(node, i) for i in range(len(node.inputs))]
    scope.remove(node)
    for one in above:
        if one is not None and one.outputs:
            _drop(scope, one)


def _fold(conv: gs.Node, scope: Scope, source: gs.Tensor, phases: list[tuple[int, int]]) -> None:
    weight = np.asarray(constant_value(conv.inputs[1]))
    outputs, joined, height, width = weight.shape
    channels = joined // 4
    wide = np.zeros((outputs, channels, 2 * height, 2 * width), weight.dtype)
    for place, (row, column) in enumerate(phases):
        part = weight[:, place * channels : (place + 1) * channels]
        wide[:, :, row::2, column::2] = part
    scope.set_constant(conv, 1, wide)
    pads = list(attribute(conv, "pads", [0] * 4))
    strides = list(attribute(conv, "strides", [1, 1]))
    conv.attrs.pop("auto_pad", None)
    conv.attrs |= {
        "kernel_shape": [2 * height, 2 * width],
        "pads": [2 * p for p in pads],
        "strides": [2 * s for s in strides],
    }
    replace_input(conv, 0, source)
