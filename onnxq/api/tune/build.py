"""The problem that two quantized models pose: one with weights of 8 bits, one with 4."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from onnxq.api.tune.noise import LayerNoise
from onnxq.api.tune.problem import BITS, FLOATS, Layer, Problem

#: float16 keeps 11 significant bits of a weight: about 2⁻³ of the steps of 8 bits, so 2⁻⁶ of
#: their noise, and far less where a channel's values differ in size.
_HALF = 2.0**-6
#: Bytes of the Cast that widens packed weights, with its names.
_CAST = 200
#: Converting a value to codes and back, in multiply-accumulates.
_CONVERSION = 4.0


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a network costs: so much for its bytes, so much for its time.

    Attributes:
        size, time: weights of the two.
        integer_time: time of a multiply-accumulate in integers, of one in float, where the
            target has no costs of kernels.
    """

    size: float = 0.5
    time: float = 0.5
    integer_time: float = 0.5


def build(
    eight: Sequence[LayerNoise],
    four: Sequence[LayerNoise],
    *,
    allowed: Collection[str],
    bytes_float: int,
    macs: float,
    prices: Prices,
) -> Problem:
    """The problem of the layers *eight*, measured at 8 bits; *four* has them at 4 where possible.

    *allowed* are the precisions that may be chosen, *bytes_float* and *macs* the size and the
    multiply-accumulates of the float network.
    """
    weak = {layer.node: layer for layer in four}
    known = fsum(layer.seconds[0] for layer in eight)
    work = max(macs, fsum(_work(layer) for layer in eight), 1.0)
    layers = []
    for layer in eight:
        noise = {"8": layer.weights}
        if "float" in allowed:
            noise["float"] = 0.0
        if layer.stored and "16" in allowed:
            noise["16"] = layer.weights * _HALF
        if layer.stored and layer.node in weak and "4" in allowed:
            noise["4"] = max(weak[layer.node].weights, layer.weights)
        if known:
            time = {p: layer.seconds[p not in FLOATS] / known for p in noise}
        else:
            time = {p: _work(layer) / work * _slowness(p, prices) for p in noise}
        size = {p: _size(layer, p) / max(bytes_float, 1) for p in noise}
        cost = {p: prices.size * size[p] + prices.time * time[p] for p in noise}
        tensors = (*layer.reads, layer.hands_on) if layer.hands_on else layer.reads
        layers.append(Layer(layer.node, noise, cost, tensors, time, layer.macs, 4.0 * layer.stored))
    activations = _activations(eight)
    conversions = {
        layer.hands_on: layer.conversion / known if known else _CONVERSION * layer.elements / work
        for layer in eight
        if layer.hands_on in activations
    }
    other = max(macs - fsum(layer.macs for layer in eight), 0.0)
    dear = {tensor: prices.time * time for tensor, time in conversions.items()}
    return Problem(tuple(layers), activations, dear, other, conversions)


def _work(layer: LayerNoise) -> float:
    return max(layer.macs, float(layer.elements))


def _slowness(precision: str, prices: Prices) -> float:
    return 1.0 if precision in FLOATS else prices.integer_time


def _size(layer: LayerNoise, precision: str) -> float:
    """Bytes of the weights of *layer*."""
    return layer.stored * BITS[precision] / 8 + _CAST * (precision in ("16", "4"))


def _activations(layers: Sequence[LayerNoise]) -> Mapping[str, float]:
    """By tensor, the noise that rounding it makes: where it is made, else where it is read."""
    found: dict[str, float] = {}
    for layer in layers:
        for tensor in layer.reads:
            found[tensor] = found.get(tensor, 0.0) + layer.inputs / len(layer.reads)
    made = {layer.hands_on: layer.output for layer in layers if layer.hands_on}
    return found | made
