"""Activation functions, as far as ranges are chosen by the error behind them; float32 in and out.

    silu(x) = x · σ(x)        hardsigmoid(x) = clip(x/6 + 1/2, 0, 1)
    hardswish(x) = x · hardsigmoid(x)        gelu(x) = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))

Sources: Ramachandran et al. 2017 (SiLU); Howard et al. 2019 (hard forms); Hendrycks and Gimpel
2016, section 2 (the tanh form of GELU, within 1e-3 of the exact one).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), by tanh, which does not overflow."""
    half = np.float32(0.5)
    return np.asarray(half + half * np.tanh(half * x), np.float32)


def silu(x: Array) -> Array:
    """Also called swish."""
    return x * sigmoid(x)


def hardsigmoid(x: Array) -> Array:
    """The piecewise linear sigmoid with the constants of HardSwish."""
    line = x * np.float32(1 / 6) + np.float32(0.5)
    return np.asarray(np.clip(line, np.float32(0), np.float32(1)), np.float32)


def hardswish(x: Array) -> Array:
    """The piecewise form of SiLU."""
    return x * hardsigmoid(x)


def gelu(x: Array) -> Array:
    """The tanh form."""
    inner = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
    return np.asarray(np.float32(0.5) * x * (np.float32(1) + np.tanh(inner)), np.float32)


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


#: By the name that ``QuantSpec.through`` uses.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    f.__name__: f for f in (sigmoid, silu, hardsigmoid, hardswish, gelu, tanh)
}
