"""The clipping range with the least quantization error, searched on the very grid in use.

    E(low, high) = Σ_bins count · |x̂(center; s, z) − center|ᵖ,   (s, z) = affine(low, high, spec)

Both ends are searched, first on a geometric grid of factors √½ apart (ranges of tensors with
outliers shrink by orders of magnitude), then finer around the best. The full range is among the
candidates, so the choice is never worse than min-max on its own histogram.

Where an activation function f alone reads the tensor (``spec.through``), the error is that of
f(x̂) against f(x): SiLU makes nothing of what lies far below zero, so no codes are spent on it.
Source: Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from onnxq.quant.activations import ACTIVATIONS
from onnxq.quant.affine import affine, codes_in_use
from onnxq.quant.search import best_range_for
from onnxq.quant.spec import QuantSpec
from onnxq.quant.states import HistogramState

#: Matrix elements worked on at a time: candidates × bins in float32 fit a second-level cache.
PIECE = 1 << 17


def mse_range(state: HistogramState, spec: QuantSpec, norm: float = 2.0) -> tuple[float, float]:
    """The range (low, high) of least error on *state*, which holds at least one value.

    Args:
        state: the histogram.
        spec: the grid, its limits, symmetry and scale rule included.
        norm: the exponent p; 2 is the mean squared error.
    """
    full = state.counts > 0
    centers, counts = state.centers[full], state.counts[full]
    error = partial(range_errors, centers, counts, spec, norm)
    return best_range_for(state.bounds, spec, error)


def range_errors(
    centers: NDArray[np.float64],
    counts: NDArray[np.int64],
    spec: QuantSpec,
    norm: float,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """E of each candidate range: float64 [k] for *low*, *high* [k] and *centers*, *counts* [n]."""
    scale, zero = affine(low, high, spec)
    qmin, qmax = codes_in_use(spec)
    lowest, highest = (qmin - zero).astype(np.float32), (qmax - zero).astype(np.float32)
    x, share = centers.astype(np.float32), (counts / counts.sum()).astype(np.float32)
    through = _through(spec)
    behind = x if through is None else through(x)
    errors = np.empty(scale.size)
    step = max(1, PIECE // x.size)
    for i in range(0, scale.size, step):
        part = slice(i, i + step)
        s = scale[part, None]
        codes = x / s
        if not spec.dtype.floating:
            np.rint(codes, out=codes)
        np.clip(codes, lowest[part, None], highest[part, None], out=codes)
        if spec.dtype.floating:
            codes = codes.astype(spec.dtype.numpy).astype(np.float32)
        codes *= s
        if through is None:
            codes -= x
        else:
            codes = through(codes) - behind
        if norm == 2.0:
            np.square(codes, out=codes)
        else:
            codes = np.abs(codes, out=codes) ** np.float32(norm)
        errors[part] = codes @ share
    return errors


def _through(spec: QuantSpec) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
    """The function that alone reads the tensor, s · f(x / s); None where it is read as it is."""
    if spec.through is None:
        return None
    function, scale = ACTIVATIONS[spec.through], np.float32(spec.through_scale)
    if scale == 1:
        return function
    return lambda x: scale * function(x / scale)
