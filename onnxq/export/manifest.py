"""A program as data: ``manifest.json``, and the arrays that it names by file.

What hardware designs and code of one's own need: integer weights, exponents, shifts, rounding,
and golden vectors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.export.arrays import Arrays
from onnxq.integer.kinds import Conv, Gemm
from onnxq.integer.program import Program, Step, Value

SCHEMA = "onnxq-manifest/1"


def manifest(program: Program, name: str) -> tuple[dict[str, Any], Arrays]:
    """The manifest of *program* called *name*, and the arrays that it names by file.

    A layer computes accumulators from codes, multiplies them by ``multiplier`` · 2^-31 where it
    has one (rounded half up, behind a ``shift`` to the left), shifts them right by ``shift`` (left
    where it is negative), rounds as ``rounding`` says, adds ``zero_point`` and clips to ``low`` …
    ``high``. ``shift`` and ``multiplier`` are lists: one for all, one for each output channel, or
    one for each input of a Concat. Codes that are added or moved are first multiplied by
    ``factors``, and ``offsets`` are added. A bias holds what zero points of the input add up to.
    """
    arrays: Arrays = {}
    layers = [_layer(program, i, step, arrays) for i, step in enumerate(program.steps)]
    constants: list[dict[str, Any]] = []
    for value, codes in program.constants.items():
        file = f"weights/constant{len(constants):03d}.npy"
        arrays[file] = codes
        constants.append({**_described(program.values[value]), "file": file})
    return {
        "schema": SCHEMA,
        "model": name,
        "rounding": program.rounding.value,
        "inputs": [{**_described(program.values[v]), "name": n} for n, v in program.inputs.items()],
        "outputs": [
            {**_described(program.values[v]), "name": n} for n, v in program.outputs.items()
        ],
        "constants": constants,
        "layers": layers,
    }, arrays


def add_golden(found: dict[str, Any], golden: Mapping[str, NDArray[Any]], arrays: Arrays) -> None:
    """Add golden vectors [frames, …] of inputs and of every layer's output."""
    found["golden"] = {}
    for i, (value, codes) in enumerate(golden.items()):
        file = f"golden/{i:03d}.npy"
        arrays[file] = codes
        found["golden"][value] = file


def _layer(program: Program, index: int, step: Step, arrays: Arrays) -> dict[str, Any]:
    out = program.values[step.output]
    found: dict[str, Any] = {
        "node": step.node,
        "op_type": step.op_type,
        "kind": type(step.kind).__name__,
        "inputs": [_described(program.values[n]) for n in step.inputs],
        "output": _described(out),
        "multiplier": list(step.multipliers) or None,
        "shift": list(step.shifts),
        "zero_point": step.zero_point,
        "factors": list(step.factors),
        "offsets": list(step.offsets),
        "rounding": program.rounding.value,
        "low": step.low,
        "high": step.high,
        "accumulator_bits": step.bits,
    }
    if isinstance(step.kind, (Conv, Gemm)):
        for part, dtype in (("weight", "int8"), ("bias", "int32")):
            values = getattr(step.kind, part)
            file = f"weights/{index:03d}.{part}.npy"
            fits = np.iinfo(dtype).min <= values.min() and values.max() <= np.iinfo(dtype).max
            arrays[file] = values.astype(dtype if fits else "int32")
            found[part] = file
        found["layout"] = "OIHW" if isinstance(step.kind, Conv) else "OI"
    for field in dataclasses.fields(step.kind):
        value = getattr(step.kind, field.name)
        if field.name == "window":
            found["window"] = dataclasses.asdict(value)
        elif isinstance(value, (int, tuple)) and field.name != "indices":
            found[field.name] = value
        elif field.name == "indices":
            found[field.name] = [i.tolist() for i in value]
        elif field.name in ("codes", "below", "exponentials"):
            found[field.name] = np.asarray(value).tolist()
    return found


def _described(value: Value) -> dict[str, Any]:
    return {
        "name": value.name,
        "dtype": value.dtype,
        "shape": list(value.shape),
        "layout": {4: "NCHW", 2: "NC"}.get(len(value.shape), ""),
        "scale": value.scale,
        "exponent": value.exponent,
        "zero_point": value.zero_point,
        "low": value.low,
        "high": value.high,
    }
