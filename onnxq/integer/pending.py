"""Steps whose output format is not known yet, and how they are completed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.integer.bounds import accumulator, bits
from onnxq.integer.kinds import Concat, Kind, Table
from onnxq.integer.program import Step, Value
from onnxq.integer.refuse import refused
from onnxq.integer.scales import Grid
from onnxq.integer.shifts import LEFT, RIGHT, shift_right
from onnxq.quant import Rounding
from onnxq.quant.rounding import round_to_integer

INT32 = Grid((0,), None, -(1 << 31), (1 << 31) - 1, "int32")


@dataclass(frozen=True, eq=False)
class Pending:
    """A computation whose result is exact so far.

    Attributes:
        node: the node that computes it.
        kind: what it computes.
        inputs: names of the values that it reads.
        exponents: of the accumulator: one, one for each output channel, or (Concat) one for each
            input.
        shape: of the output, for one frame.
        least, most: real numbers that the result is clipped to.
        curve: the real result for each of the 256 codes of the input, where that is a table.
    """

    node: gs.Node
    kind: Kind
    inputs: tuple[str, ...]
    exponents: tuple[int, ...]
    shape: tuple[int, ...]
    least: float = -inf
    most: float = inf
    curve: Callable[[], NDArray[np.float64]] | None = None


def complete(
    pending: Pending, name: str, form: Grid, spans: Sequence[Value], rounding: Rounding
) -> tuple[Step, Value]:
    """The step that writes *pending* as codes of *form* into the value *name*.

    Args:
        pending: the computation.
        name: of the value.
        form: its format, with one exponent.
        spans: the values that it reads.
        rounding: of right shifts.

    Raises:
        UnsupportedModelError: the accumulator can overflow, or a shift is too large.
    """
    node, exponent = pending.node, form.exponents[0]
    if pending.curve is not None:
        pending = _tabulated(pending, pending.curve, form, rounding)
    shifts = tuple(exponent - e for e in pending.exponents)
    if max(shifts) > RIGHT or min(shifts) < -LEFT:
        worst = max(shifts, key=abs)
        raise refused(
            node, f"its result would be shifted by {worst} bits: its scales lie too far apart",
            "a --calibration with narrower ranges, or --exclude this node",
        )  # fmt: skip
    low, high = _clip(pending, exponent, form, rounding)
    ranges = [(v.low, v.high) for v in spans]
    (least, most), needed = accumulator(pending.kind, ranges)
    if needed > 32:
        raise refused(
            node, f"its accumulator can overflow: the worst case needs {needed} bits of 32",
            "fewer bits (--activations int8), or --granularity channel",
        )  # fmt: skip
    if isinstance(pending.kind, Concat):  # the parts have their own ranges
        least, most = (np.array([r[i] for r in ranges], object) for i in (0, 1))
    each = np.array(shifts, np.int64)
    ends = [shift_right(e.astype(np.int64), each, rounding) for e in (least, most)]
    if form.dtype == "int32" and max(bits(int(v)) for e in ends for v in np.atleast_1d(e)) > 32:
        raise refused(node, "its result needs more than 32 bits",
                      "quantize its output")  # fmt: skip
    span = [int(np.clip(f(e), low, high)) for f, e in zip((np.min, np.max), ends, strict=True)]
    step = Step(
        node.name, node.op, pending.kind, pending.inputs, name, _short(shifts, pending.kind),
        low, high, needed,
    )  # fmt: skip
    return step, Value(name, pending.shape, form.dtype, exponent, *span)


def _tabulated(
    pending: Pending, curve: Callable[[], NDArray[np.float64]], form: Grid, rounding: Rounding
) -> Pending:
    if form.dtype == "int32":
        raise refused(pending.node, "its result is not quantized, which a table needs")
    exponent = form.exponents[0]
    scaled = round_to_integer(np.ldexp(curve(), -exponent), rounding)
    codes = np.clip(scaled, form.low, form.high).astype(np.int64)
    return replace(pending, kind=Table(codes), exponents=(exponent,), curve=None)


def _clip(pending: Pending, exponent: int, form: Grid, rounding: Rounding) -> tuple[int, int]:
    # rounding keeps order, so that clipping before it equals clipping to the rounded limits
    limits = []
    for real, end in ((pending.least, form.low), (pending.most, form.high)):
        code = end
        if np.isfinite(real):
            rounded = float(round_to_integer(np.array(np.ldexp(real, -exponent)), rounding))
            code = int(np.clip(rounded, form.low, form.high))
        limits.append(code)
    return limits[0], limits[1]


def _short(shifts: tuple[int, ...], kind: Kind) -> tuple[int, ...]:
    if isinstance(kind, Concat) or len(set(shifts)) > 1:
        return shifts
    return shifts[:1]
