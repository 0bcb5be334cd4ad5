"""scale-on-entry: let QuantizeLinear multiply by a factor for each channel."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value, consumers, replace_input
from onnxq.passes._scope import Scope
from onnxq.passes.emit._gates import channel_factor
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class ScaleOnEntry(Pass):
    """Let QuantizeLinear multiply by a factor for each channel, as 'equalize-entries' leaves it.

    What it does
        Where a product with a positive factor a for each channel is read by a QuantizeLinear
        alone, the scale of QuantizeLinear becomes s / a, one for each channel, and the product
        goes. What reads the codes goes on to take them for multiples of s.

    Why
        The product is a pass over memory, and a scale for each channel is none.

    Example
        ``Mul(a) → QuantizeLinear(s) → DequantizeLinear(s)`` becomes
        ``QuantizeLinear(s / a) → DequantizeLinear(s)``.

    When it declines
        Channels are short (fewer than *values* values): ONNX Runtime's QuantizeLinear goes from
        channel to channel, and a product is faster; shapes are not known; the product is an output
        or read by something else; other runtimes than ONNX Runtime.

    Numerics
        The same function up to rounding in float32, of s / a once instead of x · a: codes at ties
        may fall the other way.

    Source
        ONNX operator QuantizeLinear-13.

    Attributes:
        values: the fewest values of a channel.
    """

    name: ClassVar[str] = "scale-on-entry"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    values: int = 128

    def run(self, model: Model, ctx: Context) -> None:
        scope = Scope(model)
        for product, quantize in _products(scope, ctx):
            if not self._long(product.outputs[0]):
                ctx.decline(product, "its channels are short, or their length is not known")
                continue
            _divide(scope, product, quantize)

    def _long(self, tensor: gs.Tensor) -> bool:
        shape = tensor.shape
        known = shape is not None and all(isinstance(d, int) for d in shape[2:])
        return known and len(shape) > 2 and prod(shape[2:]) >= self.values


def scales_entries(model: Model, ctx: Context) -> bool:
    """Whether there is anything for the pass to look at."""
    return bool(_products(Scope(model), ctx))


def _products(scope: Scope, ctx: Context) -> list[tuple[gs.Node, gs.Node]]:
    """Products with a factor for each channel, and the one QuantizeLinear that reads each."""
    if not ctx.target.rounds_float_weights:  # not ONNX Runtime on the CPU
        return []
    found = []
    for node in scope.sites("Mul"):
        if channel_factor(node) is None or not scope.only_use(node.outputs[0]):
            continue
        user = consumers(node.outputs[0])[0][0]
        scale = constant_value(user.inputs[1]) if user.op == "QuantizeLinear" else None
        if scale is not None and scale.size == 1 and len(user.inputs) > 2:
            found.append((node, user))
    return found


def _divide(scope: Scope, product: gs.Node, quantize: gs.Node) -> None:
    """Let *quantize* read what *product* reads, its scale divided by the factor."""
    found = channel_factor(product)
    assert found is not None
    index, factor = found
    a = np.asarray(factor, np.float64).reshape(-1)
    for place, value in ((1, 1 / a), (2, np.ones(a.size))):
        old = quantize.inputs[place]
        given = constant_value(old)
        assert given is not None
        name = scope.model.unique_name(f"{old.name}__channels")
        constant = gs.Constant(name, (given.reshape(()) * value).astype(given.dtype))
        replace_input(quantize, place, constant)
    quantize.attrs["axis"] = 1
    replace_input(quantize, 0, product.inputs[index])
    scope.remove(product)
