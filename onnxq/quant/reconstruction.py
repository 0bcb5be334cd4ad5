"""Weights that make a layer's output come out right on inputs that are quantized already.

A layer of the float model computes f(W x + b), f the clamp behind it. The quantized model hands it
x̂ instead of x, off by what was rounded before. Two ways to weights Ŵ on the grid s · {codes}:

``compensated`` moves W to where the output is right on average before anything is rounded,

    W' = W + W C (H + μ I)⁻¹,      H = cov(x̂),  C = cov(x − x̂, x̂),

the least squares of W x against W' x̂, held to W by the ridge μ. Source: Li et al. 2025, "GPTAQ",
https://arxiv.org/abs/2504.02692, section 4; Hubara et al. 2021, "AdaQuant".

``reconstruct`` learns for each weight which of two codes it takes, q + h(v) with h(v) ∈ [0, 1] a
stretched sigmoid, clipped. Adam lowers

    Σ_m E[(f(ŷ_m) − f(y_m))²] / e_m  +  λ/K · Σ_mk (1 − |2 h(v_mk) − 1|^β)

with e_m the error of row m at the start, so that all rows count alike. The second term drives each
h to 0 or 1 as β falls. Gradients are written out: ∂/∂ŷ = 2 (f(ŷ) − f(y)) · 1[low < ŷ < high] / e,
∂/∂h = s · (∂/∂ŷ)ᵀ x̂. Source: Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training
Quantization", https://arxiv.org/abs/2004.10568, equations 21 to 25.

Arrays are batches over groups, as in ``quant/second_order.py``: x [G, N, K], W [G, M, K].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.second_order import Codes

Array = NDArray[np.float32]
_ZETA, _GAMMA = 1.1, -0.1
"""How far the sigmoid is stretched beyond [0, 1] before it is clipped."""
_START = 0.8
"""h of the code that a weight has at the start."""
_BETA = (20.0, 2.0)
_WARM = 0.2
"""The share of steps before values are driven to 0 or 1."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a layer has to reproduce.

    Attributes:
        x: inputs of the quantized layer, [G, N, K].
        wanted: outputs of the float layer behind its clamp, [G, N, M].
        counts: how much each patch counts, [N], 1 on average.
        bias: by output channel, [G, 1, M].
        low, high: the clamp; infinite where there is none.
    """

    x: Array
    wanted: Array
    counts: Array
    bias: Array
    low: float = -np.inf
    high: float = np.inf

    def drifted(self, weights: Array) -> Task:
        """The task with the mean error of *weights* [G, M, K] taken off the bias.

        It is the bias's to correct; errors that the clamp hides do not count.
        """
        y = self.x @ weights.transpose(0, 2, 1) + self.bias
        part = self.counts[:, None] * ((y > self.low) & (y < self.high))
        off = (part * (y - self.wanted)).sum(axis=1, keepdims=True)
        return replace(self, bias=self.bias - off / np.maximum(part.sum(axis=1, keepdims=True), 1))

    def errors(self, weights: Array) -> NDArray[np.float64]:
        """Mean square of the error of each row of *weights* [G, M, K]: float64 [G, M]."""
        y = self.x @ weights.transpose(0, 2, 1) + self.bias
        off = np.square(np.clip(y, self.low, self.high) - self.wanted) * self.counts[:, None]
        return np.asarray(off.mean(axis=1, dtype=np.float64))


def compensated(w: Array, h: Array, cross: Array, ridge: float) -> Array:
    """W' [G, M, K] for *h* = cov(x̂) and *cross* = cov(x − x̂, x̂), both [G, K, K].

    *ridge* is μ as a share of the mean variance.
    """
    k = h.shape[-1]
    mean = np.einsum("gkk->g", h)[:, None, None] / k
    held = h + np.maximum(ridge * mean, 1e-30) * np.eye(k, dtype=np.float32)
    step = np.linalg.solve(held.astype(np.float64), (w @ cross).transpose(0, 2, 1))
    return np.asarray(w + step.transpose(0, 2, 1), np.float32)


def reconstruct(
    codes: Array,
    w: Array,
    scale: Array,
    allowed: Codes,
    task: Task,
    *,
    steps: int,
    batch: int = 256,
    rate: float = 0.1,
    sharpness: float = 100.0,
    seed: int = 0,
) -> Array:
    """Whole numbers [G, M, K]: of each weight its code, or the next one towards its real value.

    Args:
        codes: where it starts from, within *allowed*.
        w: the real weights divided by their scale.
        scale: [G, M, 1].
        allowed: which codes may be used; the limit on pairs is not looked at.
        task: inputs and outputs.
        steps: steps of Adam.
        batch: patches in each step.
        rate: step size of Adam.
        sharpness: λ.
        seed: of the choice of patches.
    """
    low, high = allowed.bounds(w.shape)
    above = codes > w
    base = codes - above
    part = np.where(above, _START, 1 - _START)
    v = -np.log((_ZETA - _GAMMA) / (part - _GAMMA) - 1).astype(np.float32)
    least = task.errors(codes * scale)
    weight = (1 / np.maximum(least, 1e-9 * least.max() + 1e-30)).astype(np.float32)[:, None, :]
    unit = 1 / np.sqrt(weight)
    random, adam, adam_bias = np.random.default_rng(seed), _Adam(rate), _Adam(rate)
    drift = np.zeros_like(unit)
    for step in range(steps):
        chosen = random.integers(0, task.x.shape[1], batch)
        x, wanted = task.x[:, chosen], task.wanted[:, chosen]
        sigmoid = 1 / (1 + np.exp(-v))
        stretched = sigmoid * np.float32(_ZETA - _GAMMA) + np.float32(_GAMMA)
        h = np.clip(stretched, 0, 1)
        rounded = np.clip(base + h, low, high) * scale
        y = x @ rounded.transpose(0, 2, 1) + (task.bias + drift * unit)
        slope = np.clip(y, task.low, task.high) - wanted
        slope *= (y > task.low) & (y < task.high)
        slope *= weight * task.counts[chosen, None] * np.float32(2 / batch)
        toward = slope.transpose(0, 2, 1) @ x * scale
        done = (step / steps - _WARM) / (1 - _WARM)
        if done > 0:
            beta = np.float32(_BETA[1] + (_BETA[0] - _BETA[1]) * (1 + np.cos(done * np.pi)) / 2)
            middle = 2 * h - 1
            pull = np.abs(middle) ** (beta - 1) * np.sign(middle)
            toward -= np.float32(2 * sharpness / w.shape[2]) * beta * pull
        inside = (stretched > 0) & (stretched < 1)
        v -= adam.step(toward * sigmoid * (1 - sigmoid) * inside * np.float32(_ZETA - _GAMMA))
        drift -= adam_bias.step(slope.sum(axis=1, keepdims=True) * unit)
    found = 1 / (1 + np.exp(-v)) * (_ZETA - _GAMMA) + _GAMMA >= 0.5
    return np.asarray(np.clip(base + found, low, high), np.float32)


class _Adam:
    """Kingma and Ba 2015, "Adam", algorithm 1, with its defaults."""

    def __init__(self, rate: float) -> None:
        self._rate, self._steps = rate, 0
        self._mean: Array | np.float32 = np.float32(0)
        self._square: Array | np.float32 = np.float32(0)

    def step(self, slope: Array) -> Array:
        """What to take off for the gradient *slope*."""
        self._steps += 1
        self._mean = self._mean + np.float32(0.1) * (slope - self._mean)
        self._square = self._square + np.float32(0.001) * (slope * slope - self._square)
        mean = self._mean / np.float32(1 - 0.9**self._steps)
        size = np.sqrt(self._square / np.float32(1 - 0.999**self._steps))
        return np.asarray(np.float32(self._rate) * mean / (size + np.float32(1e-12)), np.float32)
