"""The float and the quantized model in one graph, so that their differences need not leave it."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import GraphProto, NodeProto

PREFIX = "onnxq_q__"


def joinable(original: onnx.ModelProto, quantized: onnx.ModelProto) -> bool:
    """Whether both can stand in one model: the same operator versions, and no functions."""
    versions = [{o.domain or "ai.onnx": o.version for o in m.opset_import}
                for m in (original, quantized)]  # fmt: skip
    common = versions[0].keys() & versions[1].keys()
    return (
        all(versions[0][d] == versions[1][d] for d in common)
        and not original.functions
        and not quantized.functions
    )


def join(
    original: onnx.ModelProto, quantized: onnx.ModelProto
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Both models in one, and the new names of the tensors of *quantized* by their old ones.

    Inputs of one name and type are shared. The outputs are those of *original*, then those of
    *quantized*.
    """
    model = onnx.ModelProto()
    model.CopyFrom(original)
    model.ir_version = max(original.ir_version, quantized.ir_version)
    there = {o.domain for o in model.opset_import}
    model.opset_import.extend(o for o in quantized.opset_import if o.domain not in there)
    graph, added = model.graph, quantized.graph
    types = {i.name: i.type.tensor_type.elem_type for i in original.graph.input}
    constants = {t.name for t in (*added.initializer, *original.graph.initializer)}
    shared = {
        i.name
        for i in added.input
        if i.name not in constants and types.get(i.name) == i.type.tensor_type.elem_type
    }
    names = {i.name: i.name if i.name in shared else PREFIX + i.name for i in added.input}
    names |= {t.name: PREFIX + t.name for t in added.initializer}
    names |= {t.values.name: PREFIX + t.values.name for t in added.sparse_initializer}
    names |= {name: PREFIX + name for n in added.node for name in n.output if name}
    for value in added.input:
        if value.name not in shared:
            graph.input.add().CopyFrom(value)
            graph.input[-1].name = names[value.name]
    for tensor in added.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = names[tensor.name]
    for sparse in added.sparse_initializer:
        graph.sparse_initializer.add().CopyFrom(sparse)
        graph.sparse_initializer[-1].values.name = names[sparse.values.name]
    for node in added.node:
        graph.node.add().CopyFrom(node)
        _rename(graph.node[-1], names)
    for output in added.output:
        graph.output.add().CopyFrom(output)
        graph.output[-1].name = names[output.name]
    return model, names


def _rename(node: NodeProto, names: Mapping[str, str]) -> None:
    node.name = PREFIX + node.name if node.name else ""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            _rename_inner(graph, names)


def _rename_inner(graph: GraphProto, names: Mapping[str, str]) -> None:
    """What a sub-graph reads of the graph around it; its own names hide those."""
    own = {v.name for v in (*graph.input, *graph.initializer)}
    own |= {name for n in graph.node for name in n.output}
    seen = {old: new for old, new in names.items() if old not in own}
    for node in graph.node:
        name = node.name
        _rename(node, seen)
        node.name = name
    for output in graph.output:
        output.name = seen.get(output.name, output.name)
