"""Writes the nodes of a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

#: Float types that hold whole numbers: of so many bits, with a sign, exactly in sums and products.
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
EXACT = {SINGLE: 24, DOUBLE: 53}


@dataclass
class Writer:
    """Nodes and constants of a graph; names that it makes begin with that of the current *step*."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)
    step: str = ""
    taken: set[str] = field(default_factory=set)
    _constants: dict[tuple[str, bytes, tuple[int, ...]], str] = field(default_factory=dict)

    def node(
        self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        """Append a node with one output; the name of that."""
        output = output or self.name(op.lower())
        name = self.name(f"{op.lower()}_node")
        self.nodes.append(helper.make_node(op, list(inputs), [output], name, **attributes))
        return output

    def cast(self, tensor: str, dtype: np.dtype[Any], output: str | None = None) -> str:
        """*tensor* as *dtype*."""
        return self.node("Cast", [tensor], output, to=helper.np_dtype_to_tensor_dtype(dtype))

    def constant(self, value: Any, dtype: Any, name: str | None = None) -> str:
        """A stored tensor; equal ones are stored once unless they have a *name*."""
        array: NDArray[Any] = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        key = (array.dtype.str, array.tobytes(), array.shape)
        if name is not None or key not in self._constants:
            name = name or self.name("constant")
            self.stored.append(numpy_helper.from_array(array, name))
            if key in self._constants:
                return name
            self._constants[key] = name
        return self._constants[key]

    def name(self, base: str) -> str:
        """A name that nothing has."""
        found, count = f"{self.step}__{base}", 1
        while found in self.taken:
            count += 1
            found = f"{self.step}__{base}_{count}"
        self.taken.add(found)
        return found
