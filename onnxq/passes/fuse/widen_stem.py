"""The pass ``widen-stem``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, attribute, constant_value, replace_input
from onnxq.passes._scope import Scope
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.faster_float import stays_float
from onnxq.pipeline.kernel_plan import computes_in_float

LARGE = 9
"""Elements of a kernel above which it is folded; each of them costs a look at the image."""

LEAST_OUTPUTS = 16
"""Output channels below which the kernels for blocks are not taken."""


@dataclass(frozen=True, kw_only=True)
class WidenStem(Pass):
    """Give the first convolution as many input channels as integer kernels ask for.

    What it does
        An image has three channels; integer convolutions that read it in place take blocks of
        four. A kernel of up to 3 x 3 gets a channel of zeros::

            Conv(x, w)  =  Conv(Pad(x, one channel more), [w, 0])

        A larger one with stride 2 is folded: the four pixels of a 2 x 2 cell become channels, and
        a kernel of k x k one of about k/2 x k/2 with stride 1::

            w'[o, C · (2 · row + column) + c, i, j]  =  w[o, c, 2i + row, 2j + column]
            Conv(x, w; strides 2)  =  Conv(SpaceToDepth(x, 2), w')

        Both are done on codes (see 'move-codes').

    Why
        Without a whole block of channels, each patch of the image is copied before it is
        multiplied, which takes longer than the products: on a CPU with VNNI the first convolution
        of a network for photographs is two to four times as fast so, and often what takes most.
        The time also grows with the elements of the kernel, of which folding leaves a quarter to
        a third.

    Example
        ``Conv 3 x 3 on 3 channels``  becomes  ``Pad, Conv 3 x 3 on 4 channels``; a Conv of 7 x 7
        with stride 2 becomes ``SpaceToDepth, Conv 4 x 4 on 12 channels``.

    When it declines
        Groups, dilations, automatic padding, computed weights, fewer than 16 output channels;
        a convolution that is excluded, or left in float because that is faster. Large kernels
        also where the stride is not 2, or the image's size is odd or not fixed. Targets whose
        kernels take any number of channels; activations too wide for any integer kernel.

    Numerics
        Exact: products with zero are added.

    Source
        onnxruntime, mlas/lib/convsym.cpp (MlasConvSymPackWSize); times of single convolutions.
    """

    name: ClassVar[str] = "widen-stem"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 1e-6

    def run(self, model: Model, ctx: Context) -> None:
        block = ctx.target.channel_block
        convolutions = [n for n in model.graph.nodes if n.op == "Conv" and _is_shallow(n, block)]
        if not convolutions or computes_in_float(ctx):
            return
        ctx.learn(model)
        floating = stays_float(model, ctx)
        scope = Scope(model)
        for node in convolutions:
            if node.name in floating or node.name in ctx.plan.excluded:
                ctx.decline(node, "it stays in float, whose kernels take any number of channels")
                continue
            reason = _why_not(node)
            if not reason and prod(node.inputs[1].shape[2:]) <= LARGE:
                _pad(scope, node, ctx)
            elif not reason:
                reason = _fold(scope, node, ctx)
            if reason:
                ctx.decline(node, reason)


def _is_shallow(node: gs.Node, block: int) -> bool:
    """Whether *node* reads fewer channels than *block*, in no groups."""
    weight = node.inputs[1].shape
    return (
        attribute(node, "group", 1) == 1
        and weight is not None
        and len(weight) == 4
        and weight[1] < block
    )


def _why_not(node: gs.Node) -> str:
    if constant_value(node.inputs[1]) is None:
        return f"its weight '{node.inputs[1].name}' is computed; try 'fold-constants' first"
    if any(d != 1 for d in attribute(node, "dilations", [])):
        return "it has dilations"
    if node.inputs[1].shape[0] < LEAST_OUTPUTS:
        return f"it has fewer than {LEAST_OUTPUTS} output channels"
    return ""


def _pad(scope: Scope, node: gs.Node, ctx: Context) -> None:
    """Let *node* read a channel of zeros for each that a block has more."""
    weight = np.asarray(constant_value(node.inputs[1]))
    more = ctx.target.channel_block - weight.shape[1]
    zeros = np.zeros((weight.shape[0], more, *weight.shape[2:]), weight.dtype)
    ends = np.array([0, 0, 0, 0, 0, more, 0, 0], np.int64)
    amounts = gs.Constant(scope.model.unique_name(f"{node.name}__channels"), ends)
    shape = ctx.shape(node.inputs[0])
    wide = None if shape is None else (shape[0], ctx.target.channel_block, *shape[2:])
    _insert(scope, node, ctx, "Pad", [node.inputs[0], amounts], {"mode": "constant"}, wide)
    scope.set_constant(node, 1, np.concatenate([weight, zeros], 1))


def _fold(scope: Scope, node: gs.Node, ctx: Context) -> str:
    """Let *node* read cells of 2 x 2 pixels as channels; why not, where it cannot."""
    if list(attribute(node, "strides", [1, 1])) != [2, 2]:
        return "its kernel is large, and its stride not 2"
    if attribute(node, "auto_pad", "NOTSET") in {"SAME_UPPER", "SAME_LOWER"}:
        return "it pads automatically"
    shape, out = ctx.shape(node.inputs[0]), ctx.shape(node.outputs[0])
    if shape is None or out is None or not _is_fixed(scope.model):
        return "the size of its input is not fixed"
    weight = np.asarray(constant_value(node.inputs[1]))
    pads = list(attribute(node, "pads", [0] * 4))
    sides = [
        _side(size, made, kernel, pad)
        for size, made, kernel, pad in zip(
            shape[2:], out[2:], weight.shape[2:], pads[:2], strict=True
        )
    ]
    if any(side is None for side in sides):
        return f"the size of its input, {shape[2]} x {shape[3]}, is odd, or more than it reads"
    (top, bottom), (left, right) = (side for side in sides if side is not None)
    folded = _folded(weight, pads[:2])
    cells = (shape[0], folded.shape[1], *(d and d // 2 for d in shape[2:]))
    _insert(scope, node, ctx, "SpaceToDepth", [node.inputs[0]], {"blocksize": 2}, cells)
    scope.set_constant(node, 1, folded)
    node.attrs.pop("auto_pad", None)
    node.attrs |= {
        "kernel_shape": list(folded.shape[2:]),
        "pads": [top, left, bottom, right],
        "strides": [1, 1],
    }
    return ""


def _side(size: int | None, made: int | None, kernel: int, pad: int) -> tuple[int, int] | None:
    """Padding in cells before and behind an axis of *size*; None where that is not possible.

    Args:
        size: pixels of the axis.
        made: elements of the output.
        kernel: elements of the kernel.
        pad: pixels padded in front.
    """
    if size is None or made is None or size % 2:
        return None
    before = -(-pad // 2)
    behind = made - 1 + (kernel - 1 - pad) // 2 + 1 - size // 2
    return (before, behind) if behind >= 0 else None


def _folded(weight: NDArray[np.generic], pads: list[int]) -> NDArray[np.generic]:
    """The kernel [O, 4C, …] over cells that *weight* [O, C, …] over pixels is.

    Element r of the kernel reads pixel 2i + r − pad, which is in cell i + (r − pad) // 2.
    """
    outputs, channels, *kernel = weight.shape
    cells = [-(-p // 2) + (k - 1 - p) // 2 + 1 for k, p in zip(kernel, pads, strict=True)]
    folded = np.zeros((outputs, 4 * channels, *cells), weight.dtype)
    for row in (0, 1):
        for column in (0, 1):
            place = channels * (2 * row + column)
            (r, i), (s, j) = (
                _phase(phase, k, p) for phase, k, p in zip((row, column), kernel, pads, strict=True)
            )
            part = weight[:, :, r, :][:, :, :, s]
            folded[:, place : place + channels, i, j] = part
    return folded


def _phase(phase: int, kernel: int, pad: int) -> tuple[slice, slice]:
    """Elements of the kernel that read the pixels *phase* of cells, and where they are put."""
    first = (pad + phase) % 2
    start = (first - pad) // 2 + -(-pad // 2)
    count = len(range(first, kernel, 2))
    return slice(first, None, 2), slice(start, start + count)


def _insert(
    scope: Scope,
    node: gs.Node,
    ctx: Context,
    op: str,
    inputs: list[gs.Tensor],
    attrs: dict[str, object],
    shape: tuple[int | None, ...] | None,
) -> None:
    """Put *op* in front of the image that *node* reads; *shape* is that of its result."""
    made = gs.Variable(scope.model.unique_name(f"{node.name}__wide"), node.inputs[0].dtype)
    name = scope.model.unique_name(f"{node.name}__widen")
    if shape is not None and node.inputs[0].name in ctx.facts:
        ctx.facts[made.name] = replace(ctx.facts[node.inputs[0].name], shape=shape)
    scope.insert(node, op, inputs, [made], attrs, name=name)
    ctx.added.add(name)
    replace_input(node, 0, made)


def _is_fixed(model: Model) -> bool:
    """Whether all inputs of *model* have one size, but for the batch."""
    shapes = [tensor.shape for tensor in model.graph.inputs]
    return all(s is not None and all(isinstance(d, int) for d in s[1:]) for s in shapes)
