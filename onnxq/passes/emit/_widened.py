"""Constants stored in fewer bytes, with a Cast behind them that is computed at load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, consumers, insert_node, replace_input
from onnxq.passes._scope import Scope, is_standard
from onnxq.pipeline import Context


class Widener:
    """Exchanges constants of one model, for one run of a pass."""

    def __init__(self, model: Model) -> None:
        self.model, self.scope = model, Scope(model)

    def constants(self, left: frozenset[str] = frozenset()) -> Iterator[gs.Constant]:
        """The constants that nodes read, each once; not those that a node called in *left* reads.

        Those that an operator of another domain reads are left out.
        """
        seen: set[int] = set()
        for node in list(self.model.nodes()):
            for tensor in list(node.inputs):
                if id(tensor) in seen or not isinstance(tensor, gs.Constant):
                    continue
                seen.add(id(tensor))
                readers = [n for n, _ in consumers(tensor)]
                if all(is_standard(n) and n.name not in left for n in readers):
                    yield tensor

    def cannot(self, tensor: gs.Constant) -> str:
        """Why no Cast can stand behind *tensor*; empty where one can."""
        homes = {id(self.scope.graph(node)) for node, _ in consumers(tensor)}
        if len(homes) != 1 or self.scope.is_output(tensor):
            return "a graph and a sub-graph read it"
        return ""

    def store(self, tensor: gs.Constant, values: NDArray[Any], how: str) -> None:
        """Let what reads *tensor* read a Cast of *values*; *how* is part of the new name."""
        model, readers = self.model, consumers(tensor)
        kind = np.dtype(tensor.dtype)
        stored = gs.Constant(model.unique_name(f"{tensor.name}__{how}"), values)
        wide = gs.Variable(model.unique_name(f"{tensor.name}__wide"), kind, tensor.shape)
        insert_node(
            model, "Cast", [stored], [wide], {"to": onnx.helper.np_dtype_to_tensor_dtype(kind)},
            name=model.unique_name(f"{tensor.name}__widen"), graph=self.scope.graph(readers[0][0]),
        )  # fmt: skip
        for node, index in readers:
            replace_input(node, index, wide)


def excluded_exactly(ctx: Context) -> frozenset[str]:
    """Nodes that are to stay as they are: excluded, and given no precision."""
    return frozenset(ctx.plan.excluded.keys() - ctx.plan.precisions.keys())
