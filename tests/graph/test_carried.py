"""What graphsurgeon cannot carry: kept without an edit, and by the stated rules after one."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from onnxq.errors import OnnxqError
from onnxq.graph import Model, insert_node, remove_node, replace_uses
from onnxq.graph.attributes import Opaque
from tests.graph.build import BRANCH, CHAIN, array, parse


def note(message, key="k", value="v"):
    message.metadata_props.add(key=key, value=value)


def rich():
    """A model that uses every field that graphsurgeon drops."""
    proto = parse(BRANCH)
    proto.producer_name, proto.producer_version, proto.domain = "p", "1", "d"
    proto.model_version, proto.doc_string = 7, "model"
    note(proto, "b", "2")
    note(proto, "a", "1")
    proto.opset_import.add(domain="com.example", version=3)
    proto.configuration.add(name="two", num_devices=2)
    function = helper.make_function(
        "com.example", "F", ["p"], ["q"], [helper.make_node("Relu", ["p"], ["q"])],
        [helper.make_opsetid("", 21)],
    )  # fmt: skip
    proto.functions.append(function)
    graph = proto.graph
    graph.doc_string = "graph"
    note(graph)
    node = graph.node[0]
    node.doc_string, node.overload, node.domain = "node", "o", ""
    note(node)
    config = node.device_configurations.add(configuration_id="two")
    config.sharding_spec.add(tensor_name="s", device=[0, 1])
    weight = graph.initializer[0]
    weight.doc_string = "weight"
    note(weight)
    unused = graph.initializer.add()
    unused.CopyFrom(array("unused", 2))
    sparse = graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(array("sparse", 1))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([2])))
    graph.input.insert(0, helper.make_tensor_value_info("w", 1, [4]))  # an input and an initializer
    graph.input[1].doc_string = "input"
    graph.input[1].type.denotation = "IMAGE"
    graph.input[1].type.tensor_type.shape.dim[0].denotation = "DATA_CHANNEL"
    graph.output[0].doc_string = "output"
    info = graph.value_info.add(name="s", doc_string="between")
    note(info)
    graph.value_info.add(name="nobody", doc_string="of no tensor")
    note_ = graph.quantization_annotation.add(tensor_name="s")
    note_.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="unused")
    add_attributes(graph.node.add(op_type="Custom", domain="com.example", input=["sparse", "s"]))
    return proto


def add_attributes(node):
    node.output.extend(["c1", "", "c2"])
    attributes = node.attribute
    attributes.add(name="documented", type=AttributeProto.INT, i=3, doc_string="three")
    attributes.add(name="untyped", f=1.5)
    attributes.add(name="latin", type=AttributeProto.STRING, s=b"\xe9t\xe9")
    attributes.add(name="latins", type=AttributeProto.STRINGS, strings=[b"\xff", b"a"])
    attributes.add(name="none", type=AttributeProto.FLOATS)
    attributes.add(name="zero", type=AttributeProto.FLOAT)
    attributes.add(name="both", type=AttributeProto.INT, i=1, f=2.0)
    attributes.add(name="refers", type=AttributeProto.INT, ref_attr_name="outer")
    attributes.add(
        name="tensors", type=AttributeProto.TENSORS, tensors=[array("p", 2), array("", 1)]
    )
    graph = parse(CHAIN).graph
    graph.node[0].input[0] = "s"  # captured
    del graph.input[:]
    attributes.add(name="graphs", type=AttributeProto.GRAPHS, graphs=[graph])
    type_ = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [None]))
    attributes.add(name="type", type=AttributeProto.TYPE_PROTO, tp=type_)
    attributes.add(name="types", type=AttributeProto.TYPE_PROTOS, type_protos=[type_])
    sparse = onnx.SparseTensorProto(values=array("v", 1), indices=array("i", 1), dims=[3])
    attributes.add(name="sparse", type=AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse)


@pytest.fixture
def model():
    return Model.load(rich())


def test_nothing_is_lost(model):
    assert model.to_proto() == rich()
    assert model.clone().to_proto() == rich()
    values = [t.values for t in model.tensors().values() if isinstance(t, gs.Constant)]
    assert len(values) == 3 and model.to_proto() == rich()


@pytest.mark.parametrize("kind", ["sequence", "optional", "map", "sparse", "opaque", "none"])
def test_types_that_are_no_tensors(kind):
    proto = parse(CHAIN)
    type_ = proto.graph.value_info.add(name="t2").type
    proto.graph.value_info.add(name="t1").type.tensor_type.elem_type = 1
    if kind == "sequence":
        type_.sequence_type.elem_type.tensor_type.elem_type = 1
    elif kind == "optional":
        type_.optional_type.elem_type.tensor_type.elem_type = 7
    elif kind == "map":
        type_.map_type.key_type = 7
        type_.map_type.value_type.tensor_type.elem_type = 1
    elif kind == "sparse":
        type_.sparse_tensor_type.elem_type = 1
    elif kind == "opaque":
        type_.opaque_type.name = "x"
    model = Model.load(proto)
    assert model.to_proto() == proto
    assert model.tensors()["t2"].dtype is None
    assert model.clone().to_proto() == proto


def test_metadata_is_written_back(model):
    model.metadata["b"] = "changed"
    model.metadata |= {"z": "26", "c": "3"}
    entries = [(e.key, e.value) for e in model.to_proto().metadata_props]
    assert entries == [("b", "changed"), ("a", "1"), ("c", "3"), ("z", "26")]
    del model.metadata["b"]
    assert [e.key for e in model.to_proto().metadata_props] == ["a", "c", "z"]
    assert model.clone().metadata == model.metadata


def test_a_clone_is_independent(model):
    copy = model.clone()
    before = copy.to_proto()
    model.graph.nodes[0].name = "other"
    model.tensors()["s"].name = "renamed"
    model.header.doc_string = "other"
    model.drop_unused()
    remove_node(model, model.graph.nodes[-1])
    assert copy.to_proto() == before == rich()
    w = copy.tensors()["w"]
    assert w is not model.tensors()["w"] and w.values is model.tensors()["w"].values
    assert copy.uid(w) == model.uid(model.tensors()["w"])


def test_renames_are_followed(model):
    model.tensors()["s"].name = "s2"
    model.tensors()["w"].name = "w2"
    proto = model.to_proto()
    assert proto.graph.value_info[0].name == "s2" and proto.graph.value_info[0].metadata_props
    assert proto.graph.quantization_annotation[0].tensor_name == "s2"
    assert proto.graph.node[0].device_configurations[0].sharding_spec[0].tensor_name == "s2"
    assert proto.graph.input[0].name == "w2" and proto.graph.initializer[0].doc_string == "weight"
    body = proto.graph.node[1].attribute[0].g
    assert body.node[0].input[:] == ["s2", "w2"]
    assert proto.graph.node[2].attribute[9].graphs[0].node[0].input[0] == "s2"


def test_a_changed_constant_keeps_its_docs(model):
    w = model.tensors()["w"]
    w.values = (w.values * 2).astype(np.float16)
    proto = model.to_proto().graph
    stored = proto.initializer[0]
    assert stored.doc_string == "weight" and stored.metadata_props[0].key == "k"
    assert stored.data_type == TensorProto.FLOAT16 and not stored.float_data
    assert proto.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16


def test_values_cannot_be_written_into(model):
    with pytest.raises(ValueError, match="read-only"):
        model.tensors()["w"].values[0] = 3


def test_a_changed_attribute_keeps_its_docs(model):
    node = model.graph.nodes[2]
    node.attrs |= {"documented": 4, "none": [1.5], "zero": 1.0, "untyped": 2.5, "new": [1, 2]}
    proto = {a.name: a for a in model.to_proto().graph.node[2].attribute}
    assert proto["documented"] == onnx.AttributeProto(
        name="documented", type=AttributeProto.INT, i=4, doc_string="three"
    )
    assert proto["none"].floats[:] == [1.5] and proto["zero"].f == 1 and proto["untyped"].f == 2.5
    assert proto["new"].type == AttributeProto.INTS
    assert isinstance(node.attrs["sparse"], Opaque)


def test_a_changed_shape_keeps_docs_and_drops_denotations_of_dimensions(model):
    model.graph.inputs[0].shape = ["N", 4]
    info = model.to_proto().graph.input[1]
    assert info.doc_string == "input" and info.type.denotation == "IMAGE"
    dims = info.type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["N", 4]
    assert not dims[0].denotation and not dims[1].denotation


def test_like_inherits(model):
    scale = model.graph.nodes[0]
    out = scale.outputs[0]
    first = insert_node(model, "Mul", list(scale.inputs), [out], name="first", like=scale)
    other = gs.Variable("other", np.float32)
    insert_node(model, "Relu", [out], [other], name="bare")
    scale.outputs.clear()
    remove_node(model, scale)
    found = {n.name: n for n in model.to_proto().graph.node}
    assert found["first"].doc_string == "node" and found["first"].metadata_props[0].key == "k"
    assert found["first"].device_configurations and not found["first"].overload
    assert not found["bare"].doc_string and not found["bare"].metadata_props
    assert first.name == "first"


def test_fused_nodes_merge_what_they_carry():
    proto = parse(CHAIN)
    for i, node in enumerate(proto.graph.node[:2]):
        node.doc_string = f"doc {i}"
        note(node, "same", str(i))
        note(node, f"own {i}")
    model = Model.load(proto)
    nodes = list(model.graph.nodes[:2])
    insert_node(model, "Abs", [], [gs.Variable("z")], name="fused", like=nodes)
    fused = model.to_proto().graph.node[-1]
    assert fused.doc_string == "doc 0"
    entries = [(e.key, e.value) for e in fused.metadata_props]
    assert entries == [("same", "0"), ("own 0", "v"), ("own 1", "v")]


def test_an_output_keeps_its_value_info(model):
    old = model.graph.outputs[0]
    new = gs.Variable("new")
    insert_node(model, "Relu", [model.tensors()["s"]], [new], name="relu")
    replace_uses(model, old, new)
    info = model.to_proto().graph.output[0]
    assert info == rich().graph.output[0]


def test_an_annotation_goes_with_its_tensor_and_not_without(model):
    model.drop_unused()
    with pytest.raises(OnnxqError, match="annotation of tensor 's' names tensor 'unused'"):
        model.to_proto()
    assert model.drop_annotations() == 1
    assert not model.to_proto().graph.quantization_annotation


def test_a_device_configuration_names_what_is_gone(model):
    node = model.graph.nodes[0]
    replace_uses(model, node.outputs[0], model.graph.inputs[0])
    node.outputs[0] = gs.Variable("elsewhere")
    model.drop_annotations()
    with pytest.raises(OnnxqError, match="device configuration of node 'scale' names tensor 's'"):
        model.to_proto()


def test_training_information_names_what_is_gone():
    proto = parse(CHAIN)
    proto.training_info.add().update_binding.add(key="w", value="w_new")
    model = Model.load(proto)
    assert model.to_proto() == proto
    model.tensors()["w"].name = "other"
    with pytest.raises(OnnxqError, match="training information names tensor 'w'"):
        model.to_proto()
    model.header.ClearField("training_info")
    assert not model.to_proto().training_info


def test_drop_unused(model):
    model.drop_annotations()
    assert model.drop_unused() == 2
    graph = model.to_proto().graph
    assert [t.name for t in graph.initializer] == ["w"]
    assert [v.name for v in graph.value_info] == ["s"]


def test_an_empty_list_needs_a_type():
    model = Model.load(parse(CHAIN))
    model.graph.nodes[0].attrs["unheard"] = []
    with pytest.raises(OnnxqError, match="attribute 'unheard' of node 'a'"):
        model.to_proto()


def test_whole_numbers_where_the_operator_wants_floats():
    model = Model.load(parse(CHAIN))
    model.graph.nodes[2].op = "LeakyRelu"
    model.graph.nodes[2].attrs["alpha"] = 1
    attribute = model.to_proto().graph.node[2].attribute[0]
    assert attribute.type == AttributeProto.FLOAT and attribute.f == 1


def test_functions_of_graphsurgeon_are_refused():
    model = Model.load(parse(CHAIN))
    model.graph.functions.append(gs.Function("F", domain="d"))
    with pytest.raises(OnnxqError, match="'F' cannot be written"):
        model.to_proto()


def test_a_graph_from_scratch():
    x, y = gs.Variable("x", np.float32, [4]), gs.Variable("y", np.float32, [4])
    node = gs.Node("Add", "n", inputs=[x, gs.Constant("c", np.ones(4, np.float32))], outputs=[y])
    model = Model(gs.Graph([node], [x], [y], opset=17))
    onnx.checker.check_model(model.to_proto(), full_check=True)
    assert model.to_proto().opset_import[0].version == 17
    assert model.clone().to_proto() == model.to_proto()
