"""The driver: runs the model on samples and feeds every observer, in a stream.

Memory does not depend on the number of samples: of each sample only what the observers keep of it
survives. Tensors of which only extremes are wanted are reduced inside the run; of the others the
arrays are looked at by the thread that ran the sample, and only the looks are handed on. Samples
run side by side; states take them in their order, so that nothing depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.extremes import Extremes, bounds
from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.probes import Probes
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model
from onnxq.runtime.providers import Provider
from onnxq.runtime.workers import cores, in_order, workers

Feed = Mapping[str, NDArray[Any]]
#: Called after each sample with the number of samples done.
Progress = Callable[[int], None]
Wanted = Mapping[str, tuple[AnyObserver, ...]]
#: Records of extremes that are joined at a time.
BLOCK = 32
#: Of one tensor in one sample: what each observer took of it, and how many values were not finite.
Looks = tuple[dict[AnyObserver, Any], int]


def calibrate(
    model: Model,
    wanted: Wanted,
    feeds: Iterable[Feed],
    *,
    providers: Sequence[Provider | str] = (),
    threads: int | None = None,
    first_sample: int = 0,
    progress: Progress | None = None,
) -> Statistics:
    """Measure the tensors *wanted* of *model* over *feeds*.

    Args:
        model: the model; it is not changed.
        wanted: by name of a floating-point tensor of the main graph (inputs included), its
            observers.
        feeds: samples {input name: array}; shapes may vary. Read once.
        providers: execution providers of ONNX Runtime, in order.
        threads: how many samples run at once; None: as ``runtime.workers`` says.
        first_sample: index of the first sample, where *feeds* is a shard of a larger set.
        progress: told how many samples are done.

    Returns:
        States by tensor and observer. NaN and Inf are left out and counted by tensor.

    Raises:
        UnknownNameError, UnsupportedModelError: a tensor cannot be measured.
        DataError: the model fails on a sample.
    """
    reduced = [t for t, kinds in wanted.items() if all(isinstance(o, Extremes) for o in kinds)]
    whole = [t for t in wanted if t not in set(reduced)]
    side = threads or workers(providers)
    inner = max(1, cores() // side) if side > 1 else threads
    probes = Probes(model, whole, reduced, providers, inner)

    def look(feed: Feed) -> dict[str, Looks]:
        arrays, extremes = probes.run(feed)
        seen: dict[str, Looks] = {
            t: (dict.fromkeys(wanted[t], ends), 0) for t, ends in extremes.items()
        }
        for tensor in [*arrays]:
            seen[tensor] = _look(wanted[tensor], arrays.pop(tensor))
        return seen

    states: dict[str, dict[AnyObserver, Any]] = {
        t: {o: o.init() for o in observers} for t, observers in wanted.items()
    }
    ends: dict[str, list[tuple[int, float, float]]] = {}
    nonfinite: dict[str, int] = {}
    done = 0
    for seen in in_order(look, feeds, side):
        for tensor, (looks, left_out) in seen.items():
            state = states[tensor]
            for observer, found in looks.items():
                if isinstance(observer, Extremes):  # joined in blocks: a record is tiny
                    records = ends.setdefault(tensor, [])
                    records.append((first_sample + done, *found))
                    if len(records) == BLOCK:
                        state[observer] = observer.merge(state[observer], observer.of(records))
                        records.clear()
                else:
                    state[observer] = _take(observer, state[observer], first_sample + done, found)
            if left_out:
                nonfinite[tensor] = nonfinite.get(tensor, 0) + left_out
        done += 1
        if progress is not None:
            progress(done)
    for tensor, records in ends.items():
        if records:
            state, observer = states[tensor], Extremes()
            state[observer] = observer.merge(state[observer], observer.of(records))
    return Statistics(states, done, nonfinite)


def _look(observers: tuple[AnyObserver, ...], values: NDArray[Any]) -> Looks:
    """What *observers* keep of the finite part of *values*; how many were not finite."""
    if not values.size:
        return {}, 0
    with np.errstate(over="ignore"):
        x = np.asarray(values, np.float32)
    low, high = bounds(x)
    left_out, shaped = 0, x
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = x[np.isfinite(x)]
        shaped = np.where(np.isfinite(x), x, np.float32(np.nan))
        left_out, x = x.size - finite.size, finite
        if not x.size:
            return {}, left_out
        low, high = bounds(x)
    looks: dict[AnyObserver, Any] = {}
    for observer in observers:
        seen = shaped if getattr(observer, "shaped", False) else x
        glance = getattr(observer, "look", None)
        looks[observer] = seen if glance is None else glance(seen, low, high)
    return looks, left_out


def _take(observer: AnyObserver, state: Any, sample: int, found: Any) -> Any:
    """*state* with what ``_look`` found; an observer without ``look`` gets the values."""
    take = getattr(observer, "take", observer.update)
    return take(state, sample, found)
