"""The choice of precisions as a problem of numbers: noise at the outputs against cost.

Noise powers of roundings add up, as long as they are small and unrelated: that of a network is the
sum over its weights, each at the precision of its layer, and over its activations. An activation is
rounded where any layer at it computes in integers: keeping one layer in float helps little while
its neighbours round the same values.

Source: Cai et al. 2020 (ZeroQ), section 3.2, and Yao et al. 2021 (HAWQ-V3) for the sum over layers;
Lin et al. 2016 ("Fixed Point Quantization of Deep Convolutional Networks") for noise that adds up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

INTEGERS, FLOATS = ("8", "4"), ("float", "16")
BITS = {"float": 32, "16": 16, "8": 8, "4": 4}


@dataclass(frozen=True)
class Layer:
    """A layer that can have several precisions.

    Attributes:
        node: its name.
        noise: by each precision that it may have, noise to signal that its weights make at the
            outputs.
        cost: by precision, what it costs, as a share of the float network.
        time: by precision, the time that it takes, likewise.
        tensors: activations that are rounded where it computes in integers.
        macs: its multiply-accumulates.
        bytes: bytes of its weights in float.
    """

    node: str
    noise: Mapping[str, float]
    cost: Mapping[str, float]
    tensors: tuple[str, ...]
    time: Mapping[str, float] = field(default_factory=dict)
    macs: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class Problem:
    """A network.

    Attributes:
        layers: what is to be decided.
        activations: by tensor, noise to signal that rounding it makes at the outputs.
        conversions: by tensor, the cost of converting it where its ends differ.
        other_macs: multiply-accumulates of nodes that stay in float anyway.
        conversion_times: by tensor, the time of converting it, as a share of the float network's.
    """

    layers: tuple[Layer, ...]
    activations: Mapping[str, float]
    conversions: Mapping[str, float] = field(default_factory=dict)
    other_macs: float = 0.0
    conversion_times: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def ends(self) -> dict[str, tuple[str, ...]]:
        """By tensor, the layers at it."""
        found: dict[str, list[str]] = {}
        for layer in self.layers:
            for tensor in dict.fromkeys(layer.tensors):
                found.setdefault(tensor, []).append(layer.node)
        return {tensor: tuple(nodes) for tensor, nodes in found.items()}

    def noise(self, chosen: Mapping[str, str]) -> float:
        """Noise to signal of the outputs with the precisions *chosen*, by node."""
        weights = (layer.noise[chosen[layer.node]] for layer in self.layers)
        rounded = (
            self.activations.get(tensor, 0.0)
            for tensor, nodes in self.ends.items()
            if any(chosen[node] in INTEGERS for node in nodes)
        )
        return math.fsum(weights) + math.fsum(rounded)

    def cost(self, chosen: Mapping[str, str]) -> float:
        """Cost with the precisions *chosen*, by node."""
        layers = (layer.cost[chosen[layer.node]] for layer in self.layers)
        converted = (self.conversions.get(tensor, 0.0) for tensor in self._converted(chosen))
        return math.fsum(layers) + math.fsum(converted)

    def time(self, chosen: Mapping[str, str]) -> float:
        """Time with the precisions *chosen*, by node, as a share of the float network's."""
        layers = (layer.time[chosen[layer.node]] for layer in self.layers)
        converted = (self.conversion_times.get(tensor, 0.0) for tensor in self._converted(chosen))
        return math.fsum(layers) + math.fsum(converted)

    def _converted(self, chosen: Mapping[str, str]) -> Iterator[str]:
        """Tensors whose ends differ: one in integers, one in float."""
        for tensor, nodes in self.ends.items():
            if len({chosen[node] in INTEGERS for node in nodes}) > 1:
                yield tensor

    def macs(self, chosen: Mapping[str, str]) -> dict[str, float]:
        """By precision, percent of the multiply-accumulates."""
        sums = {"float": self.other_macs}
        for layer in self.layers:
            precision = chosen[layer.node]
            sums[precision] = sums.get(precision, 0.0) + layer.macs
        total = math.fsum(sums.values())
        return {p: 100.0 * v / total for p, v in sums.items() if v} if total else {}

    def saved(self, chosen: Mapping[str, str]) -> float:
        """Bytes that *chosen* saves of what all layers have in float."""
        return math.fsum(layer.bytes * (1 - BITS[chosen[layer.node]] / 32) for layer in self.layers)
