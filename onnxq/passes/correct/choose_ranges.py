"""choose-ranges: scales and zero points of activations from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model, is_constant
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.gains import reading_gains
from onnxq.pipeline.scale_groups import ScaleGroup, scale_groups
from onnxq.quant import QParams
from onnxq.quant.choose import qparams_from_range
from onnxq.quant.ranges import HISTOGRAM_METHODS, RangeOptions, choose_range

_MEAN, _ALIKE = 64, 2.0
"""The mean weight of a channel, and the ratio of weights below which all count alike."""


@dataclass(frozen=True, kw_only=True)
class ChooseRanges(Pass):
    """Choose the real range that the codes of each activation cover.

    What it does
        Computes scale and zero point of every planned activation by one of the range methods.
        Tensors that share a scale get one range, from all tensors that are rounded with it.

    Why
        A wide range has coarse steps, a narrow one clips. Extremes are set by single outliers;
        ``mse`` weighs clipping against rounding on the very grid that is used.

    Example
        ``choose-ranges{method=percentile,percentile=99.99}``

    When it declines
        A tensor without a finite value in the calibration data gets no scale, and the nodes that
        read it stay in float.

    Numerics
        Zero is always a code. Ranges never reach beyond what an absorbed activation lets pass.

    Source
        Jacob et al. 2018 (min-max, moving average); Migacz 2017 (entropy); Choukroun et al. 2019
        (mean squared error).

    Attributes:
        method: minmax, moving-average, minmax-mean, percentile, entropy or mse.
        percentile: how many of 100 values the range covers, with method percentile.
    """

    name: ClassVar[str] = "choose-ranges"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    method: Literal["minmax", "moving-average", "minmax-mean", "percentile", "entropy", "mse"] = (
        "minmax"
    )
    percentile: float = 99.99

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        tensors = model.tensors()
        wanted: dict[str, tuple[AnyObserver, ...]] = {}
        for group in scale_groups(ctx.plan, _constants(model)):
            for name in group.rounded:
                wanted[name] = (Extremes(),)
                if self.method in HISTOGRAM_METHODS:
                    own = self._histogram(group, tensors[name], ctx)
                    wanted[name] += (own,)
                    if ctx.keeps_statistics and own.weights is not None:
                        wanted[name] += (replace(own, weights=None),)  # for the other methods
        return wanted

    def run(self, model: Model, ctx: Context) -> None:
        tensors = model.tensors()
        for group in scale_groups(ctx.plan, _constants(model)):
            qparams = self._qparams(group, tensors, ctx)
            for name in group.tensors:
                ctx.qparams[name] = qparams

    def _qparams(
        self, group: ScaleGroup, tensors: Mapping[str, gs.Tensor], ctx: Context
    ) -> QParams:
        if group.fixed is not None or group.spec is None:
            assert group.fixed is not None
            return group.fixed
        get = ctx.statistics.get
        extremes = reduce(Extremes().merge, (get(n, Extremes()) for n in group.rounded))
        histogram = None
        if self.method in HISTOGRAM_METHODS:
            found = [get(n, self._histogram(group, tensors[n], ctx)) for n in group.rounded]
            histogram = reduce(Histogram().merge, found)
        options = RangeOptions(percentile=self.percentile)
        spec = group.spec
        if spec.floors is not None:  # what the gates close on is at their floors already
            spec = replace(spec, through=None)
        low, high = choose_range(self.method, extremes, histogram, spec, options)
        return qparams_from_range(low, high, group.spec)

    def _histogram(self, group: ScaleGroup, tensor: gs.Tensor, ctx: Context) -> Histogram:
        """The histogram of *tensor* that the range of *group* is chosen from."""
        return Histogram(
            floors=None if group.spec is None else group.spec.floors,
            weights=_weights(tensor, ctx) if self.method == "mse" else None,
        )


def _weights(tensor: gs.Tensor, ctx: Context) -> tuple[int, ...] | None:
    """How often values of each channel of *tensor* count; None where all count alike."""
    shape = ctx.shape(tensor)
    if shape is None or len(shape) < 2 or not shape[1]:
        return None
    gains = reading_gains(tensor, shape[1])
    if gains is None or not gains.max() > _ALIKE * gains.min():
        return None
    weights = np.clip(np.rint(_MEAN * gains / gains.mean()), 1, None)
    return tuple(int(w) for w in weights)


def _constants(model: Model) -> frozenset[str]:
    return frozenset(name for name, t in model.tensors().items() if is_constant(t))
