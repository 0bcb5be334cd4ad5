"""Nodes for measurements, written into the message of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass
class Writer:
    """Appends nodes to *graph*, of the opset given; names begin with *prefix*.

    Where there are *rows*, an axis and k, ``some`` takes each k-th index of that axis.
    """

    graph: onnx.GraphProto
    prefix: str
    opset: int
    rows: tuple[int, int] | None = None
    count: int = field(default=0)

    def __call__(
        self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        output = output or self._name()
        self.graph.node.append(
            helper.make_node(op, list(inputs), [output], self._name(), **attributes)
        )
        return output

    def constant(self, value: float | Sequence[int]) -> str:
        kind = np.float32 if isinstance(value, float) else np.int64
        name = self._name()
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def some(self, tensor: str) -> str:
        """Of *tensor* the rows that are looked at."""
        if self.rows is None:
            return tensor
        axis, step = self.rows
        # from behind: a start in front of the first row means that row, however few there are
        ends = ([-1 - step // 2], [np.iinfo(np.int64).min], [axis], [-step])
        return self("Slice", [tensor, *(self.constant(e) for e in ends)])

    def mean(self, tensor: str, axes: list[int], output: str | None = None) -> str:
        if self.opset < 18:
            return self("ReduceMean", [tensor], output, axes=axes)
        return self("ReduceMean", [tensor, self.constant(axes)], output)

    def _name(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.count}"
