"""Golden vectors, and the program that checks itself with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxq.export.c.text import array, c_type, template
from onnxq.integer.execute import run
from onnxq.integer.program import Codes, Program

#: Most input elements that random golden vectors take.
_ELEMENTS = 200_000


@dataclass(frozen=True)
class Golden:
    """Codes [frames, …] of every value of a program, by name."""

    codes: Mapping[str, Codes]

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return max((len(c) for c in self.codes.values()), default=0)


def golden(program: Program, feed: Mapping[str, Codes] | None = None, frames: int = 4) -> Golden:
    """Golden vectors of *program*.

    Args:
        program: what to run.
        feed: codes of the inputs; None draws them, always the same.
        frames: how many to draw; fewer where they are large.
    """
    if feed is None:
        rng = np.random.default_rng(0)
        values = [program.values[v] for v in program.inputs.values()]
        count = max(1, min(frames, _ELEMENTS // max(1, sum(v.size for v in values))))
        feed = {
            v.name: rng.integers(v.low, v.high, (count, *v.shape[1:]), v.dtype, endpoint=True)
            for v in values
        }
    found = run(program, feed)
    return Golden({n: c for n, c in found.items() if n not in program.constants})


def golden_files(
    program: Program, golden: Golden, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> dict[str, str]:
    """``golden.h``, ``golden.c`` and ``main.c``.

    Args:
        program: what was run.
        golden: its vectors.
        inputs: C names by value.
        outputs: C names by the output's name in the model file.
    """
    named = [(n, golden.codes[v]) for v, n in inputs.items()]
    named += [(n, golden.codes[program.outputs[o]]) for o, n in outputs.items()]
    header = f"#include <stdint.h>\n\n#define GOLDEN_FRAMES {golden.frames}\n\n" + "".join(
        f"extern const {c_type(c.dtype.name)} golden_{n}[{c.size}];\n" for n, c in named
    )
    return {
        "golden.h": f"#ifndef GOLDEN_H\n#define GOLDEN_H\n\n{header}\n#endif\n",
        "golden.c": '#include "golden.h"\n' + "".join(
            "\n" + array(f"const {c_type(c.dtype.name)} golden_{n}", c) for n, c in named
        ),
        "main.c": _main(program, inputs, outputs),
    }  # fmt: skip


def _main(program: Program, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    values = {n: program.values[v] for v, n in inputs.items()}
    results = {n: program.values[program.outputs[o]] for o, n in outputs.items()}
    first, *others = inputs.values()
    parts = {
        "BUFFERS": "\n".join(
            f"static {c_type(v.dtype)} {n}[{n.upper()}_SIZE];"
            for n, v in {**values, **results}.items()
        ),
        "ARGUMENTS": ", ".join([*values, *results]),
        "FIRST": first,
        "READ": "".join(f"\n            || fread({n}, sizeof({n}), 1, stdin) != 1" for n in others),
        "WRITE": "".join(f"        fwrite({n}, sizeof({n}), 1, stdout);\n" for n in results),
        "LOAD": "".join(
            f"        memcpy({n}, golden_{n} + frame * {n.upper()}_SIZE, sizeof({n}));\n"
            for n in values
        ),
        "COMPARE": "".join(
            f"        for (int i = 0; i < {n.upper()}_SIZE; i++, all++)\n"
            f"            equal += {n}[i] == golden_{n}[frame * {n.upper()}_SIZE + i];\n"
            for n in results
        ),
    }  # fmt: skip
    text = template("main.c")
    for key, value in parts.items():
        text = text.replace(f"@{key}@", value)
    return text
