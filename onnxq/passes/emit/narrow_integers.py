"""narrow-integers: tables of indices are stored in the bytes that their values need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, constant_value
from onnxq.passes.emit._widened import Widener
from onnxq.pipeline import Context, Pass, Stage

_NARROW = (np.uint8, np.int8, np.uint16, np.int16, np.int32)


@dataclass(frozen=True, kw_only=True)
class NarrowIntegers(Pass):
    """Store tables of int64 in fewer bytes, and widen them when the model is loaded.

    What it does
        A table of int64 becomes the narrowest integer type that holds its values, with a Cast
        behind it.

    Why
        Exporters write indices as int64, eight bytes each, though few exceed a byte: where a
        network writes into parts of a tensor, they may take more than its weights.

    Example
        ``y = Gather(x, i)``  becomes  ``j = Cast<to = INT64>(i8)  y = Gather(x, j)``.

    When it declines
        Targets that do not compute a Cast of a constant when they load a model; tables that both a
        graph and a sub-graph read; what operators of other domains read.

    Numerics
        Exact.

    Source
        ONNX operator Cast-13; that ONNX Runtime folds it was seen on optimized graphs.

    Attributes:
        least: bytes that have to be saved; a Cast takes about a hundred.
    """

    name: ClassVar[str] = "narrow-integers"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = 0.0

    least: int = 512

    def run(self, model: Model, ctx: Context) -> None:
        if not ctx.target.folds_casts:
            return
        widener = Widener(model)
        for tensor in widener.constants():
            size = int(np.prod(tensor.shape))
            if tensor.dtype != np.int64 or 7 * size < self.least:
                continue
            kind = _narrowest(tensor)
            if size * (8 - kind.itemsize) < self.least:
                continue
            if reason := widener.cannot(tensor):
                ctx.decline(tensor.name, reason)
            else:
                value = constant_value(tensor)
                assert value is not None
                widener.store(tensor, value.astype(kind), "narrow")


def _narrowest(tensor: gs.Constant) -> np.dtype[Any]:
    """The type of fewest bytes that holds all values of *tensor*."""
    value = constant_value(tensor)
    assert value is not None
    low, high = int(value.min()), int(value.max())
    for kind in _NARROW:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return value.dtype
