"""Steps whose output format is not known yet, and how they are completed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.integer.bounds import accumulator, bits
from onnxq.integer.forms import Form, form_of
from onnxq.integer.kinds import Concat, Kind, Table
from onnxq.integer.program import Step, Value
from onnxq.integer.refuse import refused
from onnxq.integer.scales import Grid
from onnxq.quant import Rounding
from onnxq.quant.rounding import round_to_integer

INT32 = Grid((1.0,), (0,), None, -(1 << 31), (1 << 31) - 1, "int32")


@dataclass(frozen=True, eq=False)
class Pending:
    """A computation whose result is exact so far.

    Attributes:
        node: the node that computes it.
        kind: what it computes.
        inputs: names of the values that it reads.
        scales: of the accumulator: one, one for each output channel, or (Add, Concat) one for each
            input, negative where that is subtracted.
        shape: of the output, for one frame.
        least, most: real numbers that the result is clipped to.
        curve: the real result for each of the 256 codes of the input, where that is a table.
    """

    node: gs.Node
    kind: Kind
    inputs: tuple[str, ...]
    scales: tuple[float, ...]
    shape: tuple[int, ...]
    least: float = -inf
    most: float = inf
    curve: Callable[[], NDArray[np.float64]] | None = None


def complete(
    pending: Pending, name: str, grid: Grid, spans: Sequence[Value], rounding: Rounding, *,
    shifts: bool,
) -> tuple[Step, Value]:  # fmt: skip
    """The step that writes *pending* as codes of *grid* into the value *name*.

    Args:
        pending: the computation.
        name: of the value.
        grid: its format, with one scale.
        spans: the values that it reads.
        rounding: of right shifts.
        shifts: whether results are shifted alone.

    Raises:
        UnsupportedModelError: the accumulator can overflow, or a shift is too large.
    """
    node, scale, zero = pending.node, grid.scales[0], grid.zero_points[0]
    if pending.curve is not None:
        pending = _tabulated(pending, pending.curve, grid, rounding)
        form = Form((0,))
    else:
        form = form_of(node, pending.kind, pending.scales, spans, (scale, zero),
                       shifts=shifts)  # fmt: skip
    low, high = _clip(pending, grid, rounding)
    ends, needed = accumulator(pending.kind, spans, form)
    if needed > 32:
        raise refused(
            node, f"its accumulator can overflow: the worst case needs {needed} bits of 32",
            "fewer bits (--activations int8), or --granularity channel",
        )  # fmt: skip
    each = [form.codes(e.astype(np.int64), rounding) for e in ends]
    if grid.dtype == "int32" and max(_bits(e, form) for e in (*ends, *each)) > 32:
        raise refused(node, "its result needs more than 32 bits",
                      "quantize its output")  # fmt: skip
    span = [int(np.clip(f(e), low, high)) for f, e in zip((np.min, np.max), each, strict=True)]
    each_shift, multipliers = _short(form, pending.kind)
    step = Step(
        node.name, node.op, pending.kind, pending.inputs, name, each_shift, low, high, needed,
        multipliers, form.zero_point, form.factors, form.offsets,
    )  # fmt: skip
    return step, Value(name, pending.shape, grid.dtype, scale, zero, *span)


def _tabulated(
    pending: Pending, curve: Callable[[], NDArray[np.float64]], grid: Grid, rounding: Rounding
) -> Pending:
    if grid.dtype == "int32":
        raise refused(pending.node, "its result is not quantized, which a table needs")
    steps = round_to_integer(curve() / grid.scales[0], rounding) + grid.zero_points[0]
    codes = np.clip(steps, grid.low, grid.high).astype(np.int64)
    return replace(pending, kind=Table(codes), scales=grid.scales, curve=None)


def _clip(pending: Pending, grid: Grid, rounding: Rounding) -> tuple[int, int]:
    # rounding keeps order, so that clipping before it equals clipping to the rounded limits
    limits = []
    for real, end in ((pending.least, grid.low), (pending.most, grid.high)):
        code = end
        if np.isfinite(real):
            rounded = float(round_to_integer(np.array(real / grid.scales[0]), rounding))
            code = int(np.clip(rounded + grid.zero_points[0], grid.low, grid.high))
        limits.append(code)
    return limits[0], limits[1]


def _bits(ends: NDArray[Any], form: Form) -> int:
    """Bits that accumulators at their *ends* need behind a shift to the left."""
    lefts = np.maximum(-np.array(form.shifts, object), 0)
    return max(bits(int(v) << int(n)) for v, n in np.broadcast(ends, lefts))


def _short(form: Form, kind: Kind) -> tuple[tuple[int, ...], tuple[int, ...]]:
    alike = len(set(form.shifts)) == 1 and len(set(form.multipliers)) <= 1
    if isinstance(kind, Concat) or not alike:
        return form.shifts, form.multipliers
    return form.shifts[:1], form.multipliers[:1]
