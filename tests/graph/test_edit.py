"""Edit verbs, where it is not plain: outputs, captures, duplicates, omitted inputs."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from onnxq.errors import OnnxqError
from onnxq.graph import (
    Model,
    bypass,
    consumers,
    insert_node,
    producer,
    remove_node,
    replace_input,
    replace_uses,
)  # fmt: skip
from onnxq.graph.carried import CarriedNode
from tests.graph.build import BRANCH, CHAIN, HEAD, parse, run

X = np.array([1, -1, 2, -2], np.float32)


def load(body, head="g (float[4] x) => (float[4] y)"):
    return Model.load(parse(f"{HEAD}{head} {{ {body} }}"))


def checked(model):
    proto = model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    return proto


def names(model):
    return [n.name for n in model.graph.nodes]


def test_captured_tensors_are_the_same_objects():
    model = Model.load(parse(BRANCH))
    tensors = model.tensors()
    uses = [(node.name, i) for node, i in consumers(tensors["s"])]
    assert uses == [("add", 0), ("sub", 0)]
    assert [node.name for node, _ in consumers(tensors["w"])] == ["scale", "add", "sub"]
    assert [g.name for g in model.graphs()] == ["g", "g1", "g2"]
    assert producer(tensors["s"]).name == "scale"


def test_replacing_a_captured_tensor_reaches_the_branches():
    model = Model.load(parse(BRANCH))
    s, feeds = model.tensors()["s"], {"x": X, "cond": np.array(True)}
    expected = run(parse(BRANCH), **feeds)[0]
    new = gs.Variable("s__copy", np.float32, [4])
    replace_uses(model, s, new)
    insert_node(model, "Identity", [s], [new], name="copy")
    proto = checked(model)
    assert [n.name for n in proto.graph.node] == ["scale", "copy", "pick"]
    assert (run(proto, **feeds)[0] == expected).all()


def test_a_captured_constant_stays_one_initializer():
    model = Model.load(parse(BRANCH))
    replaced = model.tensors()["w"]
    new = gs.Constant("w2", np.full(4, 3, np.float32))
    replace_uses(model, replaced, new)
    graph = checked(model).graph
    assert [t.name for t in graph.initializer] == ["w2"]
    assert [t.name for t in graph.node[1].attribute[0].g.initializer] == ["k"]


def test_a_new_constant_of_one_branch_is_stored_in_it():
    model = Model.load(parse(BRANCH))
    replace_input(model.node("sub"), 1, gs.Constant("only", np.ones(4, np.float32)))
    graph = checked(model).graph
    assert [t.name for t in graph.node[1].attribute[1].g.initializer] == ["only"]
    assert [t.name for t in graph.initializer] == ["w"]


def test_a_new_constant_of_both_branches_is_stored_outside():
    model = Model.load(parse(BRANCH))
    both = gs.Constant("both", np.ones(4, np.float32))
    replace_input(model.node("sub"), 1, both)
    replace_input(model.node("more"), 1, both)
    graph = checked(model).graph
    assert [t.name for t in graph.initializer] == ["w", "both"]


def test_one_tensor_twice_in_one_node():
    model = load("[a] t = Relu(x) [b] y = Mul(t, t)")
    t = model.tensors()["t"]
    assert [(n.name, i) for n, i in consumers(t)] == [("b", 0), ("b", 1)]
    new = gs.Variable("t2", np.float32, [4])
    replace_uses(model, t, new)
    insert_node(model, "Neg", [t], [new], name="neg")
    assert (run(checked(model), x=X)[0] == np.maximum(X, 0) ** 2).all()
    replace_input(model.node("b"), 1, t)
    assert [(n.name, i) for n, i in consumers(t)] == [("neg", 0), ("b", 1)]
    assert [(n.name, i) for n, i in consumers(new)] == [("b", 0)]


def test_equal_nodes_are_told_apart():
    model = load("t = Relu(x) u = Relu(x) y = Add(t, u)")
    first, second, add = model.graph.nodes
    for node in (first, second):
        node.outputs[0].name = "same"  # now equal by value
    replace_input(second, 0, gs.Variable("z"))
    assert consumers(model.graph.inputs[0]) == [(first, 0)]
    remove_node(model, second)
    assert model.graph.nodes[0] is first and model.graph.nodes[1] is add


def test_omitted_inputs_are_filled_in():
    model = load("y = Clip(x)")
    replace_input(model.graph.nodes[0], 2, gs.Constant("high", np.array(1, np.float32)))
    proto = checked(model)
    assert proto.graph.node[0].input[:] == ["x", "", "high"]
    assert run(proto, x=X)[0].max() == 1


def test_removing_a_node_twice_is_an_error():
    model = Model.load(parse(CHAIN))
    node = model.node("b")
    remove_node(model, node)
    with pytest.raises(OnnxqError, match=r"'b' .* is in no graph"):
        remove_node(model, node)


def test_removing_a_branch_frees_what_it_captured():
    model = Model.load(parse(BRANCH))
    s = model.tensors()["s"]
    remove_node(model, model.node("pick"))
    assert consumers(s) == [] and list(model.graphs()) == [model.graph]


def test_bypass():
    model = Model.load(parse(CHAIN))
    assert bypass(model, model.node("b"))
    assert names(model) == ["a", "c", "d"]
    proto = checked(model)
    assert proto.graph.node[1].input[:] == ["t1"]


def test_bypass_at_a_graph_output_keeps_its_name():
    body = "[a] t = Relu(x) [b] u = Neg(t) [c] y = Identity(t)"
    model = load(body, "g (float[4] x) => (float[4] u, float[4] y)")
    assert bypass(model, model.node("c"))
    proto = checked(model)
    assert [o.name for o in proto.graph.output] == ["u", "y"]
    assert [v.tolist() for v in run(proto, x=X)] == [[-1, 0, -2, 0], [1, 0, 2, 0]]


@pytest.mark.parametrize(
    ("body", "head"),
    [
        ("[n] y = Identity(x)", "g (float[4] x) => (float[4] y)"),
        ("[a] t = Relu(x) [n] y = Identity(t)", "g (float[4] x) => (float[4] t, float[4] y)"),
        ("[a] c = Constant<value_floats=[1.0]>() [n] y, m = Dropout(x) [b] z = Not(m)",
         "g (float[4] x) => (float[4] y, bool[4] z, float[1] c)"),
    ],
    ids=["from-input", "from-output", "other-output-used"],
)  # fmt: skip
def test_bypass_declines_where_the_node_has_to_stay(body, head):
    model = load(body, head)
    before = model.to_proto()
    assert bypass(model, model.node("n")) is False
    assert model.to_proto() == before


def test_bypass_declines_a_captured_source_at_a_branch_output():
    text = BRANCH.replace("[sub] r = Sub(s, w)", "[same] r = Identity(s)")
    model = Model.load(parse(text))
    assert bypass(model, model.node("same")) is False
    checked(model)


def test_bypass_inside_a_branch():
    text = BRANCH.replace("[sub] r = Sub(s, w)", "[same] i = Identity(s) [neg] r = Neg(i)")
    model = Model.load(parse(text))
    assert bypass(model, model.node("same"))
    proto = checked(model)
    assert proto.graph.node[1].attribute[1].g.node[0].input[0] == "s"


@pytest.mark.parametrize("kind", ["input", "output", "constant"])
def test_an_output_is_replaced_by_what_keeps_its_name(kind):
    model = load("[a] t = Relu(x) [b] y = Neg(t)", "g (float[4] x) => (float[4] t, float[4] y)")
    one = gs.Constant("one", np.ones(4, np.float32))
    new = {"input": model.graph.inputs[0], "output": model.graph.outputs[0], "constant": one}[kind]
    expected = {"input": X, "output": np.maximum(X, 0), "constant": np.ones(4)}[kind]
    node = model.node("b")
    replace_uses(model, model.graph.outputs[1], new)
    remove_node(model, node)
    proto = checked(model)
    assert [o.name for o in proto.graph.output] == ["t", "y"]
    assert [i.name for i in proto.graph.input] == ["x"]
    assert (run(proto, x=X)[1] == expected).all()


def test_two_tensors_of_one_name_are_refused():
    model = Model.load(parse(CHAIN))
    model.tensors()["t1"].name = "t2"
    with pytest.raises(OnnxqError, match="two tensors called 't2'"):
        model.to_proto()


def test_a_cycle_is_named():
    model = Model.load(parse(CHAIN))
    replace_input(model.node("a"), 0, model.tensors()["t3"])
    with pytest.raises(OnnxqError, match="a → b → c → a"):
        model.to_proto()


def test_order_is_restored_stably():
    model = Model.load(parse(CHAIN))
    model.graph.nodes.reverse()
    free = gs.Variable("free", np.float32)
    insert_node(model, "Abs", [model.graph.inputs[0]], [free], name="z")
    assert [n.name for n in model.to_proto().graph.node] == ["a", "b", "c", "d", "z"]
    assert names(model) == ["d", "c", "b", "a", "z"]
    model.sort()
    assert names(model) == ["a", "b", "c", "d", "z"]


def test_the_order_of_a_branch_counts_its_captures():
    model = Model.load(parse(BRANCH))
    model.graph.nodes.reverse()
    model.node("add")
    branch = next(g for g in model.graphs() if g.name == "g1")
    branch.nodes.reverse()
    proto = checked(model)
    assert [n.name for n in proto.graph.node] == ["scale", "pick"]
    assert [n.name for n in proto.graph.node[1].attribute[0].g.node] == ["add", "more"]


def test_names():
    model = Model.load(parse(BRANCH))
    assert model.unique_name("new") == "new"
    assert model.unique_name("new") == "new_1"
    assert model.unique_name("q") == "q_1"  # of a branch
    assert model.unique_name("add") == "add_1"  # a node
    node = gs.Node("Relu", "direct", inputs=[model.graph.inputs[0]], outputs=[gs.Variable("o")])
    model.graph.nodes.append(node)
    assert model.unique_name("direct") == "direct_1" and model.unique_name("o") == "o_1"
    replace_input(model.node("more"), 1, gs.Constant("fresh", np.ones(4, np.float32)))
    assert model.unique_name("fresh") == "fresh_1"


def test_nodes_are_found_after_edits():
    model = Model.load(parse(CHAIN))
    node = model.node("b")
    node.name = "renamed"
    assert model.node("renamed") is node
    with pytest.raises(KeyError):
        model.node("b")
    remove_node(model, node)
    with pytest.raises(KeyError):
        model.node("renamed")
    new = insert_node(model, "Abs", [], [], name="new")
    assert model.node("new") is new


def test_digraph():
    model = Model.load(parse(BRANCH))
    view = model.digraph()
    scale, pick = model.node("scale"), model.node("pick")
    assert list(view.edges(keys=True)) == [(model.uid(scale), model.uid(pick), "s")]
    edge = view.edges[model.uid(scale), model.uid(pick), "s"]
    assert edge["captured"] and edge["tensor"] is model.tensors()["s"]
    assert view.nodes[model.uid(pick)]["node"] is pick
    with pytest.raises(Exception, match=r"[Ff]rozen"):
        view.add_node(1)


def test_replace_keeps_path_and_metadata(tmp_path):
    model = Model.load(parse(CHAIN))
    model.save(tmp_path / "m.onnx")
    model = Model.load(tmp_path / "m.onnx")
    model.metadata["mine"] = "1"
    model.header.doc_string = "docs"
    model.carried.nodes[model.uid(model.node("a"))] = CarriedNode(onnx.NodeProto(doc_string="A"))
    model.replace(onnx.version_converter.convert_version(parse(CHAIN), 22))
    assert model.opset == 22 and model.path == tmp_path / "m.onnx"
    assert model.metadata == {"mine": "1"} and model.to_proto().doc_string == "docs"
    assert model.to_proto().graph.node[0].doc_string == "A"


def test_inline_functions():
    text = """<ir_version: 10, opset_import: ["" : 21, "d" : 1]>
    g (float[4] x) => (float[4] y) { y = d.F(x) }
    <domain: "d", opset_import: ["" : 21]> F (a) => (b) { t = Relu(a) b = Neg(t) }"""
    model = Model.load(parse(text))
    assert model.inline_functions()
    assert [n.op for n in model.graph.nodes] == ["Relu", "Neg"]
    assert not model.header.functions and not model.inline_functions()
    checked(model)
