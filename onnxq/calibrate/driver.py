"""The driver: runs the model on samples and feeds every observer, in a stream.

Memory does not depend on the number of samples: of each sample only what the observers keep of it
survives. Tensors of which only extremes are wanted are reduced inside the run; of the others the
arrays are handed out, one sample at a time.
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

Feed = Mapping[str, NDArray[Any]]
#: Called after each sample with the number of samples done.
Progress = Callable[[int], None]
Wanted = Mapping[str, tuple[AnyObserver, ...]]


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
        threads: threads within an operator; None leaves it to ONNX Runtime.
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
    probes = Probes(model, whole, reduced, providers, threads)
    states: dict[str, dict[AnyObserver, Any]] = {
        t: {o: o.init() for o in observers} for t, observers in wanted.items()
    }
    nonfinite: dict[str, int] = {}
    done = 0
    for feed in feeds:
        sample = first_sample + done
        arrays, extremes = probes.run(feed)
        for tensor, (low, high) in extremes.items():
            found = states[tensor]
            for observer in wanted[tensor]:
                found[observer] = observer.update_bounded(found[observer], sample, None, low, high)  # type: ignore[attr-defined]
        for tensor in [*arrays]:
            left_out = _update(states[tensor], sample, arrays.pop(tensor))
            if left_out:
                nonfinite[tensor] = nonfinite.get(tensor, 0) + left_out
        done += 1
        if progress is not None:
            progress(done)
    return Statistics(states, done, nonfinite)


def _update(states: dict[AnyObserver, Any], sample: int, values: NDArray[Any]) -> int:
    """Update all observers of one tensor with the finite part of *values*; how many were not."""
    if not values.size:
        return 0
    with np.errstate(over="ignore"):
        x = np.asarray(values, np.float32)
    low, high = bounds(x)
    left_out, shaped = 0, x
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = x[np.isfinite(x)]
        shaped = np.where(np.isfinite(x), x, np.float32(np.nan))
        left_out, x = x.size - finite.size, finite
        if not x.size:
            return left_out
        low, high = bounds(x)
    for observer, state in states.items():
        bounded = getattr(observer, "update_bounded", None)
        if bounded is not None:  # spares a second look for the extremes
            states[observer] = bounded(state, sample, x, low, high)
        else:
            whole = getattr(observer, "shaped", False)
            states[observer] = observer.update(state, sample, shaped if whole else x)
    return left_out
