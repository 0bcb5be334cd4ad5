"""Weights under which no pair of codes overflows a 16-bit sum of two products.

Kernels for CPUs without VNNI add two products uint8 × int8 in 16 bits with saturation
(VPMADDUBSW). With ``|q₁| + |q₂| ≤ L`` for two codes of equal sign that the kernel adds, the sum
stays within 255 · L; L = 128 gives 32,640 < 2¹⁵. Codes of unlike sign cancel and cannot overflow.

Where the kernel's order of summation is known, only neighbours 2j, 2j + 1 in that order meet: the
few pairs that exceed L give up their excess in equal parts, which costs less than a coarser scale
for the whole channel. Where it is not known, any two codes of a channel may meet, and the smallest
scale with ``(a + b) / s ≤ L`` for the two largest magnitudes a, b of one sign is ``(a + b) / L``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.affine import ceil_power_of_two, codes_in_use
from onnxq.quant.spec import QuantSpec, ScaleRule


def kernel_rows(w: NDArray[Any], axis: int, pair_axis: int) -> NDArray[Any]:
    """*w* (any shape) as [C, K]: channels of *axis*, each in the kernel's order of summation.

    The order is that of the remaining axes with *pair_axis* moved to the end: for a Conv's weight
    [M, C, h, w] it is (h, w, C).
    """
    rows = np.moveaxis(w, (axis, pair_axis), (0, -1))
    return np.ascontiguousarray(rows).reshape(w.shape[axis], -1)


def from_kernel_rows(
    rows: NDArray[Any], shape: tuple[int, ...], axis: int, pair_axis: int
) -> NDArray[Any]:
    """Inverse of ``kernel_rows`` for a weight of *shape*."""
    order = [axis, *(i for i in range(len(shape)) if i not in (axis, pair_axis)), pair_axis]
    arranged = rows.reshape([shape[i] for i in order])
    return np.ascontiguousarray(np.transpose(arranged, np.argsort(order)))


def relieve_pairs(codes: NDArray[Any], limit: int) -> NDArray[Any]:
    """*codes* [C, K] in kernel order with every neighbouring pair within *limit*; same dtype.

    The excess of a pair of equal sign is taken from both in equal parts, the odd unit from the
    first; where one is too small to give its part, the other gives the rest.
    """
    even = codes.shape[1] // 2 * 2
    total = np.add(codes[:, 0:even:2], codes[:, 1:even:2], dtype=np.float32)
    over = np.abs(total, out=total) > limit  # codes of unlike sign cancel: they are never over
    if not over.any():
        return codes
    row, pair = np.nonzero(over)
    a, b = codes[row, 2 * pair].astype(np.float32), codes[row, 2 * pair + 1].astype(np.float32)
    excess = np.abs(a + b) - limit
    part_b = np.minimum(np.floor(excess / 2), np.abs(b))
    part_a = np.minimum(excess - part_b, np.abs(a))
    part_b = excess - part_a
    eased = codes.copy()
    eased[row, 2 * pair] = (a - np.sign(a) * part_a).astype(codes.dtype)
    eased[row, 2 * pair + 1] = (b - np.sign(b) * part_b).astype(codes.dtype)
    return eased


def meeting_pairs(rows: NDArray[np.float32], spec: QuantSpec) -> NDArray[np.float32]:
    """Magnitudes of the values of *rows* [C, K] that may meet: float32 [2 signs, C, P, 2].

    Neighbours in kernel order where ``spec.pair_axis`` is known, else the two largest of each sign.
    """
    signed = np.stack([np.maximum(rows, 0), np.maximum(-rows, 0)])
    signed = np.pad(signed, ((0, 0), (0, 0), (0, rows.shape[1] % 2 or 2 * (rows.shape[1] < 2))))
    if spec.pair_axis is None:
        signed = np.partition(signed, -2, axis=2)[:, :, -2:]
    return signed.reshape(*signed.shape[:2], -1, 2)


def pair_sums(
    pairs: NDArray[np.float32], scale: NDArray[np.float32], spec: QuantSpec
) -> NDArray[np.int64]:
    """Largest sum of two codes of equal sign in each channel, in magnitude; int64 [C]."""
    qmin, qmax = codes_in_use(spec)
    most = np.array([qmax, -qmin])[:, None, None, None]
    codes = np.minimum(np.rint(pairs / scale[:, None, None]), most)
    return np.asarray((codes[..., 0] + codes[..., 1]).max(axis=(0, 2)), np.int64)


def raise_for_pairs(
    rows: NDArray[np.float32], scale: NDArray[np.float32], spec: QuantSpec
) -> NDArray[np.float32]:
    """*scale* [C], raised just enough for ``spec.pair_sum_limit`` to hold on *rows* [C, K]."""
    limit = spec.pair_sum_limit
    assert limit is not None
    pairs = meeting_pairs(rows, spec)
    largest = (pairs[..., 0].astype(np.float64) + pairs[..., 1]).max(axis=(0, 2))
    for _ in range(64):
        over = largest > (limit - 1) * scale  # rounding adds at most half a code to each
        over[over] = pair_sums(pairs[:, over], scale[over], spec) > limit
        if not over.any():
            break
        # float32 may round the quotient down: then one unit in the last place at a time
        least = (largest / limit).astype(np.float32)
        raised = np.maximum(least, np.nextafter(scale, np.float32(np.inf)))
        if spec.scale is ScaleRule.POWER_OF_TWO:
            raised = ceil_power_of_two(raised).astype(np.float32)
        scale = np.where(over, raised, scale).astype(np.float32)
    return scale
