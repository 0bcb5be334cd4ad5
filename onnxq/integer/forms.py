"""How accumulators become codes of the output: shifts, multipliers, factors, offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import UnsupportedModelError
from onnxq.integer.kinds import Add, Concat, Kind, MaxPool, Pad, Reshape, Take, Transpose
from onnxq.integer.kinds import Copy as CopyKind
from onnxq.integer.linear import at_zero, linear
from onnxq.integer.program import Value
from onnxq.integer.refuse import refused
from onnxq.integer.shifts import LEFT, RIGHT, Int64, multiplier_and_shift, scaled, shift_right
from onnxq.quant import Rounding

LINEAR = (Add, Concat, CopyKind, MaxPool, Pad, Reshape, Take, Transpose)


@dataclass(frozen=True)
class Form:
    """The attributes of a `Step` of the same names."""

    shifts: tuple[int, ...]
    multipliers: tuple[int, ...] = ()
    zero_point: int = 0
    factors: tuple[int, ...] = (1,)
    offsets: tuple[int, ...] = (0,)

    def codes(self, acc: Int64, rounding: Rounding) -> Int64:
        """Codes of *acc*, not clipped yet.

        Args:
            acc: accumulators, factors and offsets in them; shifts lie along the last axis.
            rounding: of right shifts.
        """
        n = np.array(self.shifts, np.int64)
        if not self.multipliers:
            return shift_right(acc, n, rounding) + self.zero_point
        return scaled(acc, np.array(self.multipliers, np.int64), n, rounding) + self.zero_point


def form_of(
    node: gs.Node, kind: Kind, scales: Sequence[float], spans: Sequence[Value],
    output: tuple[float, int], *, shifts: bool,
) -> Form:  # fmt: skip
    """The form that brings accumulators of *kind* to the scale and zero point of *output*.

    Products have a multiplier unless results are shifted alone; what adds and moves codes has
    factors.

    Args:
        node: for errors.
        kind: what is computed.
        scales: of the accumulator, as of `Pending`.
        spans: the inputs.
        output: scale and zero point.
        shifts: whether results are shifted alone: all scales are powers of two.

    Raises:
        UnsupportedModelError: the scales lie too far apart.
    """
    scale, zero = output
    if isinstance(kind, Concat):
        each = [_linear(node, (s,), (v,), scale, zero) for s, v in zip(scales, spans, strict=True)]
        parts = [[part for form in each for part in getattr(form, key)]
                 for key in ("shifts", "factors", "offsets")]  # fmt: skip
        return Form(tuple(parts[0]), (), 0, tuple(parts[1]), tuple(parts[2]))
    if isinstance(kind, LINEAR):
        return _linear(node, scales, spans, scale, zero)
    if shifts:
        return _checked(node, Form(tuple(1 - frexp(s / scale)[1] for s in scales), (), zero))
    pairs = [multiplier_and_shift(s / scale) for s in scales]
    return _checked(node, Form(tuple(n for _, n in pairs), tuple(m for m, _ in pairs), zero))


def _linear(
    node: gs.Node, scales: Sequence[float], spans: Sequence[Value], scale: float, zero: int
) -> Form:
    unit = min(abs(s) for s in scales)
    shift, ratios = _power(unit / scale), [s / unit for s in scales]
    lefts = [_power(abs(r)) for r in ratios]
    if shift is not None and all(n is not None for n in lefts):
        factors = tuple(int(r) for r in ratios)
        if zero and shift < 0:  # no place for it behind the shift: factors take that over
            factors, shift = tuple(f << -shift for f in factors), 0
        offset = (zero << max(shift, 0)) - at_zero(factors, spans)
        return _checked(node, Form((shift,), factors=factors, offsets=(offset,)))
    found = linear(scales, spans, scale, zero)
    if found is None:
        raise _far(node, "32 bits do not hold its sum with factors that are fine enough")
    return _checked(node, Form((found.shift,), (), 0, found.factors, (found.offset,)))


def _power(ratio: float) -> int | None:
    """The right shift n of a ratio 2^-n; None for other ratios."""
    fraction, exponent = frexp(ratio)
    return 1 - exponent if fraction == 0.5 else None


def _checked(node: gs.Node, form: Form) -> Form:
    worst = max(form.shifts, key=abs)
    if max(form.shifts) > RIGHT or min(form.shifts) < -LEFT:
        raise _far(node, f"its result would be shifted by {worst} bits")
    return form


def _far(node: gs.Node, why: str) -> UnsupportedModelError:
    return refused(node, f"{why}: its scales lie too far apart",
                   "a --calibration with narrower ranges, or --exclude this node")  # fmt: skip
