"""From the predicted front to the corner that really keeps to the budgets.

Along the front noise rises and cost falls, so that the last corner with enough accuracy, and the
first that is cheap enough, are found by halving. Where to measure next is predicted: by the noise
of the model of sums, corrected by what was measured at both sides.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

from onnxq.api.tune.cut import Point

#: A corner is not worth a measurement where it changes the cost by less than this share.
NEGLIGIBLE = 0.002


class Forecast:
    """Noise as predicted, corrected by measurements.

    In logarithms the error of the prediction is taken for a line between measured points, and for
    constant beyond them.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[float, float]] = []

    def learn(self, predicted: float, measured: float) -> None:
        """*measured* was found where *predicted* was expected."""
        if predicted > 0 and measured > 0:
            self._pairs.append((math.log(predicted), math.log(measured / predicted)))
            self._pairs.sort()

    def noise(self, predicted: float) -> float:
        """What is to be expected really."""
        if predicted <= 0 or not self._pairs:
            return max(predicted, 0.0)
        x = math.log(predicted)
        place = bisect_left(self._pairs, (x, -math.inf))
        if place == 0:
            return predicted * math.exp(self._pairs[0][1])
        if place == len(self._pairs):
            return predicted * math.exp(self._pairs[-1][1])
        (x0, y0), (x1, y1) = self._pairs[place - 1], self._pairs[place]
        part = (x - x0) / (x1 - x0) if x1 > x0 else 0.5
        return predicted * math.exp(y0 + part * (y1 - y0))


def walk(
    points: Sequence[Point],
    good: Callable[[Sequence[int]], Sequence[bool]],
    guess: Callable[[int], bool] | None,
    *,
    last: bool,
    width: int = 1,
    most: int = 12,
) -> int | None:
    """The *last* of *points* that is good, or the first; None where none is.

    All are good up to some point (*last*), or from some point on; *good* measures the points of
    the given indices, *width* of them at once and *most* in all; *guess* predicts the same without
    measuring, None where that is not possible. Points that cost nearly the same are not told apart.
    """
    # below `low` they are as at the start, from `high` on as at the end
    low, high, spent = -1, len(points), 0
    while high - low > 1 and spent < most:
        if low >= 0 and high < len(points):
            gap = abs(points[low].cost - points[high].cost)
            if gap <= NEGLIGIBLE:
                break
        tried = _next(low, high, guess, last, width)
        spent += len(tried)
        for index, found in zip(tried, good(tried), strict=True):
            if found == last:
                low = max(low, index)
            else:
                high = min(high, index)
        low = min(low, high - 1)
    if last:
        return low if low >= 0 else None
    return high if high < len(points) else None


def _next(
    low: int, high: int, guess: Callable[[int], bool] | None, last: bool, width: int
) -> list[int]:
    """Indices between *low* and *high* to be measured: about where the change is expected."""
    inside = list(range(low + 1, high))
    if guess is None:
        middle = inside[len(inside) // 2]
    else:
        before = [i for i in inside if guess(i) == last]
        middle = before[-1] if before else inside[0]
        if len(inside) > 4:  # should the prediction be off, the rest still shrinks
            middle = min(max(middle, inside[len(inside) // 8]), inside[-1 - len(inside) // 8])
    around = sorted(inside, key=lambda i: (abs(i - middle), i))
    if width == 1:
        return [middle]
    step = max(1, len(inside) // (4 * width))
    return sorted(dict.fromkeys(around[: step * width : step]))[:width]
