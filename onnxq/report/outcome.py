"""Outputs of a partly quantized network against the float network's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from onnxq.quant.measures import ErrorSums


@dataclass
class Outcome:
    """The outputs of one setting of the switches against the float network's.

    Attributes:
        sums: by output, over all samples.
        metric: the user's metric, its mean over the samples; None where there is none.
        ideal: the metric of the float network against itself.
        losses: ``loss`` of each sample.
    """

    sums: dict[str, ErrorSums] = field(default_factory=dict)
    metric: float | None = None
    ideal: float | None = None
    losses: list[float] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """What is to become less: how far the metric is from ideal, ``noise`` without a metric."""
        if self.metric is None or self.ideal is None:
            return self.noise
        return abs(self.metric - self.ideal)

    @property
    def noise(self) -> float:
        """Noise relative to the signal, the mean over the outputs; 0 where there is no signal."""
        return noise_of(self.sums)

    @property
    def sqnr_db(self) -> float:
        """``noise`` in dB; inf without noise."""
        return -10.0 * math.log10(self.noise) if self.noise > 0 else math.inf


@dataclass(frozen=True)
class Effect:
    """What a layer does to the outputs.

    Attributes:
        alone: only it is quantized.
        without: all but it are quantized.
    """

    alone: Outcome
    without: Outcome


def noise_of(sums: Mapping[str, ErrorSums]) -> float:
    """The mean over the outputs of noise relative to signal, where there is a signal."""
    found = [s.noise / s.signal for s in sums.values() if s.signal > 0]
    return float(np.mean(found)) if found else 0.0
