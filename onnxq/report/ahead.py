"""Runs of the models as they are, ahead of the graph of twins.

That graph takes as long to put together and to load as several samples take to run. The quantized
model and the user's need nothing of it: on another thread they run meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.report.cumulative import Deployed
from onnxq.runtime.session import Session

Feed = Mapping[str, NDArray[Any]]

#: How many samples are run ahead at most, and how many bytes of inputs, or of outputs, may wait.
SAMPLES, BYTES = 16, 1 << 26


@dataclass(frozen=True)
class Run:
    """One sample: outputs and codes of the quantized model, and outputs of the user's, if any."""

    feed: Feed
    other: Mapping[str, Any]
    user: Mapping[str, Any] | None


@dataclass(frozen=True)
class AsTheyAre:
    """The quantized model, and the user's where outputs are compared with its own."""

    deployed: Deployed
    user: Session | None

    def run(self, feed: Feed) -> Run:
        """Both on one sample; several threads may call it."""
        other = self.deployed.run(feed)
        return Run(feed, other, None if self.user is None else self.user.run(feed))

    def ahead(self, feeds: Iterable[Feed], enough: Event) -> deque[Run]:
        """Both on the first of *feeds*, until it is *enough* or ``BYTES`` wait."""
        found: deque[Run] = deque()
        held = 0
        for feed in feeds:
            if enough.is_set() or held > BYTES:
                break
            run = self.run(feed)
            found.append(run)
            held += _bytes(run.other) + _bytes(run.user or {})
        return found


def some(feeds: Iterator[Feed], count: int) -> list[Feed]:
    """The first *count* of *feeds*, or fewer where they are large."""
    taken: list[Feed] = []
    held = 0
    while len(taken) < count and held <= BYTES and (feed := next(feeds, None)) is not None:
        taken.append(feed)
        held += _bytes(feed)
    return taken


def _bytes(arrays: Mapping[str, Any]) -> int:
    return sum(a.nbytes for a in arrays.values() if isinstance(a, np.ndarray))
