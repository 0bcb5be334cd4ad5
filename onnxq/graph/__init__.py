"""Loading, saving, editing and viewing ONNX models: the boundary to protobuf."""

from onnxq.graph.edit import (
    attribute,
    bypass,
    constant_value,
    consumers,
    insert_node,
    is_constant,
    producer,
    remove_node,
    replace_input,
    replace_uses,
)
from onnxq.graph.model import Model
from onnxq.graph.nodes import subgraphs
from onnxq.graph.order import reads

__all__ = [
    "Model", "attribute", "bypass", "constant_value", "consumers", "insert_node", "is_constant",
    "producer", "reads", "remove_node", "replace_input", "replace_uses", "subgraphs",
]  # fmt: skip
