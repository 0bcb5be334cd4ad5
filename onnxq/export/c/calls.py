"""Steps of a program as calls of kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import UnsupportedModelError
from onnxq.export.c.convolution import block, convolution, window_numbers
from onnxq.export.c.loops import DEEPEST, Loops, loops, stretched, strides
from onnxq.export.c.memory import Memory, aliases_input
from onnxq.export.c.text import SHORT, c_type, comment, identifier, narrow, reserved
from onnxq.integer.kinds import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Gemm,
    MaxPool,
    Mul,
    Pad,
    PRelu,
    Softmax,
    Table,
    Take,
    Transpose,
    Window,
)
from onnxq.integer.program import Program, Step, Value
from onnxq.integer.shifts import requantize

Types = tuple[str, str, str]

_NAMED: dict[object, str] = {-(1 << 31): "INT32_MIN", (1 << 31) - 1: "INT32_MAX"}


@dataclass
class Calls:
    """What the steps of a program need in C.

    Attributes:
        lines: the body of the function that runs one frame.
        tables: definitions of ``static const`` structures in model.c.
        weights: constant arrays by C name, with their element type.
        kernels: kernels used: name of the template and element types (input, weight or second
            input, output; empty where there is none).
        scratch: elements of scratch memory by element type.
        block: output pixels of a block of the convolution; 0 where it is the plain one.
    """

    program: Program
    memory: Memory
    names: dict[str, str]
    lines: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    kernels: dict[tuple[str, Types], None] = field(default_factory=dict)
    scratch: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=reserved)

    def __post_init__(self) -> None:
        self.multipliers = any(step.multipliers for step in self.program.steps)
        self.zeros = self.multipliers or any(step.zero_point for step in self.program.steps)
        self.lefts = any(min(step.shifts) < 0 for step in self.program.steps)
        self.block = block(self.program, self.memory)
        for name, codes in self.program.constants.items():
            self.names[name] = self.weight(name, codes)

    def place(self, value: Value) -> str:
        """The C expression of the first element of *value*."""
        name = self.memory.aliases.get(value.name, value.name)
        if name in self.names:
            return self.names[name]
        arena, offset = self.memory.places[name]
        start = f"arena_{SHORT[arena]}" + (f" + {offset}" if offset else "")
        return start if arena == value.dtype else f"({c_type(value.dtype)} *)({start})"

    def weight(self, name: str, values: NDArray[Any], dtype: str = "") -> str:
        """Make *values* a constant array; returns its name, which begins as *name*."""
        name = identifier(name, self.used)
        self.weights[name] = values.astype(dtype or values.dtype)
        return name

    def call(self, kernel: str, types: Types, *arguments: object) -> None:
        """Add a call of *kernel*, for elements of *types*."""
        self.kernels[kernel, types] = None
        suffix = "_".join(SHORT[t] for t in types if t)
        line, lines = f"    {kernel}_{suffix}(", []
        for i, argument in enumerate(_NAMED.get(a, str(a)) for a in arguments):
            text = argument + (");" if i == len(arguments) - 1 else ", ")
            if len(line) + len(text) > 100:
                lines.append(line.rstrip())
                line = " " * 8
            line += text
        self.lines += [*lines, line]

    def add(self, step: Step) -> None:
        """Add *step*."""
        self.label = identifier(step.node or step.op_type, self.used)
        out, sources = self.program.values[step.output], self._inputs(step)
        shape = "x".join(map(str, out.shape[1:]))
        self.lines.append(f"\n    /* {comment(step.node)}: {step.op_type} -> {shape} */")
        if aliases_input(self.program, step):
            self.lines[-1] = self.lines[-1].replace(" */", ", the same elements */")
            return
        match step.kind:
            case Conv():
                convolution(self, step, step.kind, sources[0], out)
            case Gemm():
                self._gemm(step, step.kind, sources[0], out)
            case Add() | Mul():
                self._pair(step, sources, out)
            case MaxPool() | AveragePool():
                self._pool(step, step.kind.window, sources[0], out)
            case Table():
                codes = step.kind.codes.clip(step.low, step.high)
                table = self.weight(f"{self.label}_table", codes, out.dtype)
                least = int(np.iinfo(sources[0].dtype).min)
                self.call("table", (sources[0].dtype, "", out.dtype), self.place(sources[0]),
                          self.place(out), table, out.size, least)  # fmt: skip
            case PRelu():
                self._prelu(step, step.kind, sources[0], out)
            case Softmax():
                self._softmax(step, step.kind, sources[0], out)
            case Take():
                self._take(step, step.kind, sources[0], out)
            case _:
                self._move(step, sources, out)

    def _inputs(self, step: Step) -> list[Value]:
        return [self.program.values[n] for n in step.inputs]

    def _define(self, struct: str, name: str, text: str) -> str:
        self.tables.append(f"static const struct {struct} {name} = {text};")
        return name

    def table(self, struct: str, name: str, text: str) -> str:
        """The address of a new constant structure *name* with the initializer *text*."""
        return f"&{self._define(struct, name, text)}"

    def room(self, dtype: str, size: int) -> str:
        """Memory for *size* elements that a kernel needs while it runs."""
        self.scratch[dtype] = max(self.scratch.get(dtype, 0), size)
        return f"scratch_{SHORT[dtype]}"

    def _gemm(self, step: Step, kind: Gemm, x: Value, out: Value) -> None:
        columns, depth = kind.weight.shape
        self.call(
            "gemm", (x.dtype, narrow(kind.weight), out.dtype), self.place(x),
            *self.constants(step, kind.weight, kind.bias), self.place(out), x.size // depth,
            depth, columns,
        )  # fmt: skip

    def constants(self, step: Step, weight: NDArray[Any], bias: NDArray[Any]) -> list[str]:
        """Weight and bias as constant arrays, and how accumulators of *step* become codes."""
        return [
            self.weight(f"{self.label}_weight", weight, narrow(weight)),
            self.weight(f"{self.label}_bias", bias, "int32"),
            self._scale(step, bias.size),
        ]

    def _scale(self, step: Step, channels: int = 1) -> str:
        """The structure that says how accumulators of *step* become codes."""
        parts = []
        if self.multipliers:
            multipliers = np.broadcast_to(np.array(step.multipliers), (channels,))
            parts.append(self.weight(f"{self.label}_multiplier", multipliers, "int32"))
        shifts = np.broadcast_to(np.array(step.shifts), (channels,))
        parts.append(self.weight(f"{self.label}_shift", shifts, "int8"))
        numbers = [step.zero_point] * self.zeros + [step.low, step.high]
        parts += [str(_NAMED.get(n, n)) for n in numbers]
        return self._define("scale", f"{self.label}_scale", f"{{{', '.join(parts)}}}")

    def _pair(self, step: Step, sources: list[Value], out: Value) -> None:
        a, b = sources
        nest = loops(out.shape, stretched(a.shape, out.shape), stretched(b.shape, out.shape))
        places = (self.place(a), self.place(b), self.place(out), self._loops(step, nest))
        types = (a.dtype, b.dtype, out.dtype)
        if isinstance(step.kind, Mul):
            self.call("mul", types, *places, *step.kind.zero_points, self._scale(step))
        else:
            self.call("add", types, *places, *step.factors, *_last(step))

    def _pool(self, step: Step, window: Window, x: Value, out: Value) -> None:
        table = self.table("window", self.label, window_numbers(window, x, out))
        types = (x.dtype, "", out.dtype)
        before = (self.place(x), self.place(out), table, x.shape[1])
        if isinstance(step.kind, AveragePool):
            numbers = (step.kind.zero_point, step.kind.factor)
            self.call("average_pool", types, *before, *numbers, self._scale(step))
        else:
            line = self.room(x.dtype, x.shape[3] + out.shape[3])
            self.call("max_pool", types, before[0], before[1], line, *before[2:], x.low,
                      step.factors[0], *_last(step))  # fmt: skip

    def _prelu(self, step: Step, kind: PRelu, x: Value, out: Value) -> None:
        below = self.weight(f"{self.label}_below", kind.below, "int32")
        channels = x.shape[1] if len(x.shape) > 1 else 1
        self.call(
            "prelu", (x.dtype, "", out.dtype), self.place(x), self.place(out), below, channels,
            kind.below.size, x.size // channels, kind.above, kind.zero_point, self._scale(step),
        )  # fmt: skip

    def _softmax(self, step: Step, kind: Softmax, x: Value, out: Value) -> None:
        table = self.weight(f"{self.label}_exponentials", kind.exponentials, "int32")
        outer, inner = (int(np.prod(p)) for p in (x.shape[: kind.axis], x.shape[kind.axis + 1 :]))
        self.call(
            "softmax", (x.dtype, "", out.dtype), self.place(x), self.place(out), table, outer,
            x.shape[kind.axis], inner, kind.one, self._scale(step),
        )  # fmt: skip

    def _take(self, step: Step, kind: Take, x: Value, out: Value) -> None:
        steps = strides(x.shape)[1:]
        tables = [
            self.weight(f"{self.label}_offsets_{i}", indices * n, "int32")
            for i, (indices, n) in enumerate(zip(kind.indices, steps, strict=True))
        ]
        self._deep(step, len(tables))
        sizes = ", ".join(map(str, out.shape[1:]))
        text = f"{{{len(tables)}, {{{sizes}}}, {{{', '.join(tables)}}}}}"
        self.call(
            "take", (x.dtype, "", out.dtype), self.place(x), self.place(out),
            self.table("take", self.label, text), step.factors[0], *_last(step),
        )  # fmt: skip

    def _move(self, step: Step, sources: list[Value], out: Value) -> None:
        to, place, start = strides(out.shape), self.place(out), 0
        form = zip(sources, step.factors, step.offsets, step.shifts, strict=True)
        for i, (x, factor, more, shift) in enumerate(form):
            size, from_, onto, offset = x.shape, strides(x.shape), to, 0
            if isinstance(step.kind, Transpose):
                size, from_ = out.shape, tuple(from_[p] for p in step.kind.order)
            elif isinstance(step.kind, Concat):
                offset = start * to[step.kind.axis]
                start += x.shape[step.kind.axis]
            elif isinstance(step.kind, Pad):
                offset = sum(b * n for b, n in zip(step.kind.before, to[1:], strict=True))
                code = np.array(step.kind.fill * factor + more)
                code = requantize(code, np.array(shift), step.low, step.high, self.program.rounding)
                self.call("fill", ("", "", out.dtype), place, out.size, int(code))
            else:  # the same elements in the same order, whatever the shapes
                size, from_, onto = (x.size,), (1,), (1,)
            nest = self._loops(step, loops(size, from_, onto), f"_{i}" if i else "")
            target = f"{place} + {offset}" if offset else place
            types, before = (x.dtype, "", out.dtype), (self.place(x), target, nest)
            whole = step.low <= x.low and x.high <= step.high
            if whole and (factor, more, shift) == (1, 0, 0):
                self.call("copy", types, *before)
            else:
                self.call("move", types, *before, factor, more, shift, step.low, step.high)

    def _loops(self, step: Step, nest: Loops, suffix: str = "") -> str:
        self._deep(step, len(nest.size))
        return self.table("loops", self.label + suffix, nest.c())

    def _deep(self, step: Step, rank: int) -> None:
        if rank > DEEPEST:
            raise UnsupportedModelError(
                f"node '{step.node}' ({step.op_type}) cannot be written in C",
                why=f"it needs {rank} nested loops, and the kernels have {DEEPEST}",
                hint="tensors of fewer dimensions",
            )


def _last(step: Step) -> tuple[int, ...]:
    """Offset, shift and limits of a step that adds or moves codes."""
    return step.offsets[0], step.shifts[0], step.low, step.high
