"""Execution of integer programs: their meaning, element by element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError, OnnxqError
from onnxq.integer.arithmetic import accumulate
from onnxq.integer.forms import Form
from onnxq.integer.kinds import Concat, Conv
from onnxq.integer.program import Codes, Program, Step

_LEAST, _MOST = -(1 << 31), (1 << 31) - 1


def run(program: Program, feed: Mapping[str, NDArray[Any]]) -> dict[str, Codes]:
    """All values of *program* by name, computed from the codes of its inputs.

    Args:
        program: what to run.
        feed: codes [frames, …] of every input, by the name of its value.

    Raises:
        DataError: an input is missing, or of another shape or range than the program's.
        OnnxqError: an accumulator leaves 32 bits.
    """
    found: dict[str, Codes] = dict(program.constants)
    for name in program.inputs.values():
        found[name] = _checked(program, name, feed)
    for step in program.steps:
        found[step.output] = execute(program, step, found)
    return found


def execute(program: Program, step: Step, codes: Mapping[str, Codes]) -> Codes:
    """The output [frames, …] of *step* on *codes*, which hold its inputs.

    Raises:
        OnnxqError: an accumulator leaves 32 bits.
    """
    output = program.values[step.output]
    inputs = [codes[name] for name in step.inputs]
    if isinstance(step.kind, Concat):
        forms = zip(inputs, step.shifts, step.factors, step.offsets, strict=True)
        parts = [
            Form((n,)).codes(x.astype(np.int64) * factor + offset, program.rounding)
            for x, n, factor, offset in forms
        ]
        joined = np.concatenate(parts, axis=step.kind.axis)
        return np.asarray(np.clip(joined, step.low, step.high)).astype(output.dtype)
    acc = accumulate(step, inputs, output.shape)
    if acc.size and (int(acc.min()) < _LEAST or int(acc.max()) > _MOST):
        worst = max(int(acc.max()), int(acc.min()), key=abs)
        raise OnnxqError(
            f"node '{step.node}' ({step.op_type}): an accumulator is {worst:,}",
            why="it leaves 32 bits, although the ranges of the inputs exclude that",
        )
    form = Form(step.shifts, step.multipliers, step.zero_point)
    if isinstance(step.kind, Conv):  # channels last, as shifts lie
        found = np.moveaxis(form.codes(np.moveaxis(acc, 1, -1), program.rounding), -1, 1)
    else:
        found = form.codes(acc, program.rounding)
    return np.asarray(np.clip(found, step.low, step.high)).astype(output.dtype)


def _checked(program: Program, name: str, feed: Mapping[str, NDArray[Any]]) -> Codes:
    value = program.values[name]
    if name not in feed:
        raise DataError(f"input '{name}' is missing", hint=", ".join(program.inputs.values()))
    codes = np.asarray(feed[name])
    if codes.shape[1:] != value.shape[1:] or codes.dtype.kind not in "iu":
        raise DataError(
            f"input '{name}' is {codes.dtype} {list(codes.shape)}",
            why=f"the program reads {value.dtype} [frames, {str(list(value.shape[1:]))[1:]}",
        )
    if codes.size and (codes.min() < value.low or codes.max() > value.high):
        raise DataError(
            f"input '{name}' holds {int(codes.min())} … {int(codes.max())}",
            why=f"its codes lie in {value.low} … {value.high}",
        )
    return codes.astype(value.dtype)
