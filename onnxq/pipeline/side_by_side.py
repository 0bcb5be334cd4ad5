"""Two models in one graph, so that what one computes can be held against the other in the run."""

from __future__ import annotations

import onnx

from onnxq.errors import OnnxqError


def side_by_side(model: onnx.ModelProto, other: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """*model* and, before it, the nodes of *other* on the same inputs; neither is changed.

    Names of nodes, tensors and constants of *other* get *prefix*, its inputs keep theirs. The
    outputs are those of *model*.

    Raises:
        OnnxqError: *other* has an input that *model* lacks, or another opset.
    """
    inputs = {i.name for i in model.graph.input}
    strange = [i.name for i in other.graph.input if i.name not in inputs]
    versions = [{o.domain: o.version for o in m.opset_import} for m in (model, other)]
    if strange or any(versions[0].get(d, v) != v for d, v in versions[1].items()):
        raise OnnxqError("the two models cannot be put side by side", why=f"{strange} {versions}")
    renamed = onnx.compose.add_prefix_graph(other.graph, prefix, rename_inputs=False)
    joined = onnx.ModelProto()
    joined.CopyFrom(model)
    graph = joined.graph
    own = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    del graph.node[:]
    graph.node.extend([*renamed.node, *own])
    graph.initializer.extend(renamed.initializer)
    graph.sparse_initializer.extend(renamed.sparse_initializer)
    del graph.value_info[:]
    for domain, version in versions[1].items():
        if domain not in versions[0]:
            joined.opset_import.add(domain=domain, version=version)
    return joined
