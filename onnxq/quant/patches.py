"""The values that each output of a layer with weights is a weighted sum of.

A convolution is a matrix product over patches: one row for each output position, with the values
under the kernel's window, zeros where it reaches over the border (im2col). In a patch channels run
fastest, (h, w, C), the order of ``onnxq.quant.pairs.kernel_rows``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def same_pads(size: int, stride: int, span: int, auto_pad: str) -> tuple[int, int]:
    """Zeros before and after an axis of *size* under SAME_UPPER or SAME_LOWER.

    The output then has ⌈size / stride⌉ places, for a dilated kernel that covers *span* values.
    """
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    few, many = total // 2, total - total // 2
    return (few, many) if auto_pad == "SAME_UPPER" else (many, few)


@dataclass(frozen=True)
class Window:
    """Where the kernel of a Conv reads.

    Attributes:
        kernel, strides, dilations: by spatial axis.
        pads: zeros before each spatial axis, then after each.
        groups: channels are cut into so many groups, each with kernels of its own.
        auto_pad: NOTSET (*pads* count), VALID, SAME_UPPER or SAME_LOWER.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int = 1
    auto_pad: str = "NOTSET"

    def around(self, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
        """Zeros before and after each spatial axis of an image of *sizes*."""
        if self.auto_pad == "VALID":
            return [(0, 0)] * len(sizes)
        if self.auto_pad == "NOTSET":
            return list(zip(self.pads[: len(sizes)], self.pads[len(sizes) :], strict=True))
        found = []
        for size, stride, span in zip(sizes, self.strides, self._spans, strict=True):
            found.append(same_pads(size, stride, span, self.auto_pad))
        return found

    @property
    def _spans(self) -> list[int]:
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    def patches(self, x: NDArray[Any], most: int) -> NDArray[Any]:
        """At most *most* patches of *x* [N, C, sizes…]: [groups, patches, window · C / groups].

        Every k-th output position is taken, k the smallest odd number that leaves few enough:
        odd, so that it does not fall into step with rows of even length.
        """
        image, place, border = _places(self, len(x), x.shape[2:], most)
        flat = x.reshape(len(x), x.shape[1], -1)
        taken = np.moveaxis(flat, 1, -1)[image[:, None], place]
        taken[border] = 0
        split = taken.reshape(*place.shape, self.groups, -1)
        return np.ascontiguousarray(split.transpose(2, 0, 1, 3)).reshape(
            self.groups, len(place), -1
        )


@lru_cache(maxsize=128)
def _places(
    window: Window, images: int, sizes: tuple[int, ...], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Of each patch its image and the places that it reads there, and which lie outside."""
    around = window.around(sizes)
    padded = [size + sum(pad) for size, pad in zip(sizes, around, strict=True)]
    counts = [
        (size - span) // stride + 1
        for size, span, stride in zip(padded, window._spans, window.strides, strict=True)
    ]
    total = images * int(np.prod(counts))
    chosen = np.arange(0, total, -(-total // most) | 1) if total > most else np.arange(total)
    image, *corner = np.unravel_index(chosen, (images, *counts))
    offsets = np.indices(window.kernel).reshape(len(window.kernel), -1)
    place = np.zeros((chosen.size, offsets.shape[1]), np.int64)
    border = np.zeros(place.shape, bool)
    for axis, (start, offset) in enumerate(zip(corner, offsets, strict=True)):
        at = start[:, None] * window.strides[axis] + offset * window.dilations[axis]
        at -= around[axis][0]
        border |= (at < 0) | (at >= sizes[axis])
        place = place * sizes[axis] + np.clip(at, 0, max(sizes[axis] - 1, 0))
    return image, place, border


@dataclass(frozen=True)
class Columns:
    """What a MatMul or Gemm reads: the patches are the rows of its input.

    Attributes:
        axis: the axis that is summed over, from the back: -1, or -2 for a transposed Gemm.
    """

    axis: int = -1

    def patches(self, x: NDArray[Any], most: int) -> NDArray[Any]:
        """At most *most* rows of *x*, spread evenly: [1, rows, K]."""
        rows = np.moveaxis(x, self.axis, -1)
        rows = rows.reshape(-1, rows.shape[-1])
        step = -(-len(rows) // most) | 1 if len(rows) > most else 1
        return np.ascontiguousarray(rows[::step])[None]


Reads = Window | Columns


def finite_patches(reads: Reads, x: NDArray[Any], most: int) -> NDArray[np.float32]:
    """At most *most* patches of *x*, float32 [groups, patches, K], but those with NaN or Inf."""
    found = np.asarray(reads.patches(np.asarray(x, np.float32), most))
    finite = np.isfinite(found)
    return found if finite.all() else found[:, finite.all(axis=(0, 2))]
