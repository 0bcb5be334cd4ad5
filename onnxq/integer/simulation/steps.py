"""Accumulators of every kind of step, as nodes of ONNX on whole numbers in floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxq.errors import UnsupportedModelError
from onnxq.integer.kinds import (
    Add,
    AveragePool,
    Conv,
    Copy,
    Gemm,
    MaxPool,
    Mul,
    Pad,
    PRelu,
    Reshape,
    Softmax,
    Table,
    Take,
    Transpose,
)
from onnxq.integer.program import Program, Step, Value
from onnxq.integer.simulation.products import conv, smallest, window_sum
from onnxq.integer.simulation.writer import Writer


class Site:
    """One step that is being written: its operands, and the float type that holds its sums."""

    def __init__(self, write: Writer, program: Program, step: Step, codes: Sequence[str],
                 kind: np.dtype[Any]) -> None:  # fmt: skip
        self.write, self.step, self.kind, self._codes = write, step, kind, codes
        self.values = [program.values[n] for n in step.inputs]
        self.output: Value = program.values[step.output]
        self.rounding = program.rounding

    @property
    def codes(self) -> str:
        """The codes of the first operand, in their own type."""
        return self._codes[0]

    def real(self, index: int = 0) -> str:
        """Operand *index* as a float that holds its codes."""
        return self.write.cast(self._codes[index], self.kind)

    def constant(self, value: Any) -> str:
        """A constant of the step's float type."""
        return self.write.constant(value, self.kind)

    def apply(self, op: str, x: str, value: Any) -> str:
        """*x* and a constant."""
        return self.write.node(op, [x, self.constant(np.asarray(value))])

    def less(self, x: str, zero_point: int) -> str:
        """*x* less a zero point."""
        return self.apply("Sub", x, zero_point) if zero_point else x

    def scaled(self, x: str, index: int = 0) -> str:
        """*x* times a factor of the step, plus the offset that belongs to it."""
        factors, offsets = self.step.factors, self.step.offsets
        factor, offset = factors[index % len(factors)], offsets[index % len(offsets)]
        x = x if factor == 1 else self.apply("Mul", x, factor)
        return self.apply("Add", x, offset) if offset else x


def accumulator(site: Site) -> str:
    """The accumulators of a step; Concat has none.

    Raises:
        UnsupportedModelError: there is no form of this kind of step.
    """
    write = _KINDS.get(type(site.step.kind))
    if write is None:
        raise UnsupportedModelError(
            f"node '{site.step.node}' ({site.step.op_type}) cannot be simulated",
            why="there is no explicit arithmetic for it",
            hint="verify it with the generated C",
        )
    found = write(site, site.step.kind)
    return site.scaled(found) if type(site.step.kind) in _MOVES else found


def _conv(site: Site, kind: Conv) -> str:
    span = site.values[0].low, site.values[0].high
    return conv(site.write, kind, site.codes, span, site.kind, site.step.node)


def _gemm(site: Site, kind: Gemm) -> str:
    weight = site.write.constant(kind.weight.T, smallest(kind.weight))
    weight = site.write.cast(weight, site.kind)
    total = site.write.node("MatMul", [site.real(), weight])
    if not kind.bias.any():
        return total
    return site.write.node("Add", [total, site.constant(kind.bias)])


def _add(site: Site, kind: Add) -> str:
    total = ""
    for i, factor in enumerate(site.step.factors):
        part = site.real(i)
        part = part if factor == 1 else site.apply("Mul", part, factor)
        total = site.write.node("Add", [total, part]) if total else part
    return site.apply("Add", total, site.step.offsets[0]) if site.step.offsets[0] else total


def _mul(site: Site, kind: Mul) -> str:
    return site.write.node("Mul", [site.less(site.real(i), kind.zero_points[i]) for i in (0, 1)])


