"""How tensors are recognised, on small networks whose answer is known."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxq.graph import Model
from onnxq.report.likeness import Candidates, channel_factors, same_weights
from onnxq.report.matching import match
from onnxq.report.pair import make_pair
from onnxq.report.relaxed import Relaxed
from onnxq.report.skeleton import Skeleton
from tests.report.foreign import (
    FIXTURES,
    by_onnxruntime,
    float_model,
    layers_of,
    multiplying,
    renamed,
    samples,
)

RNG = np.random.default_rng(0)


def test_candidates_measure_sqnr() -> None:
    x = RNG.normal(size=(1, 4, 8, 8)).astype(np.float32)
    noise = RNG.normal(size=x.shape).astype(np.float32) * 0.1
    found = Candidates({"x": x, "other": x[:, ::-1].copy(), "small": x[:, :2]}).compare(x + noise)
    assert found.keys() == {"x", "other"}
    assert found["x"] == pytest.approx(10 * np.log10((x**2).sum() / (noise**2).sum()), abs=0.01)
    assert found["other"] < 0


def test_masks_do_not_make_tensors_alike() -> None:
    mask = np.where(np.tri(16) > 0, 0, -1e9).astype(np.float32)
    one, two = (RNG.normal(size=(16, 16)).astype(np.float32) for _ in range(2))
    found = Candidates({"one": one + mask, "two": two + mask}).compare(one + mask)
    assert found["one"] > 100
    assert found["two"] < 3


def test_channel_factors() -> None:
    x = RNG.normal(size=(1, 3, 5, 5))
    factors = np.array([0.5, 1.0, 4.0])[None, :, None, None]
    assert channel_factors(x, x * factors) == pytest.approx((0.5, 4.0))
    assert channel_factors(x, x * 3) is None  # one factor: a wrong scale, not scaled channels
    assert channel_factors(x, RNG.normal(size=x.shape)) is None
    assert channel_factors(x, x[:, :2]) is None


def test_weights_are_alike_up_to_output_channels() -> None:
    w = RNG.normal(size=(6, 4, 3, 3))
    factors = np.exp(RNG.normal(size=6))
    assert same_weights(w, w * factors[:, None, None, None]) == pytest.approx(1)
    assert same_weights(w, RNG.normal(size=w.shape)) < 0.5
    assert same_weights(w, w[:3]) == -1
    m = RNG.normal(size=(5, 7))
    assert same_weights(m, m.T) == pytest.approx(1)
    assert same_weights(m, m * np.exp(RNG.normal(size=7))) == pytest.approx(1)


def test_relaxed_keeps_saturation_and_drops_rounding() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 13]>
    q (float[1, 4] x) => (float[1, 4] y)
    <float s = {1.0}, uint8 z = {0}>
    { c = QuantizeLinear(x, s, z) d = DequantizeLinear(c, s, z) y = Neg(d) }
    """
    model = Model.load(onnx.parser.parse_model(text))
    relaxed = Relaxed(model, Skeleton(model).constants)
    x = np.array([[-1.0, 0.3, 2.6, 300.0]], np.float32)
    np.testing.assert_allclose(relaxed.run({"x": x}, {})["y"], [[0.0, -0.3, -2.6, -255.0]])
    known = np.full((1, 4), 7.0, np.float32)
    found = relaxed.run({"x": x}, {"c": known})
    np.testing.assert_array_equal(found["y"], -known)
    np.testing.assert_allclose(found["c"], [[0.0, 0.3, 2.6, 255.0]])


def shaken(model: onnx.ModelProto) -> onnx.ModelProto:
    """*model* renamed, with Identity nodes and pairs of Reshape behind every dequantized tensor."""
    found = renamed(model)
    nodes = list(found.graph.node)
    del found.graph.node[:]
    for name, shape in (("three", [0, -1, 1]), ("two", [0, -1])):
        tensor = onnx.numpy_helper.from_array(np.array(shape, np.int64), name)
        found.graph.initializer.append(tensor)
    outputs = {o.name for o in found.graph.output}
    stored = {t.name for t in found.graph.initializer}
    make = onnx.helper.make_node
    for node in nodes:
        name = node.output[0]
        added = []
        if node.op_type == "DequantizeLinear" and node.input[0] not in stored | outputs:
            if name not in outputs:
                node.output[0] = f"{name}_before"
                added = [make("Identity", [f"{name}_before"], [name], f"{name}_same")]
        elif node.op_type == "Flatten":
            node.output[0] = f"{name}_flat"
            added = [
                make("Reshape", [f"{name}_flat", "three"], [f"{name}_three"], "to_three"),
                make("Reshape", [f"{name}_three", "two"], [name], "to_two"),
            ]
        found.graph.node.extend([node, *added])
    return found


