"""Latency of candidates, measured on this machine beside the float model.

The search asks only for those that the prediction (``times.py``) expects at the limit.
"""

from __future__ import annotations

from itertools import islice

from onnxq.api.tune.candidate import Candidate
from onnxq.api.tune.evaluate import Evaluator
from onnxq.report.bench.feeds import BATCHES
from onnxq.report.bench.run import Effort, bench

#: Seconds for a candidate and the float model.
SECONDS = 2.0


class Stopwatch:
    """Measures latency, taking turns with the float model."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.feeds = list(islice(evaluator.calibration.report_feeds(), BATCHES))

    def time(self, candidate: Candidate) -> tuple[float, float]:
        """Milliseconds of a run of *candidate*, and how many times as fast as float it is."""
        result = self.evaluator.trial(candidate)
        models = {"float": self.evaluator.model, "candidate": result.model}
        found = bench(
            models, self.feeds, threads=self.evaluator.setup.threads,
            providers=self.evaluator.providers,
            effort=Effort(seconds=SECONDS, profile_runs=0),
        )  # fmt: skip
        entry = found["models"][1]
        return float(entry["p50_ms"]), float(entry["speedup"]["median"])
