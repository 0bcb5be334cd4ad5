"""Statistics of tensors: extremes, moments, histogram, clipping and noise, over all samples.

Extremes of values, all sums and counts are taken in the run over all values. Histograms, and
extremes, skew and kurtosis of the noise, come from values spread evenly over each tensor, a bounded
number of each sample; the report says how many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, log10, sqrt
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.quant import QParams
from onnxq.report.grids import bounds
from onnxq.report.groups import Group
from onnxq.report.nodes import Graph
from onnxq.report.reductions import Reducer

#: Values of a tensor that one sample contributes to histograms; of all samples together at most.
SPREAD, MOST_VALUES = 1024, 1 << 16
BINS = 64
MOST_CHANNELS = 2048

_REDUCED = {"min": "ReduceMin", "max": "ReduceMax", "sum": "ReduceSum", "square": "ReduceSumSquare"}


def channel_axis(group: Group) -> int:
    """The axis along which the layer *group* has a bias."""
    return -1 if group.op_type in ("MatMul", "Gemm") else 1


def hand_out(
    reducer: Reducer,
    graph: Graph,
    tensor: str,
    noise: str | None,
    axis: int,
    qparams: QParams | None,
) -> None:
    """Add the reductions of *tensor*, a tensor of the float model *graph*, and of its *noise*."""
    for kind, op in _REDUCED.items():
        reducer.scalar((kind, tensor), op, tensor)
    reducer.size(("size", tensor), tensor)
    if tensor in reducer.shapes:
        reducer.spread(("values", tensor), tensor, SPREAD)
    if qparams is not None and qparams.axis is None:
        _clipping(reducer, graph, tensor, qparams)
    if noise is None:
        return
    reducer.scalar(("noise square", tensor), "ReduceSumSquare", noise)
    shape = reducer.shapes.get(noise, ())
    if shape:
        reducer.spread(("noise values", tensor), noise, SPREAD)
    if len(shape) > 1 and shape[axis] <= MOST_CHANNELS:
        reducer.channels(("noise channels", tensor), noise, axis % len(shape))
    else:
        reducer.scalar(("noise sum", tensor), "ReduceSum", noise)


def _clipping(reducer: Reducer, graph: Graph, tensor: str, qparams: QParams) -> None:
    """Count the values of *tensor* beyond the outermost codes by more than half a step."""
    low, high = qparams.real_range
    half = float(qparams.scale) / 2
    least, most = bounds(graph, tensor)
    sides = (("low", "Less", low - half, least < low - half),
             ("high", "Greater", high + half, most > high + half))  # fmt: skip
    for side, op, limit, possible in sides:
        if possible:
            beyond = reducer.node(op, [tensor, reducer.constant(np.float32(limit))], like=tensor)
            count = reducer.node("Cast", [beyond], like=tensor, to=onnx.TensorProto.FLOAT)
            reducer.scalar((f"clipped {side}", tensor), "ReduceSum", count)


@dataclass
class Totals:
    """What runs handed out, over samples.

    Attributes:
        samples: how many.
        numbers: sums and extremes, by key.
        vectors: sums by channel and spread values, by key.
        nonfinite: by key, samples left out since NaN or Inf was among their values.
    """

    samples: int = 0
    numbers: dict[tuple[str, str], float] = field(default_factory=dict)
    vectors: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    nonfinite: dict[tuple[str, str], int] = field(default_factory=dict)
    _values: dict[tuple[str, str], list[NDArray[np.float32]]] = field(default_factory=dict)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, found: Mapping[Any, Any]) -> None:
        """Take in one sample."""
        for key, value in found.items():
            kind = key[0]
            if kind.endswith("values"):
                self._keep(key, value)
            elif kind.endswith("channels"):
                held = self.vectors.get(key)
                if held is None or held.shape == value.shape:
                    self.vectors[key] = value if held is None else held + value
                else:  # their number varies: they are no channels
                    self.vectors[key] = np.zeros(0)
            elif not isfinite(value):
                self.nonfinite[key] = self.nonfinite.get(key, 0) + 1
            elif key not in self.numbers:
                self.numbers[key] = value
            elif kind.endswith("min"):
                self.numbers[key] = min(self.numbers[key], value)
            elif kind.endswith("max"):
                self.numbers[key] = max(self.numbers[key], value)
            else:
                self.numbers[key] += value

    def _keep(self, key: tuple[str, str], values: NDArray[np.float64]) -> None:
        room = MOST_VALUES - self._counts.get(key, 0)
        part = values[:room].astype(np.float32)
        self._values.setdefault(key, []).append(part[np.isfinite(part)])
        self._counts[key] = self._counts.get(key, 0) + part.size

    def values(self, key: tuple[str, str]) -> NDArray[np.float64]:
        """The spread values of *key*."""
        kept = self._values.get(key)
        return np.concatenate(kept).astype(np.float64) if kept else np.zeros(0)

    def get(self, kind: str, name: str) -> float | None:
        """The number *kind* of *name*; None where there is none."""
        return self.numbers.get((kind, name))


def describe_tensor(totals: Totals, tensor: str, qparams: QParams | None) -> dict[str, Any]:
    """The entry of *tensor* in the report's ``tensors``."""
    size = totals.get("size", tensor) or 0.0
    total, square = totals.get("sum", tensor), totals.get("square", tensor)
    entry: dict[str, Any] = {
        "dtype": None if qparams is None else qparams.dtype.name,
        "scale": None if qparams is None or qparams.axis is not None else float(qparams.scale),
        "zero_point": (
            None if qparams is None or qparams.axis is not None else int(qparams.zero_point)
        ),
        "range": None if qparams is None else list(qparams.real_range),
        "float": {"min": totals.get("min", tensor), "max": totals.get("max", tensor)}
        | _mean_std(total, square, size),
        "histogram": _histogram(totals, tensor),
        "noise": None,
        "channel_noise_mean": None,
        "bias_potential_db": None,
        "clipped": None,
    }
    if qparams is not None and qparams.axis is None and size:
        entry["clipped"] = clipped(totals, tensor)
    if totals.get("noise square", tensor) is not None:
        entry |= _noise(totals, tensor, size)
    return entry


