"""Factors that even out the ranges of channels; numpy only.

A tensor y with channel ranges R_c has one step, max R / 255, and the layer that reads channel c
with weights of at most w_c has one step for each output, about max w / 127. With y'_c = a_c · y_c
and w'_c = w_c / a_c the noise that rounding both leaves behind the layer is, up to a constant,

    N(a) = (max a_c R_c / 255)² · Σ (w_c / a_c)²  +  (max w_c / a_c / 127)² · Σ (a_c R_c)²

and its second term is absent where readers are depthwise: each of their weights has its own step.
What evens both maxima out is a_c ∝ √(w_c / R_c); what evens out the first alone is a_c ∝ 1 / R_c.
Sources: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", section 4.1; Xiao et al. 2022, "SmoothQuant", section 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 255
"""The reciprocal of a factor is one of 1/255 … 255/255, which a uint8 constant holds exactly."""


DEAD = 5.0
"""SiLU(-5) is -0.03: what lies further below is one value to the layers behind."""


def factors(ranges: Array, weights: Array | None, cap: float) -> Array:
    """Factors a [channels], 1 ≤ a ≤ *cap*, with 255 / a an integer.

    Args:
        ranges: R [channels]; channels that are always 0 keep the factor 1.
        weights: w [channels] of the readers that are not depthwise; None where there are none.
        cap: the largest factor, at most 255.
    """
    alive = ranges > 0 if weights is None else (ranges > 0) & (weights > 0)
    ratio = np.ones_like(ranges)
    if weights is None:
        ratio[alive] = ranges[alive]
    else:
        ratio[alive] = np.sqrt(ranges[alive] / weights[alive])
    top = ratio[alive].max(initial=0.0)
    wanted = np.where(alive, np.minimum(top / ratio, cap), 1.0)
    return np.asarray(STEPS / np.clip(np.rint(STEPS / wanted), np.ceil(STEPS / cap), STEPS))


def live(low: NDArray[np.float32], high: NDArray[np.float32]) -> Array:
    """Range of each channel in front of a SiLU, as far as the result depends on it: [channels]."""
    below = np.minimum(np.maximum(-np.nan_to_num(low), 0.0), DEAD)
    return np.maximum(np.maximum(np.nan_to_num(high), 0.0), below).astype(np.float64)


def spread(ranges: Array) -> float:
    """Largest over smallest of *ranges* that are not 0; 1 where there are none."""
    alive = ranges[ranges > 0]
    return float(alive.max() / alive.min()) if alive.size else 1.0


def noise(ranges: Array, weights: Array, a: Array, depthwise: bool) -> float:
    """N(a) of the module's docstring, up to a constant."""
    scaled, taken = ranges * a, weights / a
    activation = (scaled.max(initial=0.0) / 255) ** 2 * float(np.square(taken).sum())
    if depthwise:
        return float(activation)
    weight = (taken.max(initial=0.0) / 127) ** 2 * float(np.square(scaled).sum())
    return float(activation + weight)
