"""What a tensor is the result of, told apart from names, Q/DQ pairs and fused activations.

A tensor's heads are the operators that it may be called the result of: the one that computes it
and, where that only scales, shifts or limits single values, the ones before it. A Conv whose batch
normalization and Relu were fused into it has the same head as the Relu of the float model.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, is_constant, producer

#: Operators that one name stands for.
_CLASS: dict[str, str] = {
    "Gemm": "MatMul", "MatMulInteger": "MatMul", "MatMulIntegerToFloat": "MatMul",
    "DynamicQuantizeMatMul": "MatMul", "MatMulNBits": "MatMul", "FusedMatMul": "MatMul",
    "FusedGemm": "MatMul", "FusedConv": "Conv", "ConvInteger": "Conv",
    "DynamicQuantizeLSTM": "LSTM", "QAttention": "Attention", "Clip": "Relu",
    "ReduceMean": "GlobalAveragePool", "Sum": "Add",
}  # fmt: skip
#: Operators that hand on the values of their first input, perhaps in another shape.
SAME = frozenset({
    "Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
})  # fmt: skip
#: Operators on single values that quantizers fuse into the operator before.
ABSORBED = frozenset({
    "BatchNormalization", "Relu", "Clip", "LeakyRelu", "PRelu", "Sigmoid", "HardSigmoid", "Tanh",
    "HardSwish", "Elu", "Gelu", "Softplus", "Identity", "Dropout", "Cast", "Add", "Mul", "Sub",
    "Div", "QuantizeLinear", "DequantizeLinear",
})  # fmt: skip
COMPUTE = frozenset({"Conv", "ConvTranspose", "MatMul", "RNN", "GRU", "LSTM", "Attention"})
"""Classes of the operators that multiply and accumulate."""


def op_class(node: gs.Node) -> str:
    """The operator of *node*, where several do the same a common name."""
    return class_of(str(node.op))


def class_of(op: str) -> str:
    """The operator that *op* is the same as, or *op*."""
    return _CLASS.get(op, op)


@dataclass(frozen=True)
class Head:
    """An operator that a tensor is the result of.

    Attributes:
        node: its node.
        kind: its class.
        sources: the activations that it reads.
        slot: which of its outputs it is.
    """

    node: gs.Node
    kind: str
    sources: tuple[gs.Tensor, ...]
    slot: int


class Skeleton:
    """Reads a model as its operators on activations.

    Attributes:
        constants: names of the tensors that are stored or follow from stored ones alone, and of
            what dynamic quantization measures beside the codes.
    """

    def __init__(self, model: Model) -> None:
        self.constants: set[str] = set()
        for node in model.graph.nodes:
            inputs = [t for t in node.inputs if not t.is_empty()]
            if node.op == "DynamicQuantizeLinear":
                self.constants.update(t.name for t in node.outputs[1:])
            elif not node.op.startswith("Random") and all(map(self.constant, inputs)):
                self.constants.update(t.name for t in node.outputs)

    def constant(self, tensor: gs.Tensor) -> bool:
        """Whether *tensor* does not depend on the model's input."""
        return is_constant(tensor) or tensor.name in self.constants

    def activations(self, node: gs.Node) -> list[gs.Tensor]:
        """Inputs of *node* that depend on the model's input."""
        return [t for t in node.inputs if not t.is_empty() and not self.constant(t)]

    def trail(self, tensor: gs.Tensor) -> list[gs.Tensor]:
        """*tensor*, and the tensors before it that hold its values, perhaps in another shape."""
        found = [tensor]
        above = producer(tensor)
        while above is not None and above.op in SAME and not self.constant(found[-1]):
            if above.outputs[0] is not found[-1]:
                break
            found.append(above.inputs[0])
            above = producer(found[-1])
        return found

    def origin(self, tensor: gs.Tensor) -> gs.Tensor:
        """The first tensor that holds the values of *tensor*, perhaps in another shape."""
        return self.trail(tensor)[-1]

    def heads(self, tensor: gs.Tensor) -> list[Head]:
        """Operators that *tensor* is the result of, its own first."""
        found: list[Head] = []
        above = producer(tensor)
        quantized = False
        while above is not None:
            sources = self.activations(above)
            if above.op not in SAME:
                slot = next(i for i, t in enumerate(above.outputs) if t is tensor)
                found.append(Head(above, op_class(above), tuple(sources), slot))
            elif above.op == "DequantizeLinear":
                if quantized or found:  # the group of another quantized tensor begins here
                    break
                quantized = True
            if above.op not in (ABSORBED | SAME) or len({id(t) for t in sources}) != 1:
                break
            tensor = sources[0]
            above = producer(tensor)
        return found

    def readers(self, tensor: gs.Tensor) -> tuple[str, ...]:
        """Classes of the operators that read *tensor*, itself or in another shape, sorted."""
        found: list[str] = []
        todo = [tensor]
        while todo:
            for user, _ in consumers(todo.pop()):
                if user.op in SAME:
                    todo.append(user.outputs[0])
                else:
                    found.append(op_class(user))
        return tuple(sorted(found))


def weight(node: gs.Node, skeleton: Skeleton) -> gs.Tensor | None:
    """The weight of a node that multiplies or looks up: its first constant operand."""
    if op_class(node) not in COMPUTE | {"Gather"}:
        return None
    return next((t for t in node.inputs[:3] if not t.is_empty() and skeleton.constant(t)), None)
