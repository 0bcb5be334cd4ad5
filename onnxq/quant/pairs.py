"""Weight scales under which no pair of codes overflows a 16-bit sum of two products.

Kernels for CPUs without VNNI add two products uint8 × int8 in 16 bits with saturation
(VPMADDUBSW). With ``|q₁| + |q₂| ≤ L`` for every two codes of equal sign in a channel, the sum stays
within 255 · L; L = 128 gives 32,640 < 2¹⁵. Codes of unlike sign cancel and cannot overflow.

The smallest scale with ``(a + b) / s ≤ L`` for the two largest magnitudes a, b of one sign is
``(a + b) / L``: most channels hold one large weight and keep nearly all of their 8 bits, where a
reduced range would take one bit from all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.affine import ceil_power_of_two, codes_in_use
from onnxq.quant.spec import QuantSpec, ScaleRule


def largest_pairs(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two largest magnitudes of each sign, float32 [2 signs, C, 2], 0 where there is none."""
    signed = np.stack([np.maximum(rows, 0), np.maximum(-rows, 0)])
    if rows.shape[1] < 2:
        signed = np.pad(signed, ((0, 0), (0, 0), (0, 2 - rows.shape[1])))
    return np.partition(signed, -2, axis=2)[:, :, -2:]


def pair_sums(
    pairs: NDArray[np.float32], scale: NDArray[np.float32], spec: QuantSpec
) -> NDArray[np.int64]:
    """Largest sum of two codes of equal sign in each channel, in magnitude; int64 [C]."""
    qmin, qmax = codes_in_use(spec)
    most = np.array([qmax, -qmin])[:, None, None]
    codes = np.minimum(np.rint(pairs / scale[:, None]), most)
    return np.asarray(codes.sum(axis=2).max(axis=0), np.int64)


def raise_for_pairs(
    rows: NDArray[np.float32], scale: NDArray[np.float32], spec: QuantSpec
) -> NDArray[np.float32]:
    """*scale* [C], raised just enough for ``spec.pair_sum_limit`` to hold on *rows* [C, K]."""
    limit = spec.pair_sum_limit
    assert limit is not None
    pairs = largest_pairs(rows)
    for _ in range(64):
        over = pair_sums(pairs, scale, spec) > limit
        if not over.any():
            break
        needed = pairs.sum(axis=2, dtype=np.float64).max(axis=0) / limit
        # float32 may round the quotient down: then one unit in the last place at a time
        raised = np.maximum(needed.astype(np.float32), np.nextafter(scale, np.float32(np.inf)))
        if spec.scale is ScaleRule.POWER_OF_TWO:
            raised = ceil_power_of_two(raised).astype(np.float32)
        scale = np.where(over, raised, scale).astype(np.float32)
    return scale
