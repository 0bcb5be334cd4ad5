"""The graph: loading, saving, editing and viewing ONNX models. The only place that knows protobuf."""

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

__all__ = [
    "Model", "attribute", "bypass", "constant_value", "consumers", "insert_node", "is_constant",
    "producer", "remove_node", "replace_input", "replace_uses",
]  # fmt: skip
