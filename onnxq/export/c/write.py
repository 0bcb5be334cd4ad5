"""A program as C99: readable, without floating point, allocation or any library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxq.export.c.calls import Calls, Types
from onnxq.export.c.golden import Golden, golden_files
from onnxq.export.c.loops import DEEPEST
from onnxq.export.c.memory import Memory, plan
from onnxq.export.c.project import CMAKE, MAKE
from onnxq.export.c.text import (
    SHORT,
    array,
    c_type,
    fixed_header,
    identifier,
    pairs_header,
    patch_type,
    reserved,
    scale_struct,
    template,
)
from onnxq.integer.program import Program, Value

_GATHERS = {"conv": "gather", "conv_blocks": "gather_pairs"}
_NESTS = ("add", "mul", "move", "copy")
_INSIDE = ("max_pool", "average_pool", "depthwise")
#: Structures that kernels take: by the name of the template, and all kernels that take it.
_STRUCTS = {
    "window.h": (*_GATHERS, *_INSIDE),
    "conv.h": (*_GATHERS, "depthwise"),
    "loops.h": _NESTS,
    "take.h": ("take",),
}


@dataclass(frozen=True)
class Source:
    """A C project.

    Attributes:
        files: text by file name.
        memory: the plan of static memory.
        scratch: bytes of scratch memory beside it.
        constants: bytes of weights, biases, shifts and tables.
    """

    files: Mapping[str, str]
    memory: Memory
    scratch: int
    constants: int

    @property
    def ram(self) -> int:
        """Bytes of static memory that running one frame needs, without the caller's frames."""
        return self.memory.bytes + self.scratch

    @property
    def lines(self) -> int:
        """Lines of code, without weights and golden vectors."""
        code = [t for n, t in self.files.items()
                if n.endswith((".c", ".h")) and n not in ("weights.c", "golden.c")]  # fmt: skip
        return sum(t.count("\n") for t in code)


def write_c(program: Program, golden: Golden, name: str) -> Source:
    """The C project of *program*.

    Args:
        program: what to write.
        golden: frames that the program checks itself with.
        name: of the model, for comments and the executable.

    Raises:
        UnsupportedModelError: a tensor has more dimensions than the kernels.
    """
    memory = plan(program)
    used = reserved()
    inputs = {v: identifier(f"in_{n}", used) for n, v in program.inputs.items()}
    outputs = {n: identifier(f"out_{n}", used) for n in program.outputs}
    calls = Calls(program, memory, dict(inputs), used=used)
    for number, step in enumerate(program.steps):
        calls.add(step)
        value = program.values[step.output]
        calls.lines.append(f"    TRACE({calls.place(value)}, {value.size}); /* step {number} */")
    calls.lines.append("")
    for output, target in outputs.items():
        value = program.values[program.outputs[output]]
        size = f"{value.size} * sizeof({c_type(value.dtype)})"
        calls.lines.append(f"    memcpy({target}, {calls.place(value)}, {size});")
    signature = _signature(program, inputs, outputs)
    names = [*inputs.values(), *outputs.values()]
    values = [program.values[v] for v in (*inputs, *program.outputs.values())]
    files = {
        "fixed.h": fixed_header(
            program.rounding, multipliers=calls.multipliers, lefts=calls.lefts, zeros=calls.zeros
        ),
        "kernels.h": _kernels_header(calls),
        "kernels.c": _kernels(calls),
        "weights.h": _guarded("WEIGHTS_H", "#include <stdint.h>\n\n" + "".join(
            f"extern const {c_type(w.dtype.name)} {n}[{w.size}];\n"
            for n, w in calls.weights.items())),
        "weights.c": '#include "weights.h"\n' + "".join(
            "\n" + array(f"const {c_type(w.dtype.name)} {n}", w)
            for n, w in calls.weights.items()),
        "model.h": _guarded("MODEL_H", _model_header(signature, names, values)),
        "model.c": _model(calls, signature, name),
        **golden_files(program, golden, inputs, outputs),
        "Makefile": MAKE.replace("@NAME@", name),
        "CMakeLists.txt": CMAKE.replace("@NAME@", name),
    }  # fmt: skip
    scratch = sum(n * np.dtype(t).itemsize for t, n in calls.scratch.items())
    constants = sum(w.nbytes for w in calls.weights.values())
    return Source(files, memory, scratch, constants)


