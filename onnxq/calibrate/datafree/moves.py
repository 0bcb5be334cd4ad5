"""Operators that move values: which distribution each place has afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.datafree.points import Points, merged, thinned
from onnxq.calibrate.datafree.site import Site, as_array, extents

MOVES = ("Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Tile",
         "Expand", "DepthToSpace", "SpaceToDepth")  # fmt: skip


def move(site: Site) -> dict[str, Points]:
    """Number the distributions, let the node move the numbers, and look where they are."""
    source = str(site.node.input[0])
    x = site.points.get(source)
    if x is None or any(n and n not in site.constants for n in site.node.input[1:]):
        return {}
    x = thinned(x, site.name)
    shape = extents(x)
    count = int(np.prod(shape))
    numbers = np.arange(count, dtype=np.float32).reshape(shape)
    numbers = np.broadcast_to(numbers, site.shapes[source])
    flat = x.reshape(len(x), -1)
    found = {}
    for name, where in site.run({source: as_array(numbers)}).items():
        place = _shortened(np.asarray(where).astype(np.int64))
        found[name] = thinned(flat[:, place.reshape(-1)].reshape(len(x), *place.shape), name)
    return found


def _shortened(numbers: NDArray[Any]) -> NDArray[Any]:
    """*numbers* with size 1 along each axis on which they do not depend."""
    for axis in range(numbers.ndim):
        first = numbers.take([0], axis=axis) if numbers.shape[axis] else numbers
        if (numbers == first).all():
            numbers = first
    return numbers


def join(site: Site) -> dict[str, Points]:
    """Points of all inputs side by side, constants as points that are all alike."""
    if not site.complete:
        return {}
    rank = len(site.shape)
    axis = int(site.attributes["axis"]) % rank
    parts = []
    for name in site.node.input:
        if name in site.constants:
            value = np.asarray(site.constants[name], np.float32)
            parts.append(np.broadcast_to(value, (1, *value.shape)))
        else:
            parts.append(site.points[name])
    wide = [max(p.shape[i + 1] for p in parts) for i in range(rank)]
    points = max(len(p) for p in parts)
    if np.prod(wide) * len(parts) > 1 << 20:
        parts = [merged(p, tuple(i for i in range(rank) if i != axis), site.name) for p in parts]
        wide = [1] * rank
    joined = []
    for name, part in zip(site.node.input, parts, strict=True):
        wide[axis] = (
            site.constants[name].shape[axis]
            if name in site.constants
            else (site.shapes[name][axis])
        )
        joined.append(np.broadcast_to(part, (points, *wide)))
    found = np.concatenate(joined, axis=axis + 1)
    return {site.name: thinned(found, site.name)}
