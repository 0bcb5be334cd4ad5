"""Which samples of a stream are measured again, and how many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Feed = Mapping[str, NDArray[Any]]


def enough(layers: int, macs: float, most: int) -> int:
    """How many samples to measure *layers* of a network of *macs* on: from 4 to *most*.

    Many where runs are short; a number that does not depend on the machine.
    """
    work = 2.0 * max(layers, 1) * max(macs, 1.0)
    return int(np.clip(_WORK / work, min(4, most), most))


#: Multiply-accumulates of all runs together that are taken for some ten seconds.
_WORK = 250e9


#: Bytes of samples that are kept.
_HELD = 1 << 26


class Spread:
    """Keeps some samples of a stream, evenly spread, however long it is.

    At least 4 of them; 64 MB where these take no more.
    """

    def __init__(self, most: int = 32) -> None:
        self.most, self.step = most, 1
        self.kept: list[Feed] = []
        self._size = 0

    def watch(self, feeds: Iterable[Feed]) -> Iterator[Feed]:
        """*feeds*, unchanged; keeps some of them."""
        for i, feed in enumerate(feeds):
            if i % self.step == 0:
                self.kept.append(feed)
                self._size += sum(v.nbytes for v in feed.values())
            if len(self.kept) > 2 * self.most or (self._size > _HELD and len(self.kept) > 8):
                self.kept, self.step = self.kept[::2], 2 * self.step
                self._size //= 2
            yield feed

    def take(self, count: int) -> list[Feed]:
        """*count* of them, or as many as there are."""
        count = min(count, len(self.kept))
        return [self.kept[i * len(self.kept) // count] for i in range(count)]
