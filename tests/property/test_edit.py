"""Edits keep a model valid, and its function where they should."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from onnxq.graph import (
    Model,
    bypass,
    consumers,
    insert_node,
    is_constant,
    remove_node,
    replace_input,
    replace_uses,
)  # fmt: skip
from tests.property.graphs import models

COMMON = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
X = np.array([0.5, -1.5, 2.5], np.float32)


def outputs(proto):
    onnx.checker.check_model(proto, full_check=True)
    session = ReferenceEvaluator(proto)
    return [session.run(None, {"x": X, "flag": np.array(flag)}) for flag in (True, False)]


def same(a, b):
    pairs = [pair for r, s in zip(a, b, strict=True) for pair in zip(r, s, strict=True)]
    return all(np.array_equal(p, q) for p, q in pairs)


def consistent(model):
    """Both ends of every edge agree."""
    nodes = {id(n) for n in model.nodes()}
    for node in model.nodes():
        for tensor in node.inputs:
            assert sum(n is node for n in tensor.outputs) == sum(t is tensor for t in node.inputs)
            assert all(id(n) in nodes for n, _ in consumers(tensor))
        for tensor in node.outputs:
            assert [n is node for n in tensor.inputs] == [True]
    return True


@COMMON
@given(models())
def test_loading_and_cloning_keep_everything(proto):
    model = Model.load(proto)
    assert model.to_proto() == proto
    assert model.clone().to_proto() == proto
    assert consistent(model) and consistent(model.clone())


@COMMON
@given(models(), st.randoms(use_true_random=False))
def test_shuffled_nodes_are_sorted_again(proto, random):
    model = Model.load(proto)
    for graph in model.graphs():
        random.shuffle(graph.nodes)
    assert same(outputs(model.to_proto()), outputs(proto))


@COMMON
@given(models(), st.data())
def test_identities_between_a_tensor_and_its_uses(proto, data):
    model = Model.load(proto)
    before = outputs(proto)
    for _ in range(3):
        graph = data.draw(st.sampled_from(list(model.graphs())))
        node = data.draw(st.sampled_from(graph.nodes))
        tensor = node.outputs[0]
        new = gs.Variable(model.unique_name(tensor.name + "__q"), np.float32, [3])
        replace_uses(model, tensor, new)
        name = model.unique_name(node.name + "__q")
        insert_node(model, "Identity", [tensor], [new], name=name, graph=graph)
    assert consistent(model)
    assert [o.name for o in model.graph.outputs] == [o.name for o in proto.graph.output]
    assert same(outputs(model.to_proto()), before)


@COMMON
@given(models())
def test_bypassing_every_identity(proto):
    model = Model.load(proto)
    before, stay = outputs(proto), []
    for node in list(model.nodes()):
        if node.op == "Identity" and not bypass(model, node):
            stay.append(node)
    assert consistent(model)
    left = [n for n in model.nodes() if n.op == "Identity"]
    assert len(left) == len(stay) and all(model.is_output(n.outputs[0]) for n in left)
    assert [o.name for o in model.graph.outputs] == [o.name for o in proto.graph.output]
    assert same(outputs(model.to_proto()), before)


@COMMON
@given(models(), st.data())
def test_unsharing_weights(proto, data):
    model = Model.load(proto)
    before = outputs(proto)
    for tensor in list(model.tensors().values()):
        if is_constant(tensor):
            for node, index in consumers(tensor)[1:]:
                name = model.unique_name(f"{tensor.name}__{node.name}")
                replace_input(node, index, gs.Constant(name, np.array(tensor.values)))
    assert all(len(consumers(t)) <= 1 for t in model.tensors().values() if is_constant(t))
    names = [t.name for t in model.tensors().values()]
    assert len(names) == len(set(names))
    assert same(outputs(model.to_proto()), before)


@COMMON
@given(models(), st.data())
def test_replacing_a_node_by_a_constant(proto, data):
    model = Model.load(proto)
    node = data.draw(st.sampled_from(model.graph.nodes))
    tensor, old = node.outputs[0], node.outputs[0].name
    value = gs.Constant(model.unique_name("folded"), np.full(3, 7, np.float32))
    replace_uses(model, tensor, value)
    remove_node(model, node)
    changed = model.to_proto()
    assert consistent(model)
    assert [o.name for o in changed.graph.output] == [o.name for o in proto.graph.output]
    results = outputs(changed)
    for i, output in enumerate(proto.graph.output):
        if output.name == old:
            assert all((run[i] == 7).all() for run in results)
