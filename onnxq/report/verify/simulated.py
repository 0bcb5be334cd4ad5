"""Codes of every value, as the simulation model computes them in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.integer import Program
from onnxq.integer.simulation import simulate
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.runtime.taps import tap_arrays


class SimulatedCodes:
    """The simulation of a model in ONNX Runtime, with the codes of every step.

    Raises:
        UnsupportedModelError: a step has no explicit arithmetic.
    """

    def __init__(self, model: Model, program: Program, providers: Sequence[Provider]) -> None:
        found = simulate(program, model)
        self._codes = {s.output: found.codes[s.output] for s in program.steps}
        self._session = Session(tap_arrays(found.model, self._codes.values()), providers)

    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Codes [frames, …] of the output of every step, from what the model reads."""
        found = self._session.run(feed, list(self._codes.values()))
        return {value: found[name] for value, name in self._codes.items()}
