"""Samples run side by side: threads that each run whole samples, results in the samples' order.

A small network keeps several cores busy far better with a sample a core than with a few rows of
one operator a core. Each sample is computed by one thread alone, so its values do not depend on
how many cores there are.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from onnxq.runtime.providers import CPU, Provider

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Most samples under way at once: their intermediate tensors are in memory together.
MOST = 4


def shares(providers: Sequence[Provider | str] = ()) -> tuple[int, int | None]:
    """How many samples run at once, and the threads of each; None leaves those to ONNX Runtime.

    As many as there are cores, at most 4; one at a time where more than the CPU computes.
    """
    if any((p if isinstance(p, str) else p[0]) != CPU[0] for p in providers):
        return 1, None
    side = min(MOST, cores())
    return side, cores() // side


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """``map(function, items)`` on *count* threads, at most one result more waiting than threads.

    Items are taken one by one on the caller's thread. The first exception ends it, in the order
    of the items.
    """
    if count < 2:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="onnxq") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
