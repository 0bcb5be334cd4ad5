"""What each operator makes of the points that it reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxq.calibrate.datafree import linear
from onnxq.calibrate.datafree.moves import MOVES, join, move
from onnxq.calibrate.datafree.points import Points, Vector, merged, normal, quantiles, shuffled
from onnxq.calibrate.datafree.site import Site, as_array, extents, with_rank

Found = dict[str, Points]
"""Points of outputs, by name; empty where the rule does not apply."""

ELEMENTWISE = (
    "Abs", "Add", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg",
    "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
    "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu",
)  # fmt: skip
SAME = ("Identity", "Dropout", "Resize", "Upsample")
"""Operators that select or repeat values within a channel."""
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
NORMALIZATIONS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization",
                  "RMSNormalization")  # fmt: skip
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")


def apply(site: Site) -> Found:
    """Points of the outputs of *site*; empty where no rule tells."""
    rule = _RULES.get(site.node.op_type)
    return {} if rule is None or site.node.domain not in ("", "ai.onnx") else rule(site)


def _elementwise(site: Site) -> Found:
    """The points themselves: one that comes from one tensor is the same draw in both operands."""
    if not site.complete:
        return {}
    rank = len(site.shape)
    inputs = {n: as_array(with_rank(p, rank)) for n, p in site.points.items()}
    if any(v.ndim > rank for v in site.constants.values()):
        return {}
    return {n: np.asarray(v, np.float32) for n, v in site.run(inputs).items()}


def _same(site: Site) -> Found:
    x, shape = site.x(), site.shape
    if x is None or len(shape) != x.ndim - 1:
        return {}
    fits = zip(extents(x), shape, site.shapes[site.node.input[0]], strict=True)
    changed = tuple(i for i, (d, now, before) in enumerate(fits) if d > 1 and now != before)
    return {site.name: merged(x, changed, site.name)}


def _pad(site: Site) -> Found:
    """Channels that are added hold zeros; a few zeros at the borders do not count."""
    x = site.x()
    given = site.constant(1)
    pads = site.attributes.get("pads") if given is None else given.tolist()
    rank = len(site.shape)
    if x is None or pads is None or len(pads) != 2 * rank or min(pads) < 0:
        return {}
    value = site.constant(2)
    fill = float(site.attributes.get("value", 0.0) if value is None else value.item())
    before = site.shapes[site.node.input[0]]
    apart = [i for i, d in enumerate(extents(x)) if d > 1 or (i == 1 and before[i] > 1)]
    apart = [i for i in apart if pads[i] or pads[i + rank]]
    wide = [before[i] if i in apart else d for i, d in enumerate(extents(x))]
    x = np.broadcast_to(x, (len(x), *wide))
    width = [(pads[i], pads[i + rank]) if i in apart else (0, 0) for i in range(rank)]
    return {site.name: np.pad(x, [(0, 0), *width], constant_values=fill)}


def _largest(site: Site) -> Found:
    """Largest values of windows: k neighbours, which are alike, count as √k independent ones."""
    x = site.x()
    if x is None or (site.node.op_type == "MaxPool" and len(site.node.output) > 1):
        return {}
    spatial = tuple(range(2, x.ndim - 1))
    window = site.attributes.get("kernel_shape") or site.shapes[site.node.input[0]][2:]
    found = x = merged(x, spatial, site.name)
    for i in range(1, round(float(np.prod(window)) ** 0.5)):
        found = np.maximum(found, np.roll(x, i * len(x) // 7, axis=0))
    return {site.name: found}


def _average(site: Site) -> Found:
    """Means over windows: neighbours are alike, so that k values count as √k independent ones."""
    x = site.x()
    before = site.shapes[site.node.input[0]]
    if x is None:
        return {}
    if site.node.op_type == "AveragePool":
        window = float(np.prod(site.attributes["kernel_shape"]))
        return {site.name: _towards_mean(merged(x, tuple(range(2, x.ndim - 1)), site.name), window)}
    axes = tuple(range(2, x.ndim - 1))
    keep = True
    if site.node.op_type == "ReduceMean":
        given = site.constant(1)
        named = site.attributes.get("axes") if given is None else given.tolist()
        axes = tuple(a % len(before) for a in (named or range(len(before))))
        keep = bool(site.attributes.get("keepdims", 1))
    alike = tuple(a for a in axes if x.shape[a + 1] == 1)
    apart = tuple(a + 1 for a in axes if x.shape[a + 1] > 1)
    found = _towards_mean(x, float(np.prod([before[a] for a in alike])))
    if apart:  # channels are independent: their mean is that of the draws
        found = np.asarray(found.mean(axis=apart, keepdims=True), np.float32)
    if not keep:
        found = found.reshape(len(x), *[d for i, d in enumerate(extents(found)) if i not in axes])
    return {site.name: found}


def _towards_mean(x: Points, values: float) -> Points:
    mean = x.mean(axis=0, keepdims=True)
    return np.asarray(mean + (x - mean) / np.float32(values**0.25), np.float32)


def _linear(site: Site) -> Found:
    x, w, bias, op = site.x(), site.constant(1), site.constant(2), site.node.op_type
    if x is None or w is None:
        y = site.x(1)
        if op != "MatMul" or x is None or y is None:
            return {}
        found = linear.product(x, y, site.shapes[site.node.input[0]][-1])
        return {site.name: normal(*_deviation(found), site.name)}
    given, name = site.attributes, site.name
    if op == "Conv":
        found = linear.conv(x, w, bias, given, name)
    elif op == "ConvTranspose":
        found = linear.conv_transpose(x, w, bias, given, name)
    elif w.ndim != 2 or given.get("transA", 0):
        return {}
    else:
        w = w.T if given.get("transB", 0) else w
        w = w * given.get("alpha", 1.0)
        bias = None if bias is None else np.broadcast_to(bias, (1, w.shape[1]))
        bias = None if bias is None else bias * given.get("beta", 1.0)
        found = linear.matrix(x, w, bias, name)
    return {name: normal(*_deviation(found), name)}


def _deviation(found: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
    return found[0], np.sqrt(found[1])


def _normalization(site: Site) -> Found:
    """What training, or the layer itself, makes of it: mean β and deviation |γ|."""
    batch = site.node.op_type in ("BatchNormalization", "InstanceNormalization")
    scale, bias = site.constant(1), site.constant(2)
    if scale is None or scale.ndim != 1:
        return {}
    shape = [1] * len(site.shape)
    shape[1 if batch else -1] = -1
    shift = np.zeros_like(scale) if bias is None else bias
    spread = np.abs(scale.astype(np.float64))
    if site.node.op_type == "BatchNormalization":
        variance = site.constant(4)
        if variance is None:
            return {}
        variance = variance.astype(np.float64)
        spread = spread * np.sqrt(variance / (variance + site.attributes.get("epsilon", 1e-5)))
    mean = shift.astype(np.float64).reshape(shape)
    return {site.name: normal(mean, spread.reshape(shape), site.name)}


def _softmax(site: Site) -> Found:
    """Shares of n classes: u^(n−1) of a uniform u lies from 0 to 1 and has the mean 1/n."""
    axis = int(site.attributes.get("axis", -1))
    uniform = (quantiles().argsort() + 0.5) / len(quantiles())
    uniform[[0, -1]] = 0.0, 1.0
    shape = (-1, *[1] * len(site.shape))
    return {site.name: shuffled((uniform ** (site.shape[axis] - 1)).reshape(shape), site.name)}


def _gather(site: Site) -> Found:
    """Rows of a stored table, each as likely; of computed values, a move."""
    table = site.constant(0)
    if table is None:
        return move(site)
    if site.attributes.get("axis", 0) != 0 or table.dtype.kind != "f" or not table.size:
        return {}
    which = np.random.default_rng(0).integers(0, len(table), len(quantiles()))
    rows = table[which]
    lead = len(site.shape) - (table.ndim - 1)
    return {site.name: rows.reshape(len(rows), *[1] * lead, *table.shape[1:]).astype(np.float32)}


Rule = Callable[[Site], Found]
_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), _largest),
    "Pad": _pad,
    **dict.fromkeys(AVERAGES, _average),
    **dict.fromkeys(MOVES, move),
    **dict.fromkeys(LAYERS, _linear),
    **dict.fromkeys(NORMALIZATIONS, _normalization),
    "Softmax": _softmax,
    "Concat": join,
    "Gather": _gather,
}