def _prelu(site: Site, kind: PRelu) -> str:
    x = site.less(site.real(), kind.zero_point)
    zero = site.constant(np.array(0))
    below = kind.below.reshape(-1, *[1] * (len(site.output.shape) - 2))
    parts = [
        site.apply("Mul", site.write.node(op, [x, zero]), slope)
        for op, slope in (("Max", kind.above), ("Min", below))
    ]
    return site.write.node("Add", parts)


def _softmax(site: Site, kind: Softmax) -> str:
    x, axis = site.real(), kind.axis
    largest = site.write.node("ReduceMax", [x], axes=[axis], keepdims=1)
    away = site.write.cast(site.write.node("Sub", [largest, x]), np.dtype(np.int64))
    parts = site.write.node("Gather", [site.constant(kind.exponentials), away])
    axes = site.write.constant(np.array([axis]), np.int64)
    total = site.write.node("ReduceSum", [parts, axes], keepdims=1)
    # float64 keeps quotients of whole numbers apart: they differ by 2⁻³¹ at least, from 2¹⁵ on
    quotient = site.write.node("Div", [site.apply("Mul", parts, kind.one), total])
    return site.write.node("Floor", [quotient])


def _max_pool(site: Site, kind: MaxPool) -> str:
    window = kind.window
    return site.write.node(
        "MaxPool", [site.real()], kernel_shape=list(window.kernel), strides=list(window.strides),
        dilations=list(window.dilations), pads=list(window.pads),
    )  # fmt: skip


def _average_pool(site: Site, kind: AveragePool) -> str:
    x, window, zero = site.values[0], kind.window, kind.zero_point
    if window.kernel == x.shape[2:] and not any(window.pads):
        axes = site.write.constant(np.array([2, 3]), np.int64)
        real = site.less(site.real(), zero)
        total = site.write.node("ReduceSum", [real, axes], keepdims=1)
    else:
        codes, span = site.codes, (x.low - zero, x.high - zero)
        if zero:
            codes = site.less(site.real(), zero)
        total = window_sum(site.write, window, x.shape[1], codes, span, site.kind, site.step.node)
    return total if kind.factor == 1 else site.apply("Mul", total, kind.factor)


def _take(site: Site, kind: Take) -> str:
    found, shape = site.real(), site.values[0].shape
    for axis, indices in enumerate(kind.indices, 1):
        if not np.array_equal(indices, np.arange(shape[axis])):
            found = site.write.node(
                "Gather", [found, site.write.constant(indices, np.int64)], axis=axis
            )
    return found


def _pad(site: Site, kind: Pad) -> str:
    pads = site.write.constant(np.array([0, *kind.before, 0, *kind.after]), np.int64)
    return site.write.node("Pad", [site.real(), pads, site.constant(np.array(kind.fill))])


def _reshape(site: Site, kind: Reshape) -> str:
    # 0 stands for the input's dimension: the frames
    shape = site.write.constant(np.array([0, *site.output.shape[1:]]), np.int64)
    return site.write.node("Reshape", [site.real(), shape])


def _transpose(site: Site, kind: Transpose) -> str:
    return site.write.node("Transpose", [site.real()], perm=list(kind.order))


def _copy(site: Site, kind: Copy) -> str:
    return site.real()


def _table(site: Site, kind: Table) -> str:
    index = site.write.cast(site.codes, np.dtype(np.int64))
    least = int(np.iinfo(site.values[0].dtype).min)
    if least:
        offset = site.write.constant(np.array(-least), np.int64)
        index = site.write.node("Add", [index, offset])
    table = site.write.constant(kind.codes, smallest(kind.codes))
    return site.write.node("Gather", [site.write.cast(table, site.kind), index])


_KINDS: dict[type, Callable[[Site, Any], str]] = {
    Conv: _conv, Gemm: _gemm, Add: _add, Mul: _mul, MaxPool: _max_pool,
    AveragePool: _average_pool, Take: _take, Pad: _pad, Reshape: _reshape,
    Transpose: _transpose, Copy: _copy, Table: _table, PRelu: _prelu, Softmax: _softmax,
}  # fmt: skip
_MOVES = (Copy, MaxPool, Pad, Reshape, Take, Transpose)
