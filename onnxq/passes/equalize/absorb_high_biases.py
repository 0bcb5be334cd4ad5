"""The pass ``absorb-high-biases``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.calibrate.channel_extremes import ChannelExtremes
from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model, attribute, constant_value
from onnxq.passes._reads import reads_of
from onnxq.passes._scope import Scope, present
from onnxq.passes.equalize._chain import Chain, cannot_change, chains, flattens, rename
from onnxq.passes.equalize._ends import Array, groups_of, rows_of
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.eligibility import clamp
from onnxq.quant.patches import Window

_LAYERS = ("Conv", "Gemm")


@dataclass(frozen=True, kw_only=True)
class AbsorbHighBiases(Pass):
    """Take what a channel never falls below out of it, into the bias of the layer that reads it.

    What it does
        A channel of ``z = W₁ x + b₁`` that never falls below c > 0 on the calibration data is not
        cut by the ReLU behind it, and its constant part c need not be in the tensor::

            b₁' = b₁ − c        b₂' = b₂ + W₂ c

        summed over the window of W₂. Between the ReLU and the reader there may be what hands a
        constant on: pooling, Dropout, Flatten. c is the smallest value that was seen.

    Why
        Equalization multiplies biases together with weights, and a channel with a large bias sets
        the range of the tensor though it varies little.

    Example
        ``Conv(x, w, b)  Relu  Conv(v, d)``  becomes
        ``Conv(x, w, b − c)  Relu  Conv(v, d + v·c)``.

    When it declines
        No channel stays above 0; the ReLU has an upper bound; the reader, or the pooling, pads
        with zeros, from which c would be missing; the tensor is an output of the graph, is read
        twice, or reaches something else; a bias or the weight of the reader is shared or computed.

    Numerics
        The same function up to rounding in float32 on every value that calibration saw. A value z
        below c, which it did not see, counts as c: an error of at most c.

    Source
        Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
        Correction", section 4.1.3, where c is β − 3γ of a batch-norm: what 99.87 % of a normal
        distribution lie above. Here it is measured.
    """

    name: ClassVar[str] = "absorb-high-biases"
    stage: ClassVar[Stage] = Stage.EQUALIZE
    preserves: ClassVar[float | None] = 1e-4
    needs_samples: ClassVar[bool] = True

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        """Channel extremes in front of each ReLU that would do."""
        return {
            chain.source.outputs[0].name: (ChannelExtremes(),)
            for chain, reason in _candidates(Scope(model))
            if not reason
        }

    def run(self, model: Model, ctx: Context) -> None:
        """Move the smallest values of channels from one bias to the other, pair by pair."""
        scope = Scope(model)
        # what was measured in front of all pairs holds: a pair changes nothing outside of itself
        for chain, reason in list(_candidates(scope)):
            if reason or chain.reader is None:
                ctx.decline(chain.source, reason)
                continue
            seen = ctx.statistics.get(chain.source.outputs[0].name, ChannelExtremes())
            c = np.maximum(np.nan_to_num(seen.low.astype(np.float64)), 0.0)
            if not c.any():
                ctx.decline(chain.source, "no channel stays above 0 on the samples")
                continue
            _add_bias(scope, chain.source, -c)
            _add_bias(scope, chain.reader, _read(chain.reader, c))
            rename(scope, chain, ctx, "absorbed", c.size)


def _candidates(scope: Scope) -> Iterator[tuple[Chain, str]]:
    """Layers with a ReLU behind them, and why they are left alone; empty where they are not."""
    for chain in chains(scope, _LAYERS, _LAYERS, _passes):
        bounds = clamp(chain.between[0]) if chain.between and _clamps(chain.between[0]) else None
        if bounds is None or bounds[0] != 0.0:
            continue
        if np.isfinite(bounds[1]):
            reason = f"'{chain.between[0].name}' has an upper bound, {bounds[1]:g}"
        elif chain.reader is None:
            reason = chain.reason
        elif any(_clamps(node) for node in chain.between[1:]):
            reason = "there is more than one ReLU behind it"
        else:
            reason = (
                cannot_change(scope, chain.source)
                or cannot_change(scope, chain.reader)
                or _pads(chain.reader)
            )
        yield chain, reason


def _clamps(node: gs.Node) -> bool:
    return node.op in ("Relu", "Clip")


def _passes(node: gs.Node) -> bool:
    """Whether ``f(x + c) = f(x) + c`` for a constant of each channel, or it is a ReLU."""
    if node.op == "AveragePool":
        padded = any(attribute(node, "pads", None) or ()) or attribute(node, "ceil_mode", 0)
        padded = padded or "SAME" in str(attribute(node, "auto_pad", "NOTSET"))
        return not padded or not attribute(node, "count_include_pad", 0)
    same = ("MaxPool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Dropout")
    return node.op in same or flattens(node) or _clamps(node)


def _pads(node: gs.Node) -> str:
    reads = reads_of(node)
    if not isinstance(reads, Window):
        return ""
    if any(reads.pads) or reads.auto_pad.startswith("SAME"):
        return f"'{node.name}' pads its input with zeros"
    return ""


def _read(node: gs.Node, c: Array) -> Array:
    """What *node* makes of channels that are constant, *c* [channels], but for its bias."""
    rows = rows_of(node)
    rows = rows.reshape(len(rows), -1, rows.shape[2] * rows.shape[1] * groups_of(node) // c.size)
    by_group = rows.sum(axis=2).reshape(groups_of(node), -1, rows.shape[1])
    read = np.einsum("gmc,gc->gm", by_group, c.reshape(groups_of(node), -1)).reshape(-1)
    return np.asarray(read * float(attribute(node, "alpha", 1.0)))


def _add_bias(scope: Scope, node: gs.Node, shift: Array) -> None:
    """Add *shift* [outputs] to what *node* computes."""
    old = constant_value(node.inputs[2]) if present(node, 2) else None
    added = shift / float(attribute(node, "beta", 1.0))
    bias = added if old is None else old.astype(np.float64) + added
    base = f"{node.name or node.outputs[0].name}__bias"
    scope.set_constant(node, 2, bias.astype(np.float32), base)
