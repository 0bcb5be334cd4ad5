"""Measurements that take turns, so that what else a machine does meets all models alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

#: Runs one model once, on the data of the round whose number it is given; seconds.
Run = Callable[[int], float]
#: Fewest and most rounds where seconds are given.
LEAST, MOST = 20, 50_000


def order(index: int, count: int) -> list[int]:
    """Which of *count* models comes when in round *index*.

    Two models go A B, B A, A B and so on; of more, none is always first.
    """
    turn = index // 2 % count
    found = [*range(turn, count), *range(turn)]
    return found[::-1] if index % 2 else found


def take_turns(
    runs: Sequence[Run],
    *,
    rounds: int | None = None,
    seconds: float = 10.0,
    warm_up: int = 10,
    clock: Callable[[], float] = perf_counter,
) -> NDArray[np.float64]:
    """Seconds of every run: [rounds, models].

    Args:
        runs: the models.
        rounds: how many; None: until *seconds* have gone by, and at least ``LEAST``.
        seconds: how long, where *rounds* is None.
        warm_up: rounds before, that are not counted.
        clock: what tells the time.
    """
    for index in range(warm_up):
        for i in order(index, len(runs)):
            runs[i](index)
    start = clock()
    found: list[list[float]] = []
    while len(found) < (MOST if rounds is None else rounds):
        if rounds is None and len(found) >= LEAST and clock() - start >= seconds:
            break
        times = [0.0] * len(runs)
        for i in order(len(found), len(runs)):
            times[i] = runs[i](len(found))
        found.append(times)
    return np.array(found, np.float64).reshape(-1, len(runs))
