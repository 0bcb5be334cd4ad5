"""Factors of output channels, seen in the weights of a convolution.

With input channels scaled by b and output channels by a, the quantized model's weights are
ŵ_oi ≈ a_o · w_oi / b_i, so that a_o = Σ ŵ·(w/b) / Σ (w/b)², where a batch normalization that was
folded into the one and not into the other is part of w. Rounding of ŵ leaves a_o uncertain by the
root mean square of what is left over ‖a · w/b‖. Weights show the factors of channels that are
silent on a sample, too, but a change of gain for any other reason looks the same: the values have
to confirm it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxq.graph import attribute, constant_value
from onnxq.report.factors import Vector
from onnxq.report.skeleton import Head
from onnxq.report.structure import Side

#: A factor says something where it differs from 1 by this much, and by as many times its error.
_APART, _SURE = 0.05, 4.0
#: Cosine from which the weights of a channel are those of the float model.
_ALIKE = 0.9
#: What may stand between a convolution and the tensor that it is known by.
_BETWEEN = frozenset({"Relu", "Clip", "LeakyRelu", "BatchNormalization"})


def factors_of_weights(
    mine: Side, real: Side, heads: tuple[Sequence[Head], Sequence[Head]], before: Vector | None
) -> Vector | None:
    """Factors [channels] of a tensor with *heads* in both models; None where weights show none.

    *before* has the factors of the input's channels.
    """
    one, two = (_scaled_weight(side, own) for side, own in zip((mine, real), heads, strict=True))
    if one is None or two is None or one.shape != two.shape or one[0].size < 2:
        return None
    if before is not None:
        outer, inner = two.shape[:2]
        if before.size % inner or (groups := before.size // inner) > outer or outer % groups:
            return None
        by = np.repeat(before.reshape(groups, inner), outer // groups, axis=0)
        two = two / by.reshape(outer, inner, *[1] * (two.ndim - 2))
    a, b = one.reshape(len(one), -1), two.reshape(len(two), -1)
    power, cross = np.square(b).sum(1), (a * b).sum(1)
    size = np.sqrt(np.square(a).sum(1) * power)
    alike = cross >= _ALIKE * size
    alike &= size > 0
    if alike.mean() < 0.5:
        return None
    found = np.divide(cross, power, out=np.ones(len(a)), where=alike)
    left = np.sqrt(np.square(a - found[:, None] * b).mean(1))
    error = np.divide(left, found * np.sqrt(power), out=np.zeros(len(a)), where=alike)
    apart = alike & (np.abs(found - 1) > np.maximum(_APART, _SURE * error))
    return found if apart.sum() >= 2 else None


def _scaled_weight(side: Side, heads: Sequence[Head]) -> Vector | None:
    """The weight of the Conv that *heads* end in, times the batch normalizations behind it."""
    gain: Vector | None = None
    for head in heads:
        if head.kind == "Conv":
            weight = side.weight(head.node)
            if weight is None or weight.dtype.kind != "f":
                return None
            full = weight.astype(np.float64)
            if gain is not None and gain.size == len(full):
                full = full * gain.reshape(-1, *[1] * (full.ndim - 1))
            return full
        if head.node.op not in _BETWEEN:
            return None
        if head.node.op == "BatchNormalization":
            scale, variance = (constant_value(head.node.inputs[i]) for i in (1, 4))
            if scale is None or variance is None:
                return None
            epsilon = float(attribute(head.node, "epsilon", 1e-5))
            own = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
            gain = own if gain is None else gain * own
    return None
