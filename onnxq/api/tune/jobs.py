"""Candidates measured side by side, each in a process of its own.

What ONNX Runtime and numpy do for one candidate already uses some cores; the work in between does
not. The statistics that the first process measured are read from a file, so that no process
calibrates again.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Self

from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.api.tune.evaluate import Evaluator, Setup
from onnxq.threads import cores

_own: list[Evaluator] = []
"""The evaluator of this process, where it is one of several."""


class Pool:
    """Measures several candidates at once; a context manager.

    Args:
        evaluator: measures where there is one job.
        setup: what other processes open.
        jobs: how many processes.
    """

    def __init__(self, evaluator: Evaluator, setup: Setup, jobs: int) -> None:
        self.evaluator, self.setup = evaluator, setup
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def measure(self, candidates: Sequence[Candidate]) -> Iterator[Measured]:
        """Each of *candidates*, in order, as soon as it is measured."""
        if self.jobs < 2 or len(candidates) < 2:
            yield from map(self.evaluator.measure, candidates)
            return
        if self._pool is None:
            # spawned and not forked: threads of ONNX Runtime do not survive a fork
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.jobs, context, initializer=_open, initargs=(self.setup, self.jobs)
            )
        yield from self._pool.map(_measure, candidates)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _open(setup: Setup, jobs: int) -> None:
    """Begin a process: its share of the cores, and the model and data of *setup*."""
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        number = int(multiprocessing.current_process().name.rpartition("-")[2] or 1) - 1
        share = max(1, len(mine) // jobs)
        start = number % jobs * share % len(mine)
        os.sched_setaffinity(0, mine[start : start + share])
    _own[:] = [Evaluator(setup)]
    _own[0].calibration.read_only = True


def _measure(candidate: Candidate) -> Measured:
    return _own[0].measure(candidate)


def jobs_for(jobs: int | None, setup: Setup) -> tuple[int, str]:
    """How many processes, and why not more, as a phrase ("" where that needs no reason)."""
    wanted = min(4, cores()) if jobs is None else jobs
    if wanted > 1 and not setup.portable:
        return 1, "model, data and metric in memory cannot be opened by other processes: --jobs 1"
    return max(1, wanted), ""