def _signature(program: Program, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    given = [f"const {c_type(program.values[v].dtype)} *{n}" for v, n in inputs.items()]
    made = [f"{c_type(program.values[program.outputs[o]].dtype)} *{n}" for o, n in outputs.items()]
    return "void model_run(" + ", ".join([*given, *made]) + ")"


def _model_header(signature: str, names: list[str], values: list[Value]) -> str:
    lines = ["#include <stddef.h>\n#include <stdint.h>\n\n"]
    for name, value in zip(names, values, strict=True):
        shape = ", ".join(map(str, value.shape[1:]))
        lines.append(f"/* [{shape}]; code c stands for {_meaning(value)}. */\n")
        lines.append(f"#define {name.upper()}_SIZE {value.size}\n")
    lines.append(f"\n/* One frame. Not reentrant: it works in static memory. */\n{signature};\n")
    lines.append(
        "\n#ifdef MODEL_TRACE\n/* Called with the result of every step; main.c has one. */\n"
        "void model_trace(const void *data, size_t size, size_t count);\n#endif\n"
    )
    return "".join(lines)


def _meaning(value: Value) -> str:
    if value.exponent is not None and not value.zero_point:
        return f"c * 2^{value.exponent}"
    less = f"c - {value.zero_point}" if value.zero_point >= 0 else f"c + {-value.zero_point}"
    return f"({less}) * {value.scale!r}" if value.zero_point else f"c * {value.scale!r}"


def _model(calls: Calls, signature: str, name: str) -> str:
    arenas = "".join(
        f"static {c_type(t)} arena_{SHORT[t]}[{n}];\n" for t, n in calls.memory.sizes.items()
    ) + "".join(f"static {c_type(t)} scratch_{SHORT[t]}[{n}];\n" for t, n in calls.scratch.items())
    tables = "".join(f"{t}\n" for t in calls.tables)
    body = "\n".join(calls.lines).lstrip("\n")
    return f"""/* {name}, written by onnxq. */
#include "model.h"

#include <string.h>

#include "kernels.h"
#include "weights.h"

#ifdef MODEL_TRACE
#define TRACE(data, count) model_trace(data, sizeof *(data), count)
#else
#define TRACE(data, count) ((void)0)
#endif

/* Values of one frame; those that are never needed together share their place. */
{arenas}
{tables}
{signature}
{{
{body}
}}
"""


def _kernels(calls: Calls) -> str:
    found = ['#include "kernels.h"\n\n#include "fixed.h"\n']
    kernels = {k for k, _ in calls.kernels}
    if calls.block:
        found.append(template("wide.h"))
    if "conv_blocks" in kernels:
        blocks = "/* Output pixels whose patches are gathered together. */\n"
        found += [pairs_header(), f"{blocks}#define BLOCK {calls.block}\n"]
    if kernels & set(_NESTS):
        found.append(template("advance.c"))
    if kernels & set(_INSIDE):
        found.append(template("inside.c"))
    gathers = dict.fromkeys((k, t[0]) for k, t in calls.kernels if k in _GATHERS)
    typed = [(_GATHERS[k], (t, "", "")) for k, t in gathers] + list(calls.kernels)
    for kernel, types in typed:
        text = _typed(template(f"{kernel}.c"), types)
        if not calls.block:
            text = text.replace("WIDE void", "void")
        if kernel in _GATHERS:
            name = _GATHERS[kernel]
            text = text.replace(f"{name}_{_suffix(types)}", f"{name}_{SHORT[types[0]]}")
        found.append(text)
    return "\n".join(found)


def _kernels_header(calls: Calls) -> str:
    kernels = {k for k, _ in calls.kernels}
    struct = scale_struct(multipliers=calls.multipliers, zeros=calls.zeros)
    found = ["#include <stdint.h>\n", struct + "\n"]
    if kernels & {*_NESTS, "take"}:
        found.append(f"#define LOOPS {DEEPEST}\n")
    found += [template(name) for name, users in _STRUCTS.items() if kernels & set(users)]
    for kernel, types in calls.kernels:
        text = _typed(template(f"{kernel}.c"), types)
        found.append(text[: text.index("\n{")].replace("WIDE void", "void") + ";\n")
    return _guarded("KERNELS_H", "\n".join(found))


def _typed(text: str, types: Types) -> str:
    named = (*types, patch_type(types[0]) if types[0] else "")
    for token, dtype in zip(("IN", "W", "OUT", "PATCH"), named, strict=True):
        if dtype:
            for before in ("const ", "    "):
                text = text.replace(f"{before}{token} ", f"{before}{c_type(dtype)} ")
            text = text.replace(f"({token})", f"({c_type(dtype)})")
            text = text.replace(f"{token} *", f"{c_type(dtype)} *")
    return text.replace("_@", f"_{_suffix(types)}")


def _suffix(types: Types) -> str:
    return "_".join(SHORT[t] for t in types if t)


def _guarded(name: str, text: str) -> str:
    return f"#ifndef {name}\n#define {name}\n\n{text}\n#endif\n"
