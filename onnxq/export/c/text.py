"""Pieces of C: names, types, numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant import Rounding

#: Short names of element types, as in the names of kernels.
SHORT = {"int8": "s8", "uint8": "u8", "int16": "s16", "uint16": "u16", "int32": "s32"}
WIDTH = 96

_RESERVED = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while model_run model_trace memcpy requantize shift_down shift_round shift_up advance main
run raw golden tracing window conv loops take inside scale scaled multiply_high
"""

_FLOOR = "    const int32_t floor = shift_down(x, n);\n"
_REST = "    const uint32_t rest = (uint32_t)x & ((UINT32_C(1) << n) - 1);\n"
_HALF = "    const uint32_t half = (UINT32_C(1) << n) >> 1;\n"
_ROUND = {
    Rounding.FLOOR: "    return shift_down(x, n);",
    # (x + 2^(n-1)) >> n, without a sum that could leave 32 bits
    Rounding.HALF_UP: "    const int32_t some = n > 0;\n"
    "\n    return shift_down(x, n) + (shift_down(x, n - some) & some);",
    Rounding.CEIL: _REST + "\n    return shift_down(x, n) + (rest > 0);",
    Rounding.TOWARD_ZERO: _REST + "\n    return shift_down(x, n) + ((rest > 0) & (x < 0));",
    Rounding.HALF_DOWN: _REST + _HALF + "\n    return shift_down(x, n) + (rest > half);",
    Rounding.HALF_AWAY: _REST + _HALF
    + "\n    return shift_down(x, n) + ((rest + (x >= 0) > half) & (n > 0));",
    Rounding.NEAREST_EVEN: _FLOOR + _REST + _HALF
    + "\n    return floor + ((rest + ((uint32_t)floor & 1) > half) & (n > 0));",
}  # fmt: skip

#: Instructions of x86 for sums of products: name, the compiler's names, bits of a register, and
#: filters whose sums fit into all registers.
_SIMD = (("sse2", "sse2", 128, 2), ("avx2", "avx2", 256, 4), ("vnni", "avx512f,avx512vnni", 512, 8))


def template(name: str) -> str:
    """The text of the file *name* in ``kernels``."""
    return (files("onnxq.export.c") / "kernels" / name).read_text("utf-8")


def fixed_header(rounding: Rounding, *, multipliers: bool, lefts: bool, zeros: bool) -> str:
    """``fixed.h``: shifts with *rounding*, some left, *multipliers* in front, *zeros* behind."""
    mode = rounding.value.replace("-", " ")
    text = template("fixed.h").replace("@MODE@", mode).replace("@ROUND@", _ROUND[rounding])
    kind = "shift_zero.h" if zeros else "shift_left.h" if lefts else "shift.h"
    kind = "multiplier.h" if multipliers else kind
    return text.replace("@SCALED@", template(kind))


def pairs_header() -> str:
    """How sums of products are made of pairs: by loops, and by instructions of x86."""
    found = ""
    for name, target, bits, each in _SIMD:
        mm, a = "" if bits == 128 else str(bits), f"_mm@MM@_loadu_si{bits}(a + j)"
        added = f"_mm@MM@_add_epi32(acc[i][j], _mm@MM@_madd_epi16({a}, w))"
        if name == "vnni":
            added = f"_mm@MM@_dpwssd_epi32(acc[i][j], {a}, w)"
        text = template("pairs_simd.h").replace("@ADD@", added).replace("@MM@", mm)
        for key, value in (("NAME", name), ("TARGET", target), ("BITS", bits), ("EACH", each)):
            text = text.replace(f"@{key}@", str(value))
        found += text + "\n"
    return template("pairs.h").replace("@SIMD@\n", found)


def scale_struct(*, multipliers: bool, zeros: bool) -> str:
    """The structure that says how accumulators become codes."""
    if not multipliers:
        added, zero = (" what is\n   added then,", "zero, ") if zeros else ("", "")
        return (
            f"/* How accumulators become codes: a shift for each channel,{added} and a clip. */\n"
            f"struct scale {{\n    const int8_t *shift;\n    int32_t {zero}low, high;\n}};"
        )
    return (
        "/* How accumulators become codes: a multiplier and a shift for each channel, what is\n"
        "   added then, and a clip. */\n"
        "struct scale {\n    const int32_t *multiplier;\n    const int8_t *shift;\n"
        "    int32_t zero, low, high;\n};"
    )


def reserved() -> set[str]:
    """Identifiers that generated names must not take."""
    return set(_RESERVED.split())


def c_type(dtype: str) -> str:
    """The C type of elements of *dtype*."""
    return f"{dtype}_t"


def patch_type(dtype: str) -> str:
    """The type of gathered inputs of *dtype*: at least 16 bits, whose products SIMD units add."""
    return "int16" if dtype in ("int8", "uint8", "int16") else "int32"


def narrow(codes: NDArray[Any]) -> str:
    """The smallest type that stores *codes* of a weight."""
    low, high = int(codes.min()), int(codes.max())
    fits = ("int8", "uint8", "int16", "int32")
    return next(t for t in fits if np.iinfo(t).min <= low and high <= np.iinfo(t).max)


def identifier(name: str, used: set[str]) -> str:
    """*name* as a C identifier that is not in *used* yet; adds it."""
    base = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "x"
    base = base if base[0].isalpha() else f"x_{base}"
    found, count = base, 1
    while found in used:
        count += 1
        found = f"{base}_{count}"
    used.add(found)
    return found


def comment(text: str) -> str:
    """*text* as it may stand in a comment."""
    return text.replace("*/", "* /").replace("\n", " ").replace("??", "? ?")


def array(declared: str, values: NDArray[Any], suffix: str = "") -> str:
    """The definition of the array *declared* (type and name) with *values*."""
    return f"{declared}[{values.size}] = {{\n{numbers(values)}}};{suffix}\n"


def numbers(values: NDArray[Any]) -> str:
    """*values*, comma separated, in indented lines."""
    flat = values.reshape(-1)
    words = ("(-2147483647 - 1)" if v == np.iinfo(np.int32).min else str(v) for v in flat.tolist())
    return wrap(words)


def wrap(words: Iterable[str]) -> str:
    """*words* in lines of about 100 columns, each with a comma behind it."""
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > WIDTH:
            lines.append(line)
            line = ""
        line += f"{word}, " if line else f"    {word}, "
    return "".join(f"{text.rstrip()}\n" for text in (*lines, line) if text)
