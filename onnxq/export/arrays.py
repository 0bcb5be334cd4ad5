"""Arrays of integers as files: ``.npy``, ``.mem`` and ``.coe`` for hardware designs, a C header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.export.c.text import array, c_type, identifier, reserved

Arrays = dict[str, NDArray[Any]]


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]], *, designs: bool) -> None:
    """Write *arrays* under their names into *folder*.

    Args:
        folder: where to.
        arrays: by name of the ``.npy`` file, relative to *folder*.
        designs: whether to write ``.mem`` and ``.coe`` beside each, and ``weights.h`` with those in
            ``weights/``.
    """
    for file, values in arrays.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values, allow_pickle=False)
        if designs:
            words = _hexadecimal(values)
            path.with_suffix(".mem").write_text("\n".join([*words, ""]), encoding="ascii")
            path.with_suffix(".coe").write_text(_coe(words), encoding="ascii")
    if designs:
        weights = {f: v for f, v in arrays.items() if f.startswith("weights/")}
        (folder / "weights.h").write_text(_header(weights), encoding="ascii")


def _hexadecimal(values: NDArray[Any]) -> list[str]:
    """*values* as ``$readmemh`` of Verilog reads them, one a line: two's complement."""
    bits = values.dtype.itemsize * 8
    flat = values.reshape(-1).astype(np.int64) & ((1 << bits) - 1)
    return [f"{v:0{bits // 4}x}" for v in flat.tolist()]


def _coe(words: list[str]) -> str:
    """*words* as AMD's memory generators read them."""
    body = ",\n".join(words)
    return f"memory_initialization_radix=16;\nmemory_initialization_vector=\n{body};\n"


def _header(weights: Arrays) -> str:
    """Constant arrays: ``weights/003.bias.npy`` is ``layer_003_bias``."""
    used, found = reserved(), ["#ifndef WEIGHTS_H\n#define WEIGHTS_H\n\n#include <stdint.h>\n"]
    for file, values in weights.items():
        stem = file.removeprefix("weights/").removesuffix(".npy")
        name = identifier(f"layer_{stem}" if stem[0].isdigit() else stem, used)
        found.append(array(f"static const {c_type(values.dtype.name)} {name}", values))
    return "\n".join([*found, "#endif\n"])