def clipped(totals: Totals, tensor: str) -> dict[str, float] | None:
    """Fractions of the values of *tensor* below and above what its codes reach."""
    size = totals.get("size", tensor)
    if not size:
        return None
    return {side: (totals.get(f"clipped {side}", tensor) or 0.0) / size for side in ("low", "high")}


def _mean_std(total: float | None, square: float | None, size: float) -> dict[str, float | None]:
    if total is None or square is None or not size:
        return {"mean": None, "std": None}
    mean = total / size
    return {"mean": mean, "std": sqrt(max(square / size - mean * mean, 0.0))}


def _histogram(totals: Totals, tensor: str) -> dict[str, Any] | None:
    values = totals.values(("values", tensor))
    low, high = totals.get("min", tensor), totals.get("max", tensor)
    if not values.size or low is None or high is None:
        return None
    counts, edges = np.histogram(values, BINS, (low, high) if high > low else None)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "values": int(values.size)}


def _noise(totals: Totals, tensor: str, size: float) -> dict[str, Any]:
    channels = totals.vectors.get(("noise channels", tensor), np.zeros(0))
    square = totals.get("noise square", tensor) or 0.0
    total = float(channels.sum()) if channels.size else totals.get("noise sum", tensor)
    values = totals.values(("noise values", tensor))
    noise = {
        "min": float(values.min()) if values.size else None,
        "max": float(values.max()) if values.size else None,
    }
    found: dict[str, Any] = {
        "noise": noise | _mean_std(total, square, size) | _shape(values) | {"values": values.size}
    }
    if channels.size and size:
        count = size / channels.size
        left = square - float(np.square(channels).sum()) / count
        found["channel_noise_mean"] = (channels / count).tolist()
        if square > 0.0:
            # what float32 sums cannot tell from nothing counts as 60 dB
            found["bias_potential_db"] = -10.0 * log10(max(left / square, 1e-6))
    return found


def _shape(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Skew, and kurtosis beyond the normal distribution's, of *values*."""
    spread = float(values.std()) if values.size else 0.0
    if spread == 0.0:
        return {"skew": None, "kurtosis": None}
    z = (values - values.mean()) / spread
    square = z * z  # powers by multiplication: a hundred times as fast as np.power
    return {"skew": float((square * z).mean()), "kurtosis": float((square * square).mean() - 3.0)}
