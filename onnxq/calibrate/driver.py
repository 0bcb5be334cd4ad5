"""The driver: runs the model on samples and feeds every observer, in a stream.

Memory does not depend on the number of samples: of each sample only what the observers keep of it
survives. Tensors of which only extremes are wanted are reduced inside the run; of the others the
arrays are looked at by the thread that ran the sample, and only the looks are handed on. Samples
run side by side; states take them in their order, so that nothing depends on the number of threads.
Observers that have seen enough are left out from then on, which is asked every 16 samples, while
the next ones are under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from onnxq.calibrate.extremes import Extremes, bounds
from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.probes import Probes
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model
from onnxq.runtime.providers import Provider
from onnxq.runtime.workers import shares
from onnxq.threads import in_order

Feed = Mapping[str, NDArray[Any]]
#: Called after each sample with the number of samples done.
Progress = Callable[[int], None]
Wanted = Mapping[str, tuple[AnyObserver, ...]]
#: Most samples, and about the most bytes, of one tensor that wait to be taken into its state.
MOST_LOOKS, MOST_BYTES = 32, 1 << 17
#: Samples after which observers are asked whether they have enough.
TURN = 16
#: Of one tensor in one sample: what each observer took of it, and how many values were not finite.
Looks = tuple[dict[AnyObserver, Any], int]


def calibrate(
    model: Model | ModelProto,
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
        model: the model, or a message; it is not changed.
        wanted: by name of a floating-point tensor of the main graph (inputs included), its
            observers.
        feeds: samples {input name: array}; shapes may vary. Read once.
        providers: execution providers of ONNX Runtime, in order.
        threads: how many samples run at once; None: as ``runtime.workers.shares`` says.
        first_sample: index of the first sample, where *feeds* is a shard of a larger set.
        progress: told how many samples are done.

    Returns:
        States by tensor and observer. NaN and Inf are left out and counted by tensor.

    Raises:
        UnknownNameError, UnsupportedModelError: a tensor cannot be measured.
        DataError: the model fails on a sample.
    """
    waiting = Waiting(wanted)
    nonfinite: dict[str, int] = {}
    done = 0
    active = waiting.wanting(first_sample)
    if not active:
        return Statistics(waiting.states(), done, nonfinite)
    runs = Runs(model, active, providers, threads)

    def look(feed: Feed) -> dict[str, Looks]:
        return runs.look(feed)

    samples = in_order(look, feeds, runs.side)
    for seen in samples:
        for tensor, observers in active.items():  # a sample under way may show more than these
            looks, left_out = seen.get(tensor, ({}, 0))
            for observer in observers:
                if observer in looks:
                    waiting.add(tensor, observer, first_sample + done, looks[observer])
            if left_out:
                nonfinite[tensor] = nonfinite.get(tensor, 0) + left_out
        done += 1
        if progress is not None:
            progress(done)
        if done % TURN == 0 and (left := waiting.wanting(first_sample + done)) != active:
            if not left:
                break
            active = left
            if not runs.narrow(left):
                runs = Runs(model, left, providers, threads)
    samples.close()
    return Statistics(waiting.states(), done, nonfinite)


class Runs:
    """Runs of the model that show what is *wanted*, and what observers see in them.

    Attributes:
        side: how many samples run at once.
    """

    def __init__(
        self,
        model: Model | ModelProto,
        wanted: Wanted,
        providers: Sequence[Provider | str],
        threads: int | None,
    ) -> None:
        reduced = [t for t, kinds in wanted.items() if all(isinstance(o, Extremes) for o in kinds)]
        whole = [t for t in wanted if t not in set(reduced)]
        self.side, within = shares(providers) if threads is None else (threads, 1)
        self._wanted, self._probes = wanted, Probes(model, whole, reduced, providers, within)
        self._shown = len(wanted)

    def narrow(self, wanted: Wanted) -> bool:
        """Look at nothing but *wanted* from now on; whether that pays: a session takes time too."""
        pays = len(wanted) * 4 >= self._shown * 3
        if pays:
            self._wanted = wanted
        return pays

    def look(self, feed: Feed) -> dict[str, Looks]:
        """Run on one sample; what each observer keeps of its tensor."""
        wanted = self._wanted
        arrays, extremes = self._probes.run(feed)
        seen: dict[str, Looks] = {
            t: (dict.fromkeys(wanted[t], ends), 0) for t, ends in extremes.items() if t in wanted
        }
        for tensor in [*arrays]:
            values = arrays.pop(tensor)
            if tensor in wanted:
                seen[tensor] = look_at(wanted[tensor], values)
        return seen


