"""What many runs say: percentiles, and the ratio of two models with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, sqrt

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as another model.

    Attributes:
        median: the median of the ratios of paired runs.
        low, high: the 95 % confidence interval of that median.
    """

    median: float
    low: float
    high: float


def latency(times: NDArray[np.float64], batch: int) -> dict[str, float]:
    """Percentiles of *times* [rounds] in milliseconds, and samples a second."""
    p50, p95, p99 = np.percentile(times, [50, 95, 99]) * 1e3
    return {
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "mean_ms": float(times.mean() * 1e3),
        "throughput_per_s": float(batch / times.mean()),
    }


def speedup(reference: NDArray[np.float64], times: NDArray[np.float64]) -> Ratio:
    """How many times as fast *times* are as *reference*, both [rounds] and paired by round.

    The interval is that of order statistics, which asks nothing of the distribution: of n sorted
    ratios, those at n/2 ± 1.96 · √n / 2 (Conover, Practical Nonparametric Statistics, 3.2).
    """
    ratios = np.sort(reference / times)
    n = ratios.size
    half = 1.96 * sqrt(n) / 2
    low = max(floor(n / 2 - half), 0)
    high = min(ceil(n / 2 + half), n - 1)
    return Ratio(float(np.median(ratios)), float(ratios[low]), float(ratios[high]))
