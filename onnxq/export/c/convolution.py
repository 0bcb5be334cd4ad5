"""The convolution in C: which kernel, with which memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onnxq.export.c.memory import Memory
from onnxq.export.c.text import narrow, patch_type
from onnxq.integer.kinds import Conv, Window
from onnxq.integer.program import Program, Step, Value

if TYPE_CHECKING:
    from onnxq.export.c.calls import Calls

#: Output pixels whose patches the plain convolution gathers together; those of the one in blocks,
#: which widens filters, too, and gets scratch memory of at most a part of that for values.
PIXELS, BLOCKS, FILTERS, SHARE = 4, (32, 16), 8, 1 / 4


def block(program: Program, memory: Memory) -> int:
    """Pixels of a block, the most that have room beside the values; 0 for the plain convolution."""
    each = max((_patch(program, s) for s in program.steps), default=0)
    room = SHARE * memory.bytes if each else -1.0
    return next((n for n in BLOCKS if (n + FILTERS) * each <= room), 0)


def convolution(calls: Calls, step: Step, kind: Conv, x: Value, out: Value) -> None:
    """Add the convolution *kind* of *x* to *calls*: depthwise, in blocks or plain."""
    channels, each = kind.weight.shape[:2]
    of_group, types = channels // kind.groups, (x.dtype, narrow(kind.weight), out.dtype)
    alone = each == 1 and of_group == 1
    weight, bias = kind.weight.reshape(channels, -1), kind.bias
    if alone:  # it subtracts the zero point itself
        bias = bias + weight.sum(axis=1) * kind.outside
    elif calls.block and _paired(kind, x):
        weight = _packed(kind)
    taps, wide = weight.shape[1], patch_type(x.dtype)
    numbers = (kind.groups, each, of_group, kind.outside, taps)
    text = f"{{{window_numbers(kind.window, x, out)}, {', '.join(map(str, numbers))}}}"
    table = calls.table("conv", calls.label, text)
    before = (calls.place(x), *calls.constants(step, weight, bias), calls.place(out))
    if alone:
        calls.call("depthwise", types, *before, calls.room("int32", out.shape[3]), table)
    elif calls.block and _paired(kind, x):
        patches = calls.room(wide, (calls.block + FILTERS) * taps)
        calls.call("conv_blocks", types, *before, patches, table)
    else:
        calls.call("conv", types, *before, calls.room(wide, PIXELS * taps), table)


def window_numbers(window: Window, x: Value, out: Value) -> str:
    """The initializer of ``struct window``."""
    numbers = (*x.shape[2:], *out.shape[2:], *window.kernel, *window.strides, *window.dilations,
               *window.pads[:2])  # fmt: skip
    return "{" + ", ".join(map(str, numbers)) + "}"


def _patch(program: Program, step: Step) -> int:
    """Bytes that the convolution in blocks gathers for one pixel of *step*; 0 for other steps."""
    x = program.values[step.inputs[0]]
    if not isinstance(step.kind, Conv) or not _paired(step.kind, x):
        return 0
    _, each, height, width = step.kind.weight.shape
    return int((each + each % 2) * height * width * 2)


def _paired(kind: Conv, x: Value) -> bool:
    """Whether codes and weights fit into the 16 bits of a pair."""
    return patch_type(x.dtype) == "int16" and narrow(kind.weight) != "int32"


def _packed(kind: Conv) -> NDArray[Any]:
    """The weight as [filters, taps], in tiles [8 filters, places, channel pairs, filters, 2].

    Filters of a group and channels are filled up with zeros.
    """
    channels, each, height, width = kind.weight.shape
    of_group = channels // kind.groups
    grouped = kind.weight.reshape(kind.groups, of_group, each, height * width)
    full = np.pad(grouped, ((0, 0), (0, -of_group % FILTERS), (0, each % 2), (0, 0)))
    tiles = full.reshape(-1, FILTERS, (each + 1) // 2, 2, height * width)
    return tiles.transpose(0, 4, 2, 1, 3).reshape(-1, (each + each % 2) * height * width)
