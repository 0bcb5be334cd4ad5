"""Calls without samples: what is run is random input, and nothing is calibrated on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from onnxq.api.calibration import Calibration, open_calibration
from onnxq.calibrate.sources import DataSource, Feed
from onnxq.graph import Model


@dataclass
class Synthetic(Calibration):
    """No data: ``source`` is random input; the report is made on it, or on samples of its own."""

    @classmethod
    def opened(cls, model: Model, data: None = None, **given: Any) -> Self:
        """As ``open_calibration``, for a call without data; samples of the report may be real.

        Raises:
            DataError: the samples of the report do not fit the model.
            UnsupportedModelError: ONNX Runtime cannot load the model.
        """
        found = open_calibration(model, data, **given | {"random": True, "statistics": None})
        return cls(found.source, found.report_source, True, None, found.providers, found.progress)

    @property
    def judged(self) -> DataSource:
        """The samples of the report: its own, else all random ones."""
        return self.source if self.report_source is None else self.report_source

    def notes(self) -> list[str]:
        """Nothing of samples."""
        return []

    def report_feeds(self) -> Iterator[Feed]:
        """The samples of the report."""
        return iter(self.judged)

    def facts(self) -> dict[str, Any]:
        """The ``data`` part of the report."""
        real = self.report_source is not None
        return super().facts() | {
            "calibration_samples": 0, "report_samples": self.judged.count(),
            "held_out": True if real else None, "synthetic": not real,
        }  # fmt: skip
