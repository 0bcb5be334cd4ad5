"""Variables of a tensor's channels behind a Reshape: axes that are split or joined.

Variables are an array with the rank of the tensor; an axis has the length 1 where channels do not
differ along it. A Reshape keeps the order of values, so both shapes can be cut into the shortest
runs of axes that hold equally many values. A run without channels may do anything; in the others
the variables are spread over the run and cut anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Shape = tuple[int, ...]


def reshaped(ids: Ids, before: Shape, after: Shape, fixed: Sequence[bool]) -> Ids | None:
    """*ids* of a tensor of shape *before* when that becomes *after*; None where they do not last.

    *fixed* says by axis of *after* whether its length is the same for all inputs: in runs with
    channels all have to be.
    """
    spread, lengths = list(ids.shape), []
    for old, new in runs(before, after):
        if max(ids.shape[old], default=1) == 1:
            lengths += [1] * (new.stop - new.start)
        elif not all(fixed[new]):
            return None
        else:
            spread[old] = before[old]
            lengths += after[new]
    return narrowed(np.broadcast_to(ids, spread).reshape(lengths))


def narrowed(ids: Ids) -> Ids:
    """*ids* with the length 1 on axes along which they do not differ."""
    for axis, length in enumerate(ids.shape):
        first = np.take(ids, [0], axis) if length > 1 else ids
        if (ids == first).all():
            ids = first
    return np.ascontiguousarray(ids)


def runs(before: Shape, after: Shape) -> Iterator[tuple[slice, slice]]:
    """The shortest runs of axes of both shapes that hold equally many values, in order.

    Both shapes hold equally many values.
    """
    i = j = 0
    while i < len(before) or j < len(after):
        start = i, j
        left, right = (shape[k] if k < len(shape) else 1 for shape, k in ((before, i), (after, j)))
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        yield slice(start[0], i), slice(start[1], j)
