"""quantize-weights: integers for weights and for constants beside activations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model, constant_value
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import DType, Fixed, PerTensor, QParams, QuantSpec
from onnxq.quant.choose import qparams_from_range, weight_codes, weight_qparams
from onnxq.threads import cores, in_order


@dataclass(frozen=True, kw_only=True)
class QuantizeWeights(Pass):
    """Round every planned constant to integers.

    What it does
        Chooses the scale of each weight (per output channel or per tensor, as planned) and rounds
        to the nearest code. Constants that are operands of Add, Mul or Concat get one scale. Where
        the plan has granularity ``model``, all weights share the scale that suits them together.

    Why
        Integers stored once are a quarter of the bytes, and what integer kernels read.

    Example
        ``quantize-weights{method=mse}``

    When it declines
        Never: planning has already left out what cannot be quantized.

    Numerics
        Where the spec limits the sum of two codes, pairs that the kernel adds give up what
        exceeds it; where it is not known which meet, the channel's scale grows just enough. A
        channel of zeros gets the largest scale of the others. Stochastic rounding goes up with the
        probability of the part that is cut off: no bias, but more noise than to nearest.

    Source
        Jacob et al. 2018; for pairs, Intel's description of VPMADDUBSW (16-bit saturation). Gupta
        et al. 2015, "Deep Learning with Limited Numerical Precision" (stochastic rounding).

    Attributes:
        method: minmax (no clipping) or mse (the clipping with the least squared error).
        rounding: as the target rounds weights, or stochastic, for experiments.
        seed: of stochastic rounding; the same one gives the same weights.
    """

    name: ClassVar[str] = "quantize-weights"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    method: Literal["minmax", "mse"] = "minmax"
    rounding: Literal["target", "stochastic"] = "target"
    seed: int = 0

    def run(self, model: Model, ctx: Context) -> None:
        weights = {
            node.inputs[rule.weight].name
            for node in model.graph.nodes
            if node.name in ctx.plan.nodes
            and (rule := ctx.target.rules[node.op]).weight is not None
        }
        together = self._one_scale(model, ctx, weights) if ctx.plan.one_scale else {}

        def choose(name: str) -> tuple[QParams, NDArray[Any]] | None:
            spec, value = ctx.plan.tensors.get(name), constant_value(tensors[name])
            if value is None or not isinstance(spec, QuantSpec | Fixed):
                return None
            if isinstance(spec, Fixed):
                return spec.qparams, spec.qparams.quantize(value)
            if name not in weights:
                low, high = float(np.min(value)), float(np.max(value))
                if _in_steps(value, spec.dtype.qmax - spec.dtype.qmin):
                    low, high = 0.0, 1.0
                qparams = qparams_from_range(low, high, spec)
                return qparams, qparams.quantize(value)
            qparams = together.get(name) or weight_qparams(value, spec, method=self.method)
            return qparams, weight_codes(self._moved(name, value, qparams), qparams, spec)

        tensors = model.tensors()
        names = [name for name in tensors if name in ctx.plan.tensors]
        for name, found in zip(names, in_order(choose, names, cores()), strict=True):
            if found is not None:
                ctx.qparams[name], ctx.integers[name] = found

    def _moved(self, name: str, value: NDArray[Any], qparams: QParams) -> NDArray[Any]:
        """*value*, moved by up to half a step where rounding to nearest is to be stochastic."""
        if self.rounding == "target":
            return value
        noise = np.random.default_rng([self.seed, *name.encode()]).random(value.shape) - 0.5
        scale, _ = qparams.along(value.ndim)
        return np.asarray(value + noise * scale, value.dtype)

    def _one_scale(self, model: Model, ctx: Context, weights: set[str]) -> dict[str, QParams]:
        """By name of a weight, the parameters that all weights of its format have."""
        alike: dict[DType, dict[str, tuple[QuantSpec, NDArray[Any]]]] = {}
        for name, tensor in model.tensors().items():
            spec, value = ctx.plan.tensors.get(name), constant_value(tensor)
            if name not in weights or value is None or not isinstance(spec, QuantSpec):
                continue
            if isinstance(spec.granularity, PerTensor):
                alike.setdefault(spec.dtype, {})[name] = (spec, value)
        found: dict[str, QParams] = {}
        for members in alike.values():
            specs = [spec for spec, _ in members.values()]
            limits = [s.pair_sum_limit for s in specs if s.pair_sum_limit is not None]
            spec = replace(specs[0], pair_sum_limit=min(limits, default=None), pair_axis=None)
            values = np.concatenate([value.reshape(-1) for _, value in members.values()])
            qparams = weight_qparams(values, spec, method=self.method)
            found |= dict.fromkeys(members, qparams)
        return found


def _in_steps(value: NDArray[Any], steps: int) -> bool:
    """Whether all of *value* are whole multiples of 1/steps from 0 to 1: exact in that range."""
    counts = value.astype(np.float64) * steps
    whole = bool(np.abs(counts - np.rint(counts)).max(initial=0.0) < 1e-4)
    return whole and float(value.min()) >= 0 and float(value.max()) <= 1
