"""Graphs of 20,000 nodes: every step completes (a quadratic one would take minutes)."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxq.graph import Model, bypass, insert_node, remove_node, replace_uses

SIZE = 20_000


@pytest.fixture(scope="module")
def chain():
    """A chain in reverse order, with one weight that 5,000 nodes share."""
    nodes, infos, last = [], [], "x"
    for i in range(SIZE):
        op, inputs = [("Mul", [last, "w"]), ("Identity", [last]), ("Neg", [last]),
                      ("Add", [last, "x"])][i % 4]  # fmt: skip
        last = f"t{i}"
        nodes.append(helper.make_node(op, inputs, [last], f"n{i}"))
        infos.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, [2]))
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    first = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    graph = helper.make_graph(
        nodes[::-1], "g", [first], [infos.pop()], [weight], value_info=infos
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_load_sort_and_export(chain):
    model = Model.load(chain)
    proto = model.to_proto()
    assert [n.name for n in proto.graph.node] == [f"n{i}" for i in range(SIZE)]
    assert len(proto.graph.value_info) == SIZE - 1
    assert model.clone().to_proto() == proto
    assert model.digraph().number_of_nodes() == SIZE


def test_a_pass_over_all_nodes(chain):
    model = Model.load(chain)
    for node in list(model.graph.nodes):
        if node.op == "Identity":
            assert bypass(model, node)
    assert len(model.graph.nodes) == SIZE * 3 // 4
    for node in list(model.graph.nodes):
        out = node.outputs[0]
        if not model.is_output(out):
            new = gs.Variable(model.unique_name(f"{out.name}__q"), np.float32, [2])
            replace_uses(model, out, new)
            insert_node(model, "Relu", [out], [new], name=model.unique_name(f"{node.name}__q"))
            assert model.node(node.name) is node
    proto = model.to_proto()
    assert len(proto.graph.node) == SIZE * 3 // 2 - 1
    assert [n.name for n in proto.graph.node[:4]] == ["n0", "n0__q", "n2", "n2__q"]


def test_removing_all_nodes_from_the_end(chain):
    model = Model.load(chain)
    for node in list(model.graph.nodes)[::-1]:
        remove_node(model, node)
    assert model.graph.nodes == []
    assert model.tensors().keys() == {"x", f"t{SIZE - 1}"}
