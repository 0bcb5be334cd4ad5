"""Nested loops over arrays, with as few levels as the strides allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Deepest nest that the kernels have room for.
DEEPEST = 6


@dataclass(frozen=True)
class Loops:
    """Sizes of nested loops, outermost first, and the steps that each makes in two arrays."""

    size: tuple[int, ...]
    a: tuple[int, ...]
    b: tuple[int, ...]

    def c(self) -> str:
        """The initializer of ``struct loops``."""
        parts = (", ".join(map(str, part)) for part in (self.size, self.a, self.b))
        return "{" + str(len(self.size)) + ", {" + "}, {".join(parts) + "}}"


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index to the next, for each axis of a contiguous array."""
    found, step = [], 1
    for size in reversed(shape):
        found.append(step)
        step *= size
    return tuple(reversed(found))


def stretched(shape: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """Strides of an array of *shape*, broadcast to *wanted*: 0 where it repeats."""
    full = (1,) * (len(wanted) - len(shape)) + tuple(shape)
    pairs = zip(full, strides(full), strict=True)
    return tuple(0 if size == 1 else step for size, step in pairs)


def loops(size: Sequence[int], a: Sequence[int], b: Sequence[int]) -> Loops:
    """Loops of *size* with steps *a* and *b*; axes of one element vanish, and axes merge."""
    merged: list[tuple[int, int, int]] = []
    for n, x, y in zip(size, a, b, strict=True):
        if n == 1:
            continue
        if merged and merged[-1][1] == n * x and merged[-1][2] == n * y:
            merged[-1] = (merged[-1][0] * n, x, y)
        else:
            merged.append((n, x, y))
    found = merged or [(1, 0, 0)]
    return Loops(*(tuple(row[i] for row in found) for i in range(3)))
