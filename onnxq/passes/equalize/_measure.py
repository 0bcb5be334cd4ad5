"""What rounding leaves of a layer's outputs on real samples, for any factors of its channels.

With factors a of the input channels and b of the output channels a layer has the weights
``b_o w_oc / a_c`` and reads ``a_c x_c``. Both are rounded as planned, and the result in the units
of before is compared with the exact one::

    noise(a, b) = Σ_o g_o (Q(a x) · Q(b_o w_o / a) / b_o − x · w_o)² / Σ_o g_o (x · w_o)²

where g_o says how much of an error in output o arrives behind the layers that read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from onnxq.passes.equalize._grids import best_grid, codes, parts_of
from onnxq.pipeline import Context
from onnxq.pipeline.eligibility import why_not
from onnxq.pipeline.gains import reading_gains
from onnxq.pipeline.kernel_plan import activation_spec, weight_spec
from onnxq.quant import PerAxis, QuantSpec
from onnxq.quant.choose import weight_codes, weight_qparams

Patches = NDArray[np.float32]

SAMPLES = 24
_VALUES, _MOST, _LEAST = 1 << 24, 16, 2
"""Values that are kept of all layers, and most and fewest patches of one sample."""
_OUTPUTS = 64
"""Output channels that are measured at most, where each has a scale of its own."""
_FOLD = 4
"""One sample of so many is held out."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A layer with patches of its input.

    Attributes:
        node: the layer.
        fitted, held: by sample, patches [groups, n, K], and those of other samples.
        activations: how its input is rounded.
        weights: how its weight is; None where it stays in float.
        gains: g, float64 [outputs].
        outputs: which output channels are measured; None for all.
        extremes: smallest and largest value of each input channel over all data, [channels] each,
            where the range is to cover them; None for those of the patches.
    """

    node: gs.Node
    fitted: Sequence[Patches]
    held: Sequence[Patches]
    activations: QuantSpec
    weights: QuantSpec | None
    gains: Array
    outputs: NDArray[np.int64] | None = None
    extremes: tuple[Array, Array] | None = None

    def noise(self, a: Array | None, b: Array | None, *, held: bool = False) -> float:
        """The noise with factors *a* and *b*; None stands for factors of 1.

        Ranges are those of the fitted patches in any case.
        """
        x, wanted, signal = self._on_held if held else self._on_fitted
        factor = np.float32(1) if a is None else self._by_input(a).astype(np.float32)
        seen, reach, ends = self._on_fitted[0], self._reach, self._ends
        scale, zero = best_grid(seen, factor, reach, ends, self.activations)
        taken = np.broadcast_to(factor / scale, reach.shape)
        weights = self._weights(a, b) / taken.swapaxes(1, 2)
        error = np.empty_like(wanted)
        for part in parts_of(x):
            np.matmul(
                weights[part], codes(x[part] * taken[part], zero, self.activations), error[part]
            )
        error -= wanted
        return self._power(error) / signal

    @cached_property
    def _exact(self) -> Patches:
        return rows_in_patch_order(self.node, self._weight)

    @cached_property
    def _weight(self) -> Patches:
        return self._some(np.asarray(constant_value(self.node.inputs[1]), np.float32))

    @cached_property
    def _on_fitted(self) -> tuple[Patches, Patches, float]:
        return self._case(self.fitted)

    @cached_property
    def _on_held(self) -> tuple[Patches, Patches, float]:
        return self._case(self.held)

    def _case(self, samples: Sequence[Patches]) -> tuple[Patches, Patches, float]:
        """Of *samples*, the patches [groups, K, n], what the layer makes of them, its power."""
        groups, _, columns = samples[0].shape
        x = np.empty((groups, columns, sum(p.shape[1] for p in samples)), np.float32)
        np.concatenate([p.swapaxes(1, 2) for p in samples], axis=2, out=x)
        wanted = self._exact @ x
        return x, wanted, self._power(wanted) or 1.0

    @cached_property
    def _reach(self) -> Patches:
        """By input, what an error in it makes: Σ_o g_o w_o², [groups, K, 1]."""
        gains = self.gains.reshape(len(self._exact), -1, 1).astype(np.float32)
        return np.asarray((np.square(self._exact) * gains).sum(axis=1)[:, :, None], np.float32)

    @cached_property
    def _ends(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Smallest and largest value by input, [groups, K, 1]."""
        if self.extremes is not None:
            return self._by_input(self.extremes[0]), self._by_input(self.extremes[1])
        x, _, _ = self._on_fitted
        return x.min(axis=2, keepdims=True), x.max(axis=2, keepdims=True)

    def _power(self, y: Patches) -> float:
        """Variance of *y* [groups, outputs, n], weighed by g and added up."""
        return float(y.var(axis=2, dtype=np.float64).reshape(-1) @ self.gains)

    def largest(self) -> Array:
        """Largest |x| of each channel, [channels]."""
        low, high = self._ends
        most = np.maximum(np.abs(low), np.abs(high))  # channels run fastest in a patch
        by_group = most.reshape(len(most), -1, rows_shape(self.node)[1]).max(axis=1)
        return np.asarray(by_group.reshape(-1), np.float64)

    @property
    def channels(self) -> int:
        """How many channels it reads."""
        return rows_shape(self.node)[1] * groups_of(self.node)

    def _by_input(self, values: Array) -> Array:
        """*values* [channels] as [groups, K, 1]."""
        groups, columns, _ = self._reach.shape
        by_group = values.reshape(groups, -1)
        return np.tile(by_group, (1, columns // by_group.shape[1]))[:, :, None]

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
            [p for sample, p in state if p.size and (sample % _FOLD == _FOLD - 1) is held]
            for held in (False, True)
        ]
        if not parts[0]:
            continue
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
        result[key] = Measured(
            node, parts[0], parts[1] or parts[0], activation_spec(ctx), weights, gains, chosen
        )
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
