"""A node that changes nothing, behind one that the runtime would otherwise rewrite."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, insert_node


def hold(model: Model, node: gs.Node) -> None:
    """Put a LeakyRelu of slope 1 behind *node*, whose result keeps its name."""
    out = node.outputs[0]
    raw = gs.Variable(model.unique_name(f"{out.name}__held"), np.float32, out.shape)
    node.outputs[0] = raw
    name = model.unique_name(f"{node.name}__hold")
    insert_node(model, "LeakyRelu", [raw], [out], {"alpha": 1.0}, name=name)
