"""Factors where a weight has one scale for all channels; numpy only.

A layer y_o = Σ_c w_oc x_c whose input and output channels are scaled by a_c and a_o has the weights
a_o w_oc / a_c, one step for all of them and one for its input. In the units of before, and weighed
by what errors of each output channel do behind it, g_o, rounding leaves

    N = Σ_o g_o · [ s_w² / a_o² · K · Σ_c a_c² E[x_c²]  +  s_x² · Σ_c w_oc² / a_c² ]
    s_w = max_oc |w_oc| a_o / a_c / 127        s_x = max_c a_c R_c / 127

with K places in the window. The sum of N over its signal Σ_o g_o Σ_c w_oc² E[x_c²], over all
layers, is made small block by block, from a ∝ R^-α · r^-β · v^γ with R the range of a channel, r
the largest weight that writes it and v the largest that reads it; the exponents are tried.
α = 0, β = γ = ½ is the rule of the paper.
Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from onnxq.passes.equalize._balance import PEAK, Array, Ids, rounded_down
from onnxq.quant.affine import SMALLEST_SCALE

ALPHAS, BETAS, GAMMAS = (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.25, 0.5, 0.75), (0.0, 0.25, 0.5, 0.75)
_ANCHORS = (0.0, 10.0, 50.0)
"""Percentiles of the channels that the factor 1 is given to."""
SWEEPS = 3
"""How often each block is visited: its neighbours' factors decide on its own."""
_CLIPPED = 0.15
"""Octaves by which a power-of-two range may end below the largest value."""
_FRACTIONS = 8


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer with a stored weight; variables are numbered, and the last number stands for 1.

    Attributes:
        rows: |w|, largest over the kernel's window, float64 [outputs, channels of its group].
        power: Σ w² over the window, likewise.
        reads: the variable of each column, int64 [outputs, channels].
        writes: the variable of each output, int64 [outputs].
        reach: largest |x| that each column reads, float64 [outputs, channels].
        gains: g, float64 [outputs].
        taps: K.
    """

    rows: Array
    power: Array
    reads: Ids
    writes: Ids
    reach: Array
    gains: Array
    taps: int

    @property
    def signal(self) -> float:
        """Σ g Σ w² E[x²]."""
        return float((self.gains[:, None] * self.power * np.square(self.reach / PEAK)).sum())


@dataclass(frozen=True, eq=False)
class Near:
    """What one block sees of a layer: N / signal as a function of the block's factors alone.

    Sums and largest values over what else the layer reads or writes are numbers. Largest weight
    that reads or writes each root, Σ of what multiplies b² or 1 / b²; all float64 [roots].
    """

    reads_row: Array
    reads_energy: Array
    reads_power: Array
    reads_reach: Array
    writes_row: Array
    writes_energy: Array
    other: tuple[float, float, float, float]
    taps: int
    signal: float

    @classmethod
    def of(cls, layer: Layer, a: Array, place: Ids, count: int) -> Near:
        """*layer* under the factors *a*; *place* [variables + 1] is the root of a member, or -1.

        A layer both reads and writes a block only where a layer is added to its own input: the
        factors that it writes are then taken as they are now.
        """
        read, written = a[layer.reads], a[layer.writes]
        inside, outside = place[layer.reads], place[layer.writes]
        mine = inside >= 0
        rows = layer.rows * written[:, None]
        spread = (layer.gains / written**2)[:, None]
        energy = np.square(layer.reach / PEAK)
        power = layer.gains[:, None] * layer.power

        def most(values: Array) -> Array:
            found = np.zeros(count)
            np.maximum.at(found, inside[mine], values[mine])
            return found

        def total(values: Array) -> Array:
            return np.bincount(inside[mine], values[mine], count).astype(np.float64)

        far = ~mine
        other = (
            float((rows / read)[far].max(initial=0.0)),
            float((spread * energy * read**2)[far].sum()),
            float((layer.reach * read)[far].max(initial=0.0)),
            float((power / read**2)[far].sum()),
        )
        writes_row, writes_energy = np.zeros(count), np.zeros(count)
        if not mine.any() and (outside >= 0).any():
            np.maximum.at(writes_row, outside, (layer.rows / read).max(axis=1))
            own = layer.gains * (energy * read**2).sum(axis=1)
            writes_energy = np.bincount(outside, own, count).astype(np.float64)
            other = (0.0, 0.0, *other[2:])
        return cls(
            most(rows), total(spread * energy), total(power), most(layer.reach),
            writes_row, writes_energy, other, layer.taps, layer.signal,
        )  # fmt: skip

    def noise(self, b: Array, binary: bool = False) -> Array:
        """N over the signal for factors *b* [candidates, roots]; float64 [candidates].

        *binary* where scales are powers of two.
        """
        row, energy, reach, power = self.other
        square, inverse = np.square(b), 1 / np.square(b)
        widest = np.maximum((self.reads_row / b).max(axis=1), (self.writes_row * b).max(axis=1))
        by_weight = square @ self.reads_energy + inverse @ self.writes_energy + energy
        s_x = np.maximum((self.reads_reach * b).max(axis=1), reach)
        by_input = inverse @ self.reads_power + power
        found = np.square(_step(np.maximum(widest, row), binary)) * self.taps * by_weight
        found = found + np.square(_step(s_x, binary)) * by_input
        return np.asarray(found / self.signal if self.signal > 0 else 0.0 * found, np.float64)


def _step(most: Array, binary: bool) -> Array:
    """The step of codes that reach *most*: what is free, or what to expect of a power of two.

    The power of two that covers *most* but for a tenth, which clipping costs little, counts half:
    what range is chosen in the end depends on more than the largest value.
    """
    step = np.maximum(most, SMALLEST_SCALE) / 127
    if binary:
        power = np.exp2(np.ceil(np.log2(step) - _CLIPPED))
        step = np.sqrt((np.square(step) + np.square(power)) / 2)
    return np.asarray(step, np.float64)


def sweep(
    layers: Sequence[Layer],
    members: Ids,
    of_root: Ids,
    a: Array,
    limits: tuple[Array, Array],
    binary: bool = False,
) -> tuple[Array, float]:
    """The best factors of one block, and the share of its layers' noise that they leave.

    Args:
        layers: those that read or write the block.
        members: its variables, ascending.
        of_root: the place of each member's root among the block's *n* roots.
        a: all factors now [variables + 1].
        limits: lowest and highest factor of each root [n]; equal ones are kept.
        binary: whether scales are powers of two. Then fractions of an octave are tried that all
            channels are scaled by, so that what is widest reaches just up to a power of two.
    """
    count = limits[0].size
    place = np.full(a.size, -1)
    place[members] = of_root
    near = [Near.of(layer, a, place, count) for layer in layers]
    reach = np.max([n.reads_reach for n in near], axis=0)
    reads = np.max([n.reads_row for n in near], axis=0)
    writes = np.max([n.writes_row for n in near], axis=0)
    alive = reach > 0
    now = np.ones(count)
    now[of_root] = a[members]
    if not alive.any():
        return now, 1.0
    logs = np.log(np.where(np.stack([reach, writes, reads]) > 0, [reach, writes, reads], 1.0))
    powers = np.array([*product(ALPHAS, BETAS, GAMMAS)]) * [-1.0, -1.0, 1.0]
    wanted = powers @ logs
    base = np.percentile(wanted[:, alive], _ANCHORS, axis=1).reshape(-1, 1)
    found = np.where(alive, np.exp(np.tile(wanted, (len(_ANCHORS), 1)) - base), 1.0)
    if binary:
        common = np.exp2(np.arange(_FRACTIONS) / _FRACTIONS)
        found = (common[:, None, None] * found).reshape(-1, count)
    found = np.vstack([now, rounded_down(np.clip(found, *limits))])
    noise = np.sum([n.noise(found, binary) for n in near], axis=0)
    best = int(np.argmin(noise))
    return found[best], float(noise[best] / noise[0]) if noise[0] > 0 else 1.0
