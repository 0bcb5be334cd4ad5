"""What observers would measure of points: each point is shown to them as a sample's row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.channel_extremes import ChannelExtremes
from onnxq.calibrate.datafree.points import COUNT, Points, quantiles, shuffled
from onnxq.calibrate.datafree.site import Shape
from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.parted_extremes import PartedExtremes
from onnxq.calibrate.random_data import within
from onnxq.quant.states import HistogramState


def observe(
    observers: Sequence[AnyObserver], points: Points, shape: Shape, *, alike: bool = False
) -> dict[AnyObserver, Any]:
    """States of *observers* of a tensor of *shape* that has *points*.

    Extremes by channel are those of the whole tensor where channels are taken to be *alike*.
    Observers of how values lie together, such as patches, see nothing: moments do not tell.
    """
    return {
        o: o.init()
        if getattr(o, "passing", False)
        else o.update(o.init(), 0, _sample(_seen(points, o, alike), shape, o))
        for o in observers
    }


def _seen(points: Points, observer: AnyObserver, alike: bool) -> Points:
    """What *observer* is shown of *points*."""
    if not (alike and isinstance(observer, ChannelExtremes | PartedExtremes)):
        return points
    ends = np.array([points.min(), points.max()], np.float32)
    return np.broadcast_to(ends.reshape(-1, *[1] * (points.ndim - 1)), (2, *points.shape[1:]))


def _sample(points: Points, shape: Shape, observer: AnyObserver) -> NDArray[np.float32]:
    """*points* along the first axis of a tensor of that rank."""
    if not shape:
        return points.reshape(-1)
    axis = getattr(observer, "axis", 1)  # its channels, and those that histograms weigh
    wide = [*points.shape[1:]]
    if -len(shape) <= axis < len(shape) and axis % len(shape):
        wide[axis] = shape[axis]
    whole = np.broadcast_to(points, (len(points), *wide))
    return np.ascontiguousarray(whole.reshape(-1, *wide[1:]))


def from_histogram(state: HistogramState, rank: int, name: str) -> Points:
    """Points of a tensor *name* of *rank* of which a histogram was measured, all places alike."""
    if not state.counts.size:
        return np.zeros((COUNT, *[1] * rank), np.float32)
    below = np.concatenate([[0], np.cumsum(state.counts)])
    share = (np.arange(COUNT) + 0.5) / COUNT
    share[[0, -1]] = 0.0, 1.0
    found = np.interp(share * below[-1], below, state.edges)
    return shuffled(found.reshape(-1, *[1] * rank), name)


def of_input(ends: tuple[float, float] | None, rank: int, name: str) -> Points:
    """Points of the input *name* of *rank*: standard normal, or filling a range."""
    normal = quantiles().reshape(-1, *[1] * rank)
    return shuffled(normal if ends is None else within(normal, *ends), name)
