"""What rounding leaves of a layer's outputs on real samples, for any factors of its channels.

With factors a of the input channels and b of the output channels a layer has the weights
``b_o w_oc / a_c`` and reads ``a_c x_c``. Both are rounded as planned, and the result in the units
of before is compared with the exact one::

    noise(a, b) = Σ_o g_o (Q(a x) · Q(b_o w_o / a) / b_o − x · w_o)² / Σ_o g_o (x · w_o)²

where g_o says how much of an error in output o arrives behind the layers that read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrate.channel_extremes import ChannelExtremesState
from onnxq.calibrate.observer import gathered
from onnxq.calibrate.patch_samples import PatchSamples
from onnxq.graph import Model, constant_value
from onnxq.passes._reads import reads_of
from onnxq.passes.equalize._ends import (
    Array,
    groups_of,
    output_axis,
    rows_of,
    rows_shape,
    spread_columns,
    spread_outputs,
)
from onnxq.pipeline import Context
from onnxq.pipeline.eligibility import why_not
from onnxq.pipeline.gains import reading_gains
from onnxq.pipeline.kernel_plan import activation_spec, weight_spec
from onnxq.quant import PerAxis, QuantSpec
from onnxq.quant.affine import affine, codes_in_use
from onnxq.quant.choose import weight_codes, weight_qparams

Patches = NDArray[np.float32]

SAMPLES = 24
_VALUES, _MOST, _LEAST = 1 << 24, 16, 2
"""Values that are kept of all layers, and most and fewest patches of one sample."""
_OUTPUTS = 64
"""Output channels that are measured at most, where each has a scale of its own."""
_FOLD = 4
"""One sample of so many is held out."""
_CLIPS = (1.0, 0.8, 0.64, 0.5)
"""Shares of the largest values that the range of an activation may end at."""
_SEARCHED = 2
"""One patch of so many tells which of them is best."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A layer with patches of its input.

    Attributes:
        node: the layer.
        fitted, held: patches [groups, n, K], and those of other samples.
        activations: how its input is rounded.
        weights: how its weight is; None where it stays in float.
        gains: g, float64 [outputs].
        outputs: which output channels are measured; None for all.
        extremes: smallest and largest value of each input channel over all data, [channels] each,
            where the range is to cover them; None for those of the patches.
    """

    node: gs.Node
    fitted: Patches
    held: Patches
    activations: QuantSpec
    weights: QuantSpec | None
    gains: Array
    outputs: NDArray[np.int64] | None = None
    extremes: tuple[Array, Array] | None = None

    def noise(self, a: Array | None, b: Array | None, *, held: bool = False) -> float:
        """The noise with factors *a* and *b*; None stands for factors of 1.

        Ranges are those of the fitted patches in any case.
        """
        columns = np.float32(1) if a is None else self._columns(a)
        error = self._rounded(held, columns) @ self._weights(a, b).swapaxes(1, 2)
        error -= self._wanted[held]
        return self._power(error) / self._signal[held]

    @cached_property
    def _exact(self) -> Patches:
        return rows_in_patch_order(self.node, self._weight)

    @cached_property
    def _weight(self) -> Patches:
        return self._some(np.asarray(constant_value(self.node.inputs[1]), np.float32))

    @cached_property
    def _wanted(self) -> list[Patches]:
        return [x @ self._exact.swapaxes(1, 2) for x in (self.fitted, self.held)]

    @cached_property
    def _signal(self) -> list[float]:
        return [self._power(y) or 1.0 for y in self._wanted]

    @cached_property
    def _reach(self) -> Patches:
        """By input, what an error in it makes: Σ_o g_o w_o², [groups, 1, K]."""
        gains = self.gains.reshape(len(self._exact), -1, 1).astype(np.float32)
        return np.asarray((np.square(self._exact) * gains).sum(axis=1, keepdims=True), np.float32)

    def _power(self, y: Patches) -> float:
        """Variance of *y* [groups, n, outputs], weighed by g and added up."""
        return float(y.var(axis=1, dtype=np.float64).reshape(-1) @ self.gains)

    def largest(self) -> Array:
        """Largest |x| of each channel, [channels]."""
        if self.extremes is not None:
            return np.maximum(np.abs(self.extremes[0]), np.abs(self.extremes[1]))
        most = np.abs(self.fitted).max(axis=1, initial=0.0)
        window = most.shape[1] * len(most) // self.channels
        by_channel = most.reshape(len(most), window, -1).max(axis=1)
        return np.asarray(by_channel.reshape(-1), np.float64)

    @property
    def channels(self) -> int:
        """How many channels it reads."""
        return rows_shape(self.node)[1] * groups_of(self.node)

    def _columns(self, a: Array) -> Patches:
        """*a* [channels] as [groups, 1, K]."""
        by_group = a.reshape(len(self.fitted), 1, -1).astype(np.float32)
        return np.tile(by_group, (1, 1, self.fitted.shape[2] // by_group.shape[2]))

    def _rounded(self, held: bool, columns: Patches | np.float32) -> Patches:
        """The patches, times *columns*, rounded over the best range, and divided again."""
        scaled = self.fitted * columns
        low, high = (scaled, scaled) if self.extremes is None else self.extremes
        if self.extremes is not None:
            by_channel = np.reshape(columns, -1)
            low, high = low * by_channel, high * by_channel
        bounds = np.array([low.min(initial=0.0), high.max(initial=0.0)], np.float64)
        reach = (self._reach / np.square(columns)).swapaxes(1, 2)
        some = np.ascontiguousarray(scaled[:, ::_SEARCHED])
        least, chosen = np.inf, affine(bounds[0], bounds[1], self.activations)
        for clip in _CLIPS:
            scale, zero = affine(bounds[0] * clip, bounds[1] * clip, self.activations)
            error = nearest(some, scale, zero, self.activations)
            error -= some
            np.square(error, out=error)
            made = float((error @ reach).sum(dtype=np.float64))
            if made < least:
                least, chosen = made, (scale, zero)
        best = nearest(self.held * columns if held else scaled, *chosen, self.activations)
        best /= columns
        return best

    def _weights(self, a: Array | None, b: Array | None) -> Patches:
        """The rounded weight in the units of before, as patches need it."""
        if self.weights is None:
            return self._exact
        factor = np.ones([1] * self._weight.ndim)
        if a is not None:
            factor = factor / self._some(spread_columns(self.node, a))
        if b is not None:
            factor = factor * self._some(spread_outputs(self.node, b))
        scaled = np.asarray(self._weight * factor, np.float32)
        # clipping gains little with 8 bits, and its search is most of the work
        method = "mse" if self.weights.dtype.bits < 8 else "minmax"
        qparams = weight_qparams(scaled, self.weights, method=method)
        codes = weight_codes(scaled, qparams, self.weights)
        rounded = np.asarray(qparams.dequantize(codes) / factor, np.float32)
        return rows_in_patch_order(self.node, rounded)

    def _some(self, values: NDArray[Any]) -> NDArray[Any]:
        """Those of *values*, shaped as the weight or broadcasting to it, that are measured."""
        axis = output_axis(self.node)
        if self.outputs is None or values.shape[axis] == 1:
            return values
        return np.take(values, self.outputs, axis)


def nearest(
    x: Patches, scale: NDArray[np.float32], zero: NDArray[np.int64], spec: QuantSpec
) -> Patches:
    """*x* rounded to the codes of *spec*, and real again."""
    low, high = codes_in_use(spec)
    codes = x / scale
    np.rint(codes, out=codes)
    np.clip(codes, np.float32(low - int(zero)), np.float32(high - int(zero)), out=codes)
    codes *= scale
    return np.asarray(codes, np.float32)


def rows_in_patch_order(node: gs.Node, weight: Patches) -> Patches:
    """*weight* of *node* as [groups, outputs of the group, K], channels running fastest in K."""
    groups = groups_of(node)
    if node.op == "ConvTranspose":  # each place of the window is an output of its own
        by_group = weight.reshape(groups, weight.shape[0] // groups, -1)
        return np.ascontiguousarray(by_group.swapaxes(1, 2))
    rows = rows_of(node, weight)
    return rows.swapaxes(1, 2).reshape(groups, -1, rows.shape[1] * rows.shape[2])


def samples_of(nodes: Iterable[gs.Node]) -> dict[int, PatchSamples]:
    """By node id, what is measured of the inputs of the layers *nodes*."""
    layers = {id(node): node for node in nodes}
    shapes = [(groups_of(node), *rows_shape(node)) for node in layers.values()]
    columns = sum(groups * channels * window for groups, _, channels, window in shapes)
    most = int(np.clip(_VALUES // max(columns * SAMPLES, 1), _LEAST, _MOST))
    return {k: PatchSamples(reads_of(n), most, first=SAMPLES) for k, n in layers.items()}


def measured(
    nodes: Iterable[gs.Node],
    model: Model,
    ctx: Context,
    observers: Mapping[int, PatchSamples] | None = None,
) -> Mapping[int, Measured]:
    """By node id, the layers *nodes* with patches of the first samples.

    What of them is not yet measured with *observers*, by node id (None: those of ``samples_of``),
    is measured in a run of its own. Layers that read nothing finite are left out.
    """
    layers = {id(node): node for node in nodes}
    if observers is None:
        observers = samples_of(layers.values())
    wanted = gathered((n.inputs[0].name, observers[k]) for k, n in layers.items())
    found, missing = ctx.statistics, ctx.statistics.missing(wanted)
    if missing:
        found = found.merge(ctx.observe_apart(model, missing, SAMPLES))
    result = {}
    for key, node in layers.items():
        state = found.get(node.inputs[0].name, observers[key])
        parts = [
            [p for sample, p in state if (sample % _FOLD == _FOLD - 1) is held]
            for held in (False, True)
        ]
        if not parts[0]:
            continue
        fitted = np.concatenate(parts[0], axis=1)
        kept = np.concatenate(parts[1], axis=1) if parts[1] else fitted
        rule = ctx.target.rules.get(node.op)
        whole = rule is not None and why_not(node, rule, model, ctx) is None
        weights = weight_spec(node, rule, ctx) if whole and rule is not None else None
        outputs, _, window = rows_shape(node)
        gains = reading_gains(node.outputs[0], outputs)
        if gains is None or not gains.any():
            gains = np.ones(outputs)
        if node.op == "ConvTranspose":
            gains = np.repeat(gains, window)
        chosen = None
        by_row = weights is not None and isinstance(weights.granularity, PerAxis)
        alone = groups_of(node) == 1 and node.op != "ConvTranspose"
        if by_row and alone and outputs > _OUTPUTS:
            chosen = np.linspace(0, outputs - 1, _OUTPUTS).astype(np.int64)
            gains = gains[chosen]
        result[key] = Measured(node, fitted, kept, activation_spec(ctx), weights, gains, chosen)
    return result


def covered(
    layers: Mapping[int, Measured], states: Mapping[str, ChannelExtremesState]
) -> dict[int, Measured]:
    """*layers*, their ranges covering the channel extremes *states*, by name of what is read.

    Patches are few: an outlier may lie in none of them.
    """
    result = dict(layers)
    for key, layer in layers.items():
        state = states.get(layer.node.inputs[0].name)
        if state is not None and state.low.size == layer.channels:
            low, high = (np.nan_to_num(v.astype(np.float64)) for v in (state.low, state.high))
            result[key] = replace(layer, extremes=(low, high))
    return result
