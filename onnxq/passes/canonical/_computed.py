"""Values of tensors that depend on nothing but stored constants, without changing the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, constant_value, producer
from onnxq.passes._scope import is_standard
from onnxq.passes.canonical._evaluate import Refusal, evaluate

_GROWTH = 1 << 23
_LEFT = frozenset((
    "Bernoulli", "DequantizeLinear", "Dropout", "DynamicQuantizeLinear", "If", "Loop",
    "Multinomial", "QuantizeLinear", "RandomNormalLike", "RandomUniformLike", "Scan",
))  # fmt: skip
"""Random, or marks of quantization."""


class Computed:
    """Evaluates tensors of *model*, whose nodes are in order, each at most once."""

    def __init__(self, model: Model) -> None:
        self._opset = model.opset
        self._fixed: dict[int, gs.Tensor] = {}
        for node in model.nodes():
            read = [t for t in node.inputs if t.name]
            fixed = all(isinstance(t, gs.Constant) or id(t) in self._fixed for t in read)
            given = bool(read) or node.op == "Constant"
            if given and fixed and is_standard(node) and node.op not in _LEFT:
                self._fixed.update({id(t): t for t in node.outputs})
        # the tensor is kept beside its value, so that its id cannot be given to another one
        self._known: dict[int, tuple[gs.Tensor, NDArray[Any] | None]] = {}

    def value(self, tensor: gs.Tensor) -> NDArray[Any] | None:
        """The value of *tensor*; None where an input of the model reaches it."""
        if isinstance(tensor, gs.Constant):
            return constant_value(tensor)
        if id(tensor) not in self._fixed:
            return None
        if id(tensor) not in self._known:
            self._known[id(tensor)] = tensor, self._evaluate(tensor)
        return self._known[id(tensor)][1]

    def _evaluate(self, tensor: gs.Tensor) -> NDArray[Any] | None:
        node = producer(tensor)
        assert node is not None, tensor.name
        given = {id(t): self.value(t) for t in node.inputs if t.name}
        if any(v is None for v in given.values()):
            return None
        slot = next(i for i, t in enumerate(node.outputs) if t is tensor)
        return self.apply(node, given)[slot]

    def apply(
        self, node: gs.Node, given: dict[int, NDArray[Any] | None]
    ) -> list[NDArray[Any] | None]:
        """What *node* makes of values by the id of its input; None where that is not known."""
        inputs = [
            gs.Constant(t.name, np.asarray(given[id(t)])) if t.name else gs.Variable.empty()
            for t in node.inputs
        ]
        outputs = [gs.Variable(t.name) for t in node.outputs]
        try:
            return evaluate(
                gs.Node(node.op, node.name, dict(node.attrs), inputs, outputs), self._opset, _GROWTH
            )
        except Refusal:
            return [None] * len(outputs)