@pytest.mark.parametrize("kind", ["qdq", "folded qdq", "qoperator"])
def test_identities_and_reshapes_in_between(kind: str, tmp_path) -> None:
    name = "digits_resnet"
    feeds = samples(name, 32, evaluation=False)
    model = by_onnxruntime(float_model(name), feeds, tmp_path, kind)
    before = layers_of(float_model(name), model, feeds[0])
    after = layers_of(float_model(name), shaken(model), feeds[0])
    origins = [[e.origin for e in multiplying(layers)] for layers in (before, after)]
    assert None not in origins[1]
    assert origins[0] == origins[1]
    assert {e.tensor for e in before} <= {e.tensor for e in after}


def test_ruined_weights_are_matched_by_structure() -> None:
    """Of two siblings that read one tensor, the ruined one is the one that is left."""
    name = "digits_resnet"
    model = onnx.load(FIXTURES / f"{name}.nncf.onnx")
    found = renamed(model)
    nodes = [n.name for n in model.graph.node]
    place = nodes.index("block2.sum.shortcut.conv")
    dequantize = next(n for n in found.graph.node if found.graph.node[place].input[1] in n.output)
    tensor = next(t for t in found.graph.initializer if t.name == dequantize.input[0])
    values = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(-values), tensor.name))
    pair = make_pair(Model.load(float_model(name)), Model.load(found))
    matching = match(pair.original, pair.qdq, samples(name)[0])
    assert set(matching.by_structure) == {matched_name(matching, "block2.sum.shortcut")}
    layers = layers_of(float_model(name), found, samples(name)[0])
    wrong = [e for e in layers if e.origin == "block2.sum.shortcut.conv"]
    assert [e.node.name for e in wrong] == [found.graph.node[place].name]


def matched_name(matching, start: str) -> str:
    return next(name for name in matching.by_structure if matching.tensors[name].startswith(start))


def test_inputs_that_are_integers() -> None:
    """Token numbers: an embedding that is looked up in codes, and a MatMul behind it."""
    table = RNG.normal(size=(10, 8)).astype(np.float32)
    weight = RNG.normal(size=(8, 4)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Gather", ["table", "ids"], ["e"], "look"),
        onnx.helper.make_node("MatMul", ["e", "w"], ["y"], "mul"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [1, 5])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 5, 4])],
        [onnx.numpy_helper.from_array(table, "table"), onnx.numpy_helper.from_array(weight, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 13)]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    quantized = onnx.ModelProto()
    quantized.CopyFrom(proto)
    del quantized.graph.node[:]
    del quantized.graph.initializer[:]
    for name, values in (("table", table), ("w", weight)):
        scale = np.float32(np.abs(values).max() / 127)
        codes = np.rint(values / scale).astype(np.int8)
        quantized.graph.initializer.extend([
            onnx.numpy_helper.from_array(codes, f"{name}q"),
            onnx.numpy_helper.from_array(np.asarray(scale), f"{name}s"),
        ])  # fmt: skip
    make = onnx.helper.make_node
    quantized.graph.node.extend([
        make("Gather", ["tableq", "ids"], ["eq"], "n0"),
        make("DequantizeLinear", ["eq", "tables"], ["ed"], "n1"),
        make("DequantizeLinear", ["wq", "ws"], ["wd"], "n2"),
        make("MatMul", ["ed", "wd"], ["y"], "n3"),
    ])  # fmt: skip
    feed = {"ids": np.array([[1, 2, 3, 9, 0]])}
    found = {e.node.name: e.origin for e in layers_of(proto, quantized, feed)}
    assert found["n3"] == "mul"
