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
from onnxq.errors import OptionError
from onnxq.graph import Model, is_constant
from onnxq.passes.correct._candidates import Candidates, candidates
from onnxq.passes.correct._nearby import compare
from onnxq.passes.correct._wide import has_room
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.gains import reading_gains
from onnxq.pipeline.scale_groups import ScaleGroup, scale_groups
from onnxq.quant import QParams, QuantSpec
from onnxq.quant.choose import qparams_from_range
from onnxq.quant.ranges import HISTOGRAM_METHODS, RangeOptions, choose_range
from onnxq.quant.states import ExtremesState, HistogramState

_COUNTED = (*HISTOGRAM_METHODS, "auto")
"""The methods that need a histogram."""
_MEAN, _ALIKE = 64, 2.0
"""The mean weight of a channel, and the ratio of weights below which all count alike."""


@dataclass(frozen=True, kw_only=True)
class ChooseRanges(Pass):
    """Choose the real range that the codes of each activation cover.

    What it does
        Computes scale and zero point of every planned activation by one of the range methods.
        Tensors that share a scale get one range, from all tensors that are rounded with it. With
        ``auto`` each tensor gets the method whose codes make the least noise, on some samples,
        in the results of the layers that read it. That of ``mse`` stays unless another makes a
        tenth less. Where scales are powers of two, powers are compared. The report says why.

    Why
        A wide range has coarse steps, a narrow one clips. Extremes are set by single outliers;
        ``mse`` weighs clipping against rounding on the very grid that is used. ``auto`` looks at
        what becomes of both: rounding averages out in sums and pools, clipping does not.

    Example
        ``choose-ranges{method=percentile,percentile=99.99}``

    When it declines
        A tensor without a finite value in the calibration data gets no scale, and the nodes that
        read it stay in float.

    Numerics
        Zero is always a code. Ranges never reach beyond what an absorbed activation lets pass.
        Formats of 16 bits have steps to spare: they cover ``headroom`` times the range, for values
        that calibration has not seen. Half as much again costs 3.5 of some 90 dB.

    Source
        Jacob et al. 2018 (min-max, moving average); Migacz 2017 (entropy); Choukroun et al. 2019
        (mean squared error); error of the layer's output: Wu et al. 2020, "EasyQuant".

    Attributes:
        method: minmax, moving-average, minmax-mean, percentile, entropy, mse or auto.
        percentile: how many of 100 values the range covers, with method percentile.
        samples: how many samples methods are compared on, with method auto.
        headroom: how many times the range 16 bits cover, on targets that compute in float, too.
    """

    name: ClassVar[str] = "choose-ranges"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    method: Literal[
        "minmax", "moving-average", "minmax-mean", "percentile", "entropy", "mse", "auto"
    ] = "minmax"
    percentile: float = 99.99
    samples: int = 24
    headroom: float = 1.5

    def __post_init__(self) -> None:
        if not self.headroom >= 1:
            raise OptionError(f"choose-ranges: headroom {self.headroom:g}", hint="1 or more")

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        tensors = model.tensors()
        wanted: dict[str, tuple[AnyObserver, ...]] = {}
        for group in scale_groups(ctx.plan, _constants(model)):
            for name in group.rounded:
                wanted[name] = (Extremes(),)
                if self.method in _COUNTED:
                    own = self._histogram(group, tensors[name], ctx)
                    wanted[name] += (own,)
                    if self.method == "auto" and own.weights is not None:
                        wanted[name] += (replace(own, weights=None),)
                    elif ctx.keeps_statistics and own.weights is not None:
                        wanted[name] += (replace(own, weights=None),)  # for the other methods
        return wanted

    def run(self, model: Model, ctx: Context) -> None:
        tensors = model.tensors()
        groups = scale_groups(ctx.plan, _constants(model))
        compared: dict[str, QParams] = {}
        if self.method == "auto":
            compared = self._compared(model, groups, tensors, ctx)
        for group in groups:
            qparams = compared.get(group.tensors[0]) or self._qparams(group, tensors, ctx)
            for name in group.tensors:
                ctx.qparams[name] = qparams

    def _compared(
        self, model: Model, groups: list[ScaleGroup], tensors: Mapping[str, gs.Tensor], ctx: Context
    ) -> dict[str, QParams]:
        """By first tensor of a group, what the method with the least noise gives."""
        found: dict[str, Candidates] = {}
        rounded: dict[str, tuple[str, ...]] = {}
        for group in groups:
            if group.fixed is None and group.spec is not None:
                first = group.tensors[0]
                extremes, plain = self._measured(group, tensors, ctx, weighed=False)
                _, heavy = self._measured(group, tensors, ctx, weighed=True)
                assert plain is not None and heavy is not None
                found[first] = candidates(extremes, plain, heavy, _searched(group.spec))
                rounded[first] = group.rounded
        picked = compare(model, ctx, found, rounded, self.samples)
        for first, choice in picked.items():
            ctx.choices.update(dict.fromkeys(rounded[first], choice))
        return {first: found[first].methods[choice.method] for first, choice in picked.items()}

    def _qparams(
        self, group: ScaleGroup, tensors: Mapping[str, gs.Tensor], ctx: Context
    ) -> QParams:
        if group.fixed is not None or group.spec is None:
            assert group.fixed is not None
            return group.fixed
        # what no layer reads cannot be compared there: mse compares on the tensor itself
        method = "mse" if self.method == "auto" else self.method
        options = RangeOptions(percentile=self.percentile)
        extremes, histogram = self._measured(group, tensors, ctx, weighed=True)
        low, high = choose_range(method, extremes, histogram, _searched(group.spec), options)
        room = self.headroom if has_room(group.spec, ctx.target) else 1.0
        return qparams_from_range(room * low, room * high, group.spec)

    def _measured(
        self, group: ScaleGroup, tensors: Mapping[str, gs.Tensor], ctx: Context, *, weighed: bool
    ) -> tuple[ExtremesState, HistogramState | None]:
        """What was measured of all tensors of *group*."""
        get = ctx.statistics.get
        extremes = reduce(Extremes().merge, (get(n, Extremes()) for n in group.rounded))
        if self.method not in _COUNTED:
            return extremes, None
        observers = {n: self._histogram(group, tensors[n], ctx) for n in group.rounded}
        if not weighed:
            observers = {n: replace(o, weights=None) for n, o in observers.items()}
        found = (get(n, observer) for n, observer in observers.items())
        return extremes, reduce(Histogram().merge, found)

    def _histogram(self, group: ScaleGroup, tensor: gs.Tensor, ctx: Context) -> Histogram:
        """The histogram of *tensor* that the range of *group* is chosen from."""
        return Histogram(
            floors=None if group.spec is None else group.spec.floors,
            weights=_weights(tensor, ctx) if self.method in ("mse", "auto") else None,
        )


def _searched(spec: QuantSpec) -> QuantSpec:
    """*spec* for a search on its histogram."""
    if spec.floors is not None:  # what the gates close on is at their floors already
        return replace(spec, through=None)
    return spec


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
