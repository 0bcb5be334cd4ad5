"""Were the samples enough? Read off the extremes that were measured of each sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.statistics import Statistics
from onnxq.quant.states import ExtremesState

#: A range that grew by less than this share of itself in the last quarter has settled.
SETTLED = 0.05
#: A sample stretches a range alone where the range without it is smaller by this share.
STRETCHED = 0.25


@dataclass(frozen=True)
class Sufficiency:
    """What the samples' extremes say.

    Attributes:
        samples: how many samples were seen.
        growth: by tensor, the share of the final range by which the last quarter of the samples
            widened it (0: not at all).
        outliers: by sample index, the tensors whose range shrinks by more than a quarter without
            that sample.
    """

    samples: int
    growth: dict[str, float]
    outliers: dict[int, tuple[str, ...]]

    @property
    def moving(self) -> list[str]:
        """Tensors whose range still moved by more than 5 % in the last quarter, worst first."""
        found = [t for t, g in self.growth.items() if g > SETTLED]
        return sorted(found, key=lambda t: -self.growth[t])

    @property
    def enough(self) -> bool:
        """Whether at most one tensor in twenty still moves."""
        return self.samples >= 4 and len(self.moving) * 20 <= len(self.growth)

    def __str__(self) -> str:
        """One line for people."""
        if self.samples < 4:
            return f"{self.samples} samples are too few to tell whether they are enough"
        n = len(self.moving)
        text = f"{self.samples} samples were enough: ranges have settled"
        if n:
            worst = self.moving[0]
            text = f"ranges of {n} of {len(self.growth)} tensors"
            text += (
                f" still moved by over {SETTLED:.0%} in the last quarter of {self.samples} samples"
            )
            text += f" (most '{worst}', {self.growth[worst]:.0%})"
            text += "; that is little" if self.enough else ": more samples would help"
        if self.outliers:
            most = sorted(self.outliers, key=lambda s: (-len(self.outliers[s]), s))[:3]
            named = ", ".join(f"sample {s} ({_tensors(self.outliers[s])})" for s in most)
            text += f"; ranges are stretched by single samples: {named}"
        return text


def _tensors(names: tuple[str, ...]) -> str:
    return f"'{names[0]}'" if len(names) == 1 else f"{len(names)} tensors"


def sufficiency(statistics: Statistics) -> Sufficiency:
    """Judge *statistics* by the tensors of which extremes were measured."""
    growth: dict[str, float] = {}
    stretched: list[tuple[int, str]] = []
    observer = Extremes()
    for tensor, states in statistics.states.items():
        state = states.get(observer)
        if state is None or not state.samples.size:
            continue
        growth[tensor] = _growth(state, statistics.samples)
        for sample in _stretching(state):
            stretched.append((sample, tensor))
    by_sample: dict[int, list[str]] = {}
    for sample, tensor in sorted(stretched):
        by_sample.setdefault(sample, []).append(tensor)
    return Sufficiency(
        statistics.samples, growth, {s: tuple(tensors) for s, tensors in by_sample.items()}
    )


def _growth(state: ExtremesState, samples: int) -> float:
    """Share of the final range that the last quarter of *samples* added."""
    early = state.samples < state.samples[0] + samples - samples // 4
    low, high = state.bounds
    if not early.any() or high <= low:
        return 0.0
    before = float(state.high[early].max()) - float(state.low[early].min())
    return 1.0 - before / (high - low)


def _stretching(state: ExtremesState) -> list[int]:
    """Samples without which the range would be smaller by more than ``STRETCHED``."""
    low, high = state.bounds
    if state.samples.size < 4 or high <= low:
        return []
    lowest, highest = int(np.argmin(state.low)), int(np.argmax(state.high))
    found = []
    for i in sorted({lowest, highest}):
        rest = np.arange(state.samples.size) != i
        without = float(state.high[rest].max()) - float(state.low[rest].min())
        if without < (1.0 - STRETCHED) * (high - low):
            found.append(int(state.samples[i]))
    return found
