"""Search of a clipping range: coarse on a geometric grid, then finer around the best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.affine import affine, codes_in_use, symmetric_zero
from onnxq.quant.spec import QuantSpec, ScaleRule

Vector = NDArray[np.float64]
#: Candidate ranges (low [k], high [k]) to their errors [k].
RangeError = Callable[[Vector, Vector], Vector]

#: Halvings of the range that are tried.
OCTAVES = 7
#: Halvings between neighbouring candidates, coarse round first: one end searched, or both.
ONE_END = (1 / 8, 1 / 24, 1 / 72)
BOTH_ENDS = (1 / 2, 1 / 5, 1 / 12, 1 / 32)


def best_range_for(
    bounds: tuple[float, float], spec: QuantSpec, error: RangeError
) -> tuple[float, float]:
    """The range of least *error* among those that the scales of *spec* can express.

    Symmetric powers of two have a handful of scales, and each is tried: rounding the scale of the
    best range up afterwards would lose it. Other grids are searched by ``best_range``.
    """
    if spec.scale is ScaleRule.POWER_OF_TWO and spec.symmetric:
        return best_power_of_two(bounds, spec, error)
    return best_range(bounds, spec.symmetric, error)


def best_power_of_two(
    bounds: tuple[float, float], spec: QuantSpec, error: RangeError
) -> tuple[float, float]:
    """The part of *bounds* that the codes of *spec* cover at the power of two of least *error*.

    Tried are the smallest scale that covers *bounds* and its halves; of equal ones, the largest
    wins. A larger scale than the first has a coarser grid and clips nothing less.
    """
    widest, _ = affine(np.array(bounds[0]), np.array(bounds[1]), spec)
    scales: Vector = float(widest) * np.exp2(-np.arange(OCTAVES + 1, dtype=np.float64))
    (qmin, qmax), zero_point = codes_in_use(spec), symmetric_zero(spec)
    # halves cut the end that needs the first scale, so that each range has its own scale
    low = np.maximum((qmin - zero_point) * scales, min(bounds[0], 0.0))
    high = np.minimum((qmax - zero_point) * scales, max(bounds[1], 0.0))
    best = int(np.argmin(error(low, high)))
    return float(low[best]), float(high[best])


def best_range(
    bounds: tuple[float, float], symmetric: bool, error: RangeError
) -> tuple[float, float]:
    """The range within *bounds* of least *error*; of equal ones, the widest.

    Where *bounds* do not cross zero only the far end moves; where the grid is *symmetric* both
    ends move together.
    """
    low, high = bounds
    both = low < 0.0 < high
    linked = symmetric or not both
    first, *finer = ONE_END if linked else BOTH_ENDS
    coarse: Vector = np.arange(0.0, -OCTAVES - first, -first, dtype=np.float64)
    reach = max(-low, high)

    def candidates(a: Vector, b: Vector) -> tuple[Vector, Vector]:
        """Ranges for exponents *a* of the low end and *b* of the high end."""
        if linked and both:
            edge = reach * np.exp2(b)
            return np.maximum(low, -edge), np.minimum(high, edge)
        if low >= 0.0:
            return np.minimum(low, high * np.exp2(b)), high * np.exp2(b)
        if high <= 0.0:
            return low * np.exp2(a), np.maximum(high, low * np.exp2(a))
        return low * np.exp2(a), high * np.exp2(b)

    def grid(x: Vector, y: Vector) -> tuple[Vector, Vector]:
        if linked:
            return x, x
        a, b = np.meshgrid(x, y, indexing="ij")
        return a.ravel(), b.ravel()

    a, b = grid(coarse, coarse)
    errors = error(*candidates(a, b))
    best = int(np.argmin(errors))
    least, at = errors[best], (a[best], b[best])
    for step in finer:
        around = 3 if linked else 2
        offsets: Vector = np.arange(-around, around + 1, dtype=np.float64) * step
        a, b = grid(offsets, offsets)
        a, b = np.minimum(a + at[0], 0.0), np.minimum(b + at[1], 0.0)
        errors = error(*candidates(a, b))
        best = int(np.argmin(errors))
        if errors[best] < least:
            least, at = errors[best], (a[best], b[best])
    lows, highs = candidates(np.array([at[0]]), np.array([at[1]]))
    return float(lows[0]), float(highs[0])