class Waiting:
    """States of all observers, and looks that they have not taken in: many at once cost less."""

    def __init__(self, wanted: Wanted) -> None:
        self._states = {t: {o: o.init() for o in observers} for t, observers in wanted.items()}
        self._looks: dict[tuple[str, AnyObserver], list[tuple[int, Any]]] = {}
        self._bytes: dict[tuple[str, AnyObserver], int] = {}

    def add(self, tensor: str, observer: AnyObserver, sample: int, found: Any) -> None:
        """Keep what *observer* found in *sample* until it is worth taking in."""
        key = tensor, observer
        looks = self._looks.setdefault(key, [])
        looks.append((sample, found))
        size = self._bytes[key] = self._bytes.get(key, 0) + getattr(found, "nbytes", 0)
        if len(looks) >= MOST_LOOKS or size >= MOST_BYTES:
            self._join(key)

    def wanting(self, samples: int) -> Wanted:
        """By tensor, the observers that do not have enough after *samples* samples."""
        for key in [*self._looks]:
            self._join(key)
        left = {
            t: tuple(o for o, state in states.items() if not _enough(o, state, samples))
            for t, states in self._states.items()
        }
        return {t: observers for t, observers in left.items() if observers}

    def states(self) -> dict[str, dict[AnyObserver, Any]]:
        """All states, with everything taken in."""
        for key in [*self._looks]:
            self._join(key)
        return self._states

    def _join(self, key: tuple[str, AnyObserver]) -> None:
        tensor, observer = key
        looks, state = self._looks.pop(key), self._states[tensor]
        self._bytes.pop(key)
        join = getattr(observer, "join", None)
        if join is not None:
            state[observer] = join(state[observer], looks)
            return
        for sample, values in looks:
            state[observer] = observer.update(state[observer], sample, values)


def _enough(observer: AnyObserver, state: Any, samples: int) -> bool:
    enough = getattr(observer, "enough", None)
    return enough is not None and bool(enough(state, samples))


def look_at(observers: tuple[AnyObserver, ...], values: NDArray[Any]) -> Looks:
    """What *observers* keep of the finite part of *values*; how many were not finite."""
    if not values.size:
        return {}, 0
    with np.errstate(over="ignore"):
        x = np.asarray(values, np.float32)
    by_channel: Any = next((o for o in observers if hasattr(o, "ends")), None)
    ends = None if by_channel is None else by_channel.ends(x)
    low, high = bounds(x) if ends is None else (float(ends[0].min()), float(ends[1].max()))
    left_out, shaped = 0, x
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = x[np.isfinite(x)]
        shaped = np.where(np.isfinite(x), x, np.float32(np.nan))
        left_out, x = x.size - finite.size, finite
        if not x.size:
            return {}, left_out
        low, high = bounds(x)
    looks: dict[AnyObserver, Any] = {}
    if ends is not None and not left_out:
        looks[by_channel] = by_channel.seen(*ends)
    for observer in (o for o in observers if o not in looks):
        seen = shaped if getattr(observer, "shaped", False) else x
        glance = getattr(observer, "look", None)
        looks[observer] = seen if glance is None else glance(seen, low, high)
    return looks, left_out
