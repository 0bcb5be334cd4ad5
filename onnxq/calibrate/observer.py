"""What is measured of a tensor while the model runs: a monoid over samples.

An observer is a value (frozen, hashable): equal observers of one tensor are one measurement. Its
state is built by ``update`` for each sample and joined by ``merge``; ``merge`` is associative and
commutative and ``init()`` is its neutral element, so that calibration may be split over samples,
threads, processes and machines and give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

S = TypeVar("S")


class Observer(Protocol[S]):
    """Pure functions over an explicit state *S*."""

    @property
    def key(self) -> str:
        """Name of the measurement, such as ``"extremes"``; part of the statistics file."""
        ...

    def init(self) -> S:
        """The state of nothing seen."""
        ...

    def update(self, state: S, sample: int, x: NDArray[Any]) -> S:
        """*state* with the values *x* (any shape, finite, float32) of sample number *sample*."""
        ...

    def merge(self, a: S, b: S) -> S:
        """The state of both."""
        ...

    def to_arrays(self, state: S) -> dict[str, NDArray[Any]]:
        """*state* as named arrays, to be saved."""
        ...

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> S:
        """Inverse of ``to_arrays``."""
        ...


AnyObserver = Observer[Any]


def gathered(wanted: Iterable[tuple[str, AnyObserver]]) -> dict[str, tuple[AnyObserver, ...]]:
    """By tensor, its observers, each once, in the order of *wanted*."""
    found: dict[str, dict[AnyObserver, None]] = {}
    for tensor, observer in wanted:
        found.setdefault(tensor, {})[observer] = None
    return {tensor: tuple(observers) for tensor, observers in found.items()}
