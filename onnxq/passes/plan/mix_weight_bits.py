"""mix-weight-bits: with few bits, the layers that they hurt most get more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import OptionError
from onnxq.graph import Model, is_constant
from onnxq.graph.deferred import peek
from onnxq.passes.correct._variants import Bench
from onnxq.passes.plan._weights import size_of, stored_spec
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.weight_sites import STORED
from onnxq.quant import INT8, DType, PerBlock, QuantSpec
from onnxq.quant.blocks import block_params
from onnxq.quant.measures import ErrorSums

_AT_ONCE = 1 << 27
"""Bytes of rounded weights in memory at once."""
_LARGEST = 1 << 30
"""Models of more bytes are not run for this."""


@dataclass(frozen=True, kw_only=True)
class MixWeightBits(Pass):
    """Give the weights whose rounding makes most noise at the outputs a wider format.

    What it does
        Rounds the weights of one layer at a time and measures the noise at the outputs, on
        samples; without samples, the noise in the weights themselves. Those that make most noise
        for each byte that the wider format costs get it, until they hold ``percent`` of all
        weights.

    Why
        Few bits hurt some layers ten times as much as others.

    Example
        ``plan-weights{weights=int4,block=32},mix-weight-bits{percent=10}``

    When it declines
        Weights that are as wide already, and those of sub-graphs, which are not observed.

    Numerics
        Noise to signal is Σ (y − x)² / Σ x², on average over outputs; that of layers is taken to
        add up. Scales are those of least squared error, codes the nearest.

    Source
        Dong et al. 2019, "HAWQ", https://arxiv.org/abs/1905.03696 (bits by sensitivity); here the
        sensitivity is measured.

    Attributes:
        percent: most of the weights, in percent, that may get the wider format.
        wide: the wider format.
        samples: how many samples are measured, from the first on.
    """

    name: ClassVar[str] = "mix-weight-bits"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    percent: float = 10.0
    wide: DType = INT8
    samples: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise OptionError(f"mix-weight-bits: percent is {self.percent:g}", hint="0 to 100")

    def run(self, model: Model, ctx: Context) -> None:
        narrow = self._narrow(model, ctx)
        noise = _at_outputs(model, ctx, narrow, self.samples) or _in_weights(narrow)
        left = sum(size_of(t) for t, _ in narrow.values()) * self.percent / 100

        def worth(name: str) -> float:
            tensor, spec = narrow[name]
            return -noise[name] / (size_of(tensor) * (self.wide.bits - spec.dtype.bits))

        for name in sorted(noise, key=worth):
            tensor, spec = narrow[name]
            if size_of(tensor) > left or not noise[name]:
                continue
            left -= size_of(tensor)
            run = spec.granularity
            assert isinstance(run, PerBlock)
            wider = stored_spec(self.wide, run, ctx.target, symmetric=spec.symmetric)
            ctx.plan.tensors[name] = wider

    def _narrow(self, model: Model, ctx: Context) -> dict[str, tuple[gs.Constant, QuantSpec]]:
        """By name, planned weights of fewer bits, of the main graph."""
        found: dict[str, tuple[gs.Constant, QuantSpec]] = {}
        inside = {id(n) for n in model.graph.nodes}
        for node in model.nodes():
            planned = ctx.plan.nodes.get(node.name)
            for index in planned.inputs if planned and planned.kernel == STORED else ():
                tensor = node.inputs[index]
                spec = ctx.plan.tensors.get(tensor.name)
                if not is_constant(tensor) or not isinstance(spec, QuantSpec):
                    continue
                if spec.dtype.bits >= self.wide.bits:
                    continue
                if id(node) in inside:
                    found[tensor.name] = (tensor, spec)
                else:
                    ctx.decline(node, "tensors of sub-graphs are not observed")
        return found


def _rounded(
    narrow: Mapping[str, tuple[gs.Constant, QuantSpec]],
) -> Iterator[tuple[str, NDArray[Any], NDArray[np.float32]]]:
    """Name and values of each weight, and what its codes stand for."""
    for name, (tensor, spec) in narrow.items():
        weight = peek(tensor)
        grid = block_params(tuple(weight.shape), weight, spec, method="mse")
        yield name, weight, grid.dequantize(grid.quantize(weight))


def _in_weights(narrow: Mapping[str, tuple[gs.Constant, QuantSpec]]) -> dict[str, float]:
    """Noise to signal of each weight."""
    found = {}
    for name, weight, real in _rounded(narrow):
        sums = ErrorSums()
        sums.add(weight, real)
        found[name] = sums.noise_to_signal
    return found


def _at_outputs(
    model: Model,
    ctx: Context,
    narrow: Mapping[str, tuple[gs.Constant, QuantSpec]],
    samples: int,
) -> dict[str, float]:
    """Noise to signal at the outputs; empty where it cannot be measured."""
    if ctx.measure is None or ctx.estimated or model.stored_bytes() > _LARGEST or not narrow:
        return {}
    bench = Bench.at_outputs(model, ctx)
    if bench.blind or not bench.ends:
        return {}
    found: dict[str, float] = {}
    waiting: dict[str, NDArray[np.float32]] = {}
    for name, _, real in _rounded(narrow):
        waiting[name] = real
        full = sum(v.nbytes for v in waiting.values()) > _AT_ONCE
        if full or len(found) + len(waiting) == len(narrow):
            noise = bench.noise(ctx, [{n: v} for n, v in waiting.items()], samples)
            found |= dict(zip(waiting, noise.tolist(), strict=True))
            waiting = {}
    return found
