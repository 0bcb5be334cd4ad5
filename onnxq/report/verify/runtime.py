"""Codes of every value, as ONNX Runtime computes them from the QDQ model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.integer import Program, execute
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.runtime.taps import tap_arrays


class RuntimeCodes:
    """A model in ONNX Runtime, as its nodes say (no fusion), with all its codes.

    Attributes:
        session: of the model without taps.
        batched: whether it takes several frames at once.
    """

    def __init__(self, model: Model, program: Program, providers: Sequence[Provider]) -> None:
        self.program = program
        known = {*model.tensors(), *program.inputs.values()}
        self._names = [n for n in program.values if n not in program.constants and n in known]
        self.session = Session(model.to_proto(), providers, optimize=False)
        tapped = tap_arrays(model.to_proto(), self._names)
        self._tapped = Session(tapped, providers, optimize=False)
        shapes = [i.shape for i in self.session.inputs]
        self.batched = all(s and not isinstance(s[0], int) for s in shapes)

    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Codes of every value by name; results that no QuantizeLinear meets are scaled.

        Values that the model has no tensor for are what the reference makes of the codes before.
        """
        given = set(feed)
        found = self._tapped.run(feed, [n for n in self._names if n not in given])
        codes = {n: np.asarray(feed[n]) for n in self._names if n in given}
        codes.update({n: self._codes(n, array) for n, array in found.items()})
        for step in self.program.steps:
            if step.output not in codes:  # between two steps of one node
                known = {**self.program.constants, **codes}
                codes[step.output] = execute(self.program, step, known)
        return codes

    def _codes(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if array.dtype.kind != "f":
            return array
        value = self.program.values[name]
        steps = np.rint(array.astype(np.float64) / value.scale)
        return np.asarray(steps, np.int64) + value.zero_point
