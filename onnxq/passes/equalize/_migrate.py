"""How far range is moved from activations into the weights that read them, found by trying.

With R_c the largest |x_c| and W_c the largest weight that reads channel c, what is tried is

    a_c = W_c^(1−α) / R_c^α        (SmoothQuant, equation 4)
    a_c = 1 / R_c^α                (AWQ, section 3.2, whose weights are rounded alone)

for x'_c = a_c x_c and w'_c = w_c / a_c, and α from 0 to 1. What is best is what leaves the least
noise behind the layers that read the channels, their inputs and weights rounded as planned.
Sources: Xiao et al. 2022, "SmoothQuant"; Lin et al. 2023, "AWQ".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onnxq.passes.equalize._blocks import Block
from onnxq.passes.equalize._ends import Array
from onnxq.passes.equalize._guard import Layers

STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
FINER = 0.1
"""Half the distance between strengths: tried on both sides of the best."""


def migrate(block: Block, layers: Layers, a: Array, cap: float) -> tuple[Array, float]:
    """Factors by root of *block*, float64 [roots], and the α that they come from; 0 for none.

    *a* holds the factors of all variables now. Factors and their reciprocals are at most *cap*
    and have half precision, in which they are noted in the model.
    """
    reach, weights = _sizes(block, layers)
    place = block.where(block.members)

    def noise(factors: Array) -> float:
        whole = a.copy()
        whole[block.members] = factors[place]
        return layers.noise(block, whole)

    return search(reach, weights, block.frozen, noise, cap)


def search(
    reach: Array, weights: Array, frozen: NDArray[np.bool_],
    noise: Callable[[Array], float], cap: float,
) -> tuple[Array, float]:  # fmt: skip
    """The factors with the least *noise*, float64 [n], and the α that they come from; 0 for none.

    *reach* holds R and *weights* W, [n] each; factors of *frozen* stay 1.
    """
    alive = (reach > 0) & (weights > 0) & ~frozen
    one = np.ones(reach.size)
    if not alive.any():
        return one, 0.0

    def trial(alpha: float, share: float) -> Array:
        logs = share * np.log(weights[alive]) - alpha * np.log(reach[alive])
        if not frozen.any():
            logs = logs - logs.mean()
        found = one.copy()
        found[alive] = np.exp(np.clip(logs, -np.log(cap), np.log(cap)))
        return np.asarray(found.astype(np.float16), np.float64)

    best, least, strength, kind = one, noise(one), 0.0, True
    for alpha in STRENGTHS:
        for migrates in (True, False) if alpha < 1 else (True,):
            factors = trial(alpha, (1 - alpha) * migrates)
            if (made := noise(factors)) < least:
                best, least, strength, kind = factors, made, alpha, migrates
    for alpha in (strength - FINER, strength + FINER):
        if strength and 0 < alpha <= 1:
            factors = trial(alpha, (1 - alpha) * kind)
            if (made := noise(factors)) < least:
                best, least, strength = factors, made, alpha
    return best, strength


def _sizes(block: Block, layers: Layers) -> tuple[Array, Array]:
    """By root, the largest value that is read and the largest weight that reads it."""
    reach, weights = np.zeros((2, block.roots.size))
    found = {id(layer.node): layer for layer in layers.of(block)}
    for reader in block.readers:
        layer = found.get(id(reader.node))
        if layer is not None:
            mine = block.has(reader.ids)
            at = block.where(reader.ids[mine])
            np.maximum.at(reach, at, layer.largest()[mine])
            np.maximum.at(weights, at, reader.magnitude()[mine])
    return reach, weights
