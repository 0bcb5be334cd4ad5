"""Constants that hold the codes of weights, made when they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.graph.deferred import Deferred, peek
from onnxq.pipeline import Context

Turn = Callable[[NDArray[Any]], NDArray[Any]]


class Codes:
    """Makes the constants of one run of a pass; those of one name are made once."""

    def __init__(self, model: Model, ctx: Context) -> None:
        self.model, self.ctx = model, ctx
        self._made: dict[str, gs.Constant] = {}

    def constant(self, name: str, value: NDArray[Any]) -> gs.Constant:
        """A stored *value* called *name*."""
        if name not in self._made:
            own = np.array(value, order="C")
            self._made[name] = gs.Constant(self.model.unique_name(name), own)
        return self._made[name]

    def of(
        self,
        weight: gs.Constant,
        shape: tuple[int, ...],
        turn: Turn | None = None,
        as_: str = "",
        dtype: np.dtype[Any] | None = None,
    ) -> gs.Constant:
        """The codes of *weight*, put into *shape* by *turn* (reshaped, where None).

        *as_* tells apart what one weight is turned into; *dtype* is what it has then, where that
        is not the codes' own.
        """
        name = weight.name
        key = f"{name}__q{as_}"
        if key not in self._made:
            blocks, source = self.ctx.blocks[name], gs.Constant(name, weight._values)
            chosen = self.ctx.integers.get(name)

            def compute() -> NDArray[Any]:
                codes = blocks.quantize(peek(source)) if chosen is None else np.asarray(chosen)
                return np.ascontiguousarray(codes.reshape(shape) if turn is None else turn(codes))

            values = Deferred(shape, dtype or blocks.stored, compute)
            self._made[key] = gs.Constant(self.model.unique_name(key), values)
        return self._made[key]
