"""Whether two runs gave the same outputs, within a tolerance.

The error of a floating-point output is its largest deviation relative to its largest magnitude:

    e = max|a − b| / max|a|

Values that are NaN, or the same infinity, in both are equal. For integer and other outputs it is
the share of values that differ, of which one in a hundred is let pass: a decision between two
nearly equal numbers may fall either way. Where a model computes in half precision, its own rounding
is the least that is let pass. A deviation of a few times the spacing of float32 at 1 is always let
pass: the foot of a Sigmoid or of a Softmax consists of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model

Outputs = Mapping[str, NDArray[np.generic]]


class Compare(Protocol):
    """Runs a model on a few real samples: output name (or name and sample) to values."""

    def __call__(self, model: Model, *, optimize: bool = True) -> Outputs:
        """Outputs of *model*; without *optimize* node by node, in the order that it names."""


DECISIONS = 0.01
"""Share of the values of an integer output that may differ."""

HALF = 4 * 2.0**-10
"""Four steps of float16 at 1: what the rounding of a few layers in half precision comes to."""

_TINY = 1e-30
_FEW = 4 * float(np.finfo(np.float32).eps)
_TIMES = 32.0
"""How much more than the model's own rounding is let pass: kernels add up in other orders, too."""


def worst(
    before: Outputs, after: Outputs, tolerance: float, rounded: Outputs | None = None
) -> tuple[str, float]:
    """The output that exceeds *tolerance* most, and its error; ``("", 0.0)`` where none does.

    With *rounded*, the outputs of *before* when they are computed in another order, several times
    the error between these two is let pass: no more can be asked of a model that magnifies its own
    rounding.
    """
    own: dict[str, float] = {}
    for key, other in ({} if rounded is None else rounded).items():
        own[_output(key)] = max(own.get(_output(key), 0.0), error_of(before[key], other))
    name, excess, found = "", 1.0, 0.0
    for key, a in before.items():
        b = after.get(key)
        error = float("inf") if b is None else error_of(a, b, _FEW)
        allowed = tolerance if np.issubdtype(a.dtype, np.inexact) else DECISIONS
        if a.dtype == np.float16:
            allowed = max(allowed, HALF)
        allowed = max(allowed, _TIMES * own.get(_output(key), 0.0))
        ratio = error / max(allowed, _TINY)
        if error > allowed and ratio > excess:
            name, excess, found = key, ratio, error
    return name, found


def _output(key: str) -> str:
    """The output that *key* is about, whatever the sample."""
    return key.split(" (sample ", maxsplit=1)[0]


def rounding_of(model: Model, least: float) -> float:
    """What *model* loses by rounding: *least*, or ``HALF`` where it holds float16 constants."""
    for node in model.nodes():
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and tensor.dtype == np.float16:
                return max(least, HALF)
    return least


def error_of(a: NDArray[np.generic], b: NDArray[np.generic], least: float = 0.0) -> float:
    """The error e of *b* against *a* (any equal shapes), infinite where the shapes differ.

    It is 0 where nothing deviates by more than *least*.
    """
    if a.shape != b.shape:
        return float("inf")
    if a.size == 0:
        return 0.0
    if not np.issubdtype(a.dtype, np.inexact):
        return float(np.mean(a != b))
    x, y = a.astype(np.float64), b.astype(np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    if not np.isfinite(x[~same]).all() or not np.isfinite(y[~same]).all():
        return float("inf")
    if same.all():
        return 0.0
    size = np.abs(x[np.isfinite(x)]).max(initial=0.0)
    apart = float(np.abs(x[~same] - y[~same]).max())
    return 0.0 if apart <= least else apart / max(size, _TINY)
