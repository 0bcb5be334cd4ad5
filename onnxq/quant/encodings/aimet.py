"""Encodings of AIMET, which Qualcomm's QNN and SNPE read, too.

Source: AIMET's public documentation, "Encoding format specification", 0.6.1 (a dictionary by tensor
of lists of encodings) and 1.0.0 (a list of tensors).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.encodings.encoding import Encoding

VERSION = "0.6.1"
_Parts = tuple[NDArray[np.float32], NDArray[np.int64], int, bool]
PARTS = {"activation_encodings": False, "param_encodings": True}


def write(encodings: Iterable[Encoding]) -> str:
    """*encodings* as JSON of version 0.6.1."""
    found: dict[str, Any] = {"version": VERSION}
    kept = list(encodings)
    for part, weight in PARTS.items():
        found[part] = {e.name: _entries(e) for e in kept if e.weight == weight}
    found |= {"excluded_layers": [], "quantizer_args": {}}
    return json.dumps(found, indent=1) + "\n"


def _entries(encoding: Encoding) -> list[dict[str, Any]]:
    rows = zip(encoding.scale, encoding.offset, encoding.low, encoding.high, strict=True)
    return [
        {
            "bitwidth": encoding.bits, "dtype": "int", "is_symmetric": str(encoding.symmetric),
            "min": float(low), "max": float(high), "offset": int(offset), "scale": float(scale),
        }
        for scale, offset, low, high in rows
    ]  # fmt: skip


def read(found: Mapping[str, Any]) -> list[Encoding]:
    """Encodings of either version; floating-point ones are left out.

    Raises:
        KeyError, TypeError, ValueError: it is no such file.
    """
    made = []
    for part, weight in PARTS.items():
        given = found.get(part) or {}
        pairs = given.items() if isinstance(given, Mapping) else ((e["name"], e) for e in given)
        for name, entry in pairs:
            one = _newer(entry) if isinstance(entry, Mapping) else _older(entry)
            if one is not None:
                made.append(Encoding(name, *one, weight))
    return made


def _older(entries: Sequence[Mapping[str, Any]]) -> _Parts | None:
    if entries[0].get("dtype", "int") != "int":
        return None
    bits = int(entries[0]["bitwidth"])
    steps = (1 << bits) - 1
    scales = [e["scale"] if "scale" in e else (e["max"] - e["min"]) / steps for e in entries]
    offsets = [
        e["offset"] if "offset" in e else round(e["min"] / s)
        for e, s in zip(entries, scales, strict=True)
    ]
    symmetric = str(entries[0].get("is_symmetric", False)).lower() == "true"
    return np.array(scales, np.float32), np.array(offsets, np.int64), bits, symmetric


def _newer(entry: Mapping[str, Any]) -> _Parts | None:
    if str(entry.get("dtype", "INT")).upper() != "INT":
        return None
    scales, bits = np.array(entry["scale"], np.float32).reshape(-1), int(entry["bw"])
    symmetric = str(entry.get("is_sym", False)).lower() == "true"
    middle = np.full(scales.shape, -(1 << (bits - 1)))
    offsets = np.array(entry.get("offset", middle), np.int64).reshape(-1)
    return scales, offsets, bits, symmetric
