"""Bodies of If, Loop and Scan: quantized, calibrated on what they read, right on ONNX Runtime."""

from __future__ import annotations

import json
import runpy
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import onnxq
from onnxq.calibrate.bodies import body_feeds
from onnxq.graph import Model
from onnxq.graph.bodies import bodies, subgraphs
from onnxq.report.coverage import check
from onnxq.runtime.session import Session
from tests.api.qat_models import Qat
from tests.models.test_models import MODELS
from tests.passes.golden import outputs
from tests.zoo import model as zoo_model
from tests.zoo import needs_zoo, zoo

NETWORKS = runpy.run_path(str(MODELS / "control_flow_graphs.py"))["NETWORKS"]
LAYERS = {"loop": 2, "scan": 3, "branches": 3}
"""How many layers with weights the bodies have."""


def samples(name: str, count: int, seed: int, *, exact: bool | None = None) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    if name == "loop":
        return [{"x": normal(2, 32), "steps": np.array(2 + i % 4)} for i in range(count)]
    if name == "scan":
        return [{"xs": normal(3 + i % 5, 2, 32), "begin": normal(2, 32)} for i in range(count)]
    return [
        {"image": normal(1, 3, 6, 6), "exact": np.array(i % 2 == 0 if exact is None else exact)}
        for i in range(count)
    ]


def inner_ops(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for node in model.graph.node for g in subgraphs(node) for n in g.node]


@pytest.mark.parametrize("name", NETWORKS)
def test_static(name: str) -> None:
    result = onnxq.quantize(NETWORKS[name](), data=samples(name, 20, 0), target="x86-vnni",
                            recipe="fast", report_detail="layers")  # fmt: skip
    proto = result.model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    inside = [e for e in result.report["layers"] if e.get("body")]
    products = [e for e in inside if e["op_type"] in ("MatMul", "Conv")]
    assert len(products) == LAYERS[name]
    assert all(e["kernel"] for e in products), "each is an integer kernel"
    assert all(e["isolated_sqnr_db"] > 25 for e in products)
    assert inner_ops(proto).count("QuantizeLinear") >= LAYERS[name] - 1
    assert result.report["summary"]["integer_macs_percent"] == 100
    found = check(result.model, int8=False)
    assert found.macs_percent == 100, "in the model around it too"
    assert found.summary()["macs"] > 0 and not found.unfused
    noted = json.loads(result.model.metadata["onnxq.coverage"])
    assert noted["integer_macs_percent"] == 100
    assert noted["integer_nodes_percent"] == pytest.approx(found.nodes_percent, abs=0.01)
    assert not any(e["op_type"] in ("If", "Loop", "Scan") for e in result.report["kept_float"])
    for feed in samples(name, 3, 5):
        for real, found in zip(outputs(NETWORKS[name](), feed), outputs(proto, feed), strict=True):
            assert np.abs(real - found).max() < 0.08 * np.abs(real).max()
    again = onnxq.quantize(NETWORKS[name](), data=samples(name, 20, 0), target="x86-vnni",
                           recipe="fast")  # fmt: skip
    assert again.model.to_proto() == proto


@pytest.mark.parametrize("mode", ["dynamic", "weights"])
@pytest.mark.parametrize("name", NETWORKS)
def test_other_modes(name: str, mode: str) -> None:
    result = onnxq.quantize(NETWORKS[name](), mode=mode, target="x86-vnni")
    proto = result.model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    floats = [t for t in proto.graph.initializer if t.data_type == 1 and np.prod(t.dims) > 500]
    assert not floats, "captured weights are codes"
    assert proto.ByteSize() < NETWORKS[name]().ByteSize()
    for feed in samples(name, 2, 5):
        for real, found in zip(outputs(NETWORKS[name](), feed), outputs(proto, feed), strict=True):
            assert np.abs(real - found).max() < 0.05 * np.abs(real).max()


@pytest.mark.parametrize("name", ["loop", "scan"])
def test_steps_are_those_of_the_runtime(name: str) -> None:
    """The last state that the steps lead to is what ONNX Runtime gives out."""
    model = NETWORKS[name]()
    (feed,) = samples(name, 1, 3)
    (body,) = bodies(model)
    fed = [f for _, f in body_feeds(model, [body], [feed], most=100)]
    assert len(fed) == (2 if name == "loop" else 3)
    onnx.checker.check_model(model)
    state = "h" if name == "loop" else "state"
    before = dict(feed, steps=np.array(1)) if name == "loop" else dict(feed, xs=feed["xs"][:-1])
    expected = outputs(model, before)
    if name == "scan":
        assert np.allclose(fed[-1][state], expected[0], atol=1e-6)
    else:
        assert np.allclose(fed[-1][state].mean(1), expected[1][-1], atol=1e-6)


def test_a_branch_without_samples_keeps_its_activations_in_float() -> None:
    result = onnxq.quantize(NETWORKS["branches"](), data=samples("branches", 12, 0, exact=False),
                            target="x86-vnni", recipe="fast")  # fmt: skip
    found = {b["body"]: b for b in result.report["summary"]["bodies"]}
    assert found["else_branch"]["steps"] > 0 and found["else_branch"]["reason"] == ""
    assert "no sample reaches it" in found["then_branch"]["reason"]
    proto = result.model.to_proto()
    held = next(n for n in proto.graph.node if n.op_type == "If")
    ops = {a.name: [n.op_type for n in a.g.node] for a in held.attribute}
    assert "QuantizeLinear" in ops["else_branch"] and "QuantizeLinear" not in ops["then_branch"]
    assert "DequantizeLinear" in ops["then_branch"] or "Cast" in ops["then_branch"]
    (feed,) = samples("branches", 1, 9, exact=True)
    (real,), (found_,) = outputs(NETWORKS["branches"](), feed), outputs(proto, feed)
    assert np.abs(real - found_).max() < 0.08 * np.abs(real).max()


def test_float8_in_bodies() -> None:
    result = onnxq.quantize(NETWORKS["branches"](), data=samples("branches", 12, 0),
                            target="generic", activations="float8", recipe="fast")  # fmt: skip
    assert [b["reason"] for b in result.report["summary"]["bodies"]] == ["", ""]
    inside = [e for e in result.report["layers"] if e.get("body")]
    assert len(inside) == LAYERS["branches"]
    assert all("float8e4m3fn" in e["precision"] for e in inside)
    proto = result.model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    for feed in samples("branches", 2, 5):
        (real,) = outputs(NETWORKS["branches"](), feed)
        (found,) = ReferenceEvaluator(proto).run(None, feed)
        assert np.abs(real - found).max() < 0.15 * np.abs(real).max()
        assert np.allclose(found, Session(proto).run(feed)["y"], rtol=0.02, atol=0.02)


def test_an_excluded_node_keeps_its_body() -> None:
    data = samples("branches", 12, 0)
    result = onnxq.quantize(NETWORKS["branches"](), data=data, target="x86-vnni",
                            exclude=["op:If"], recipe="fast")  # fmt: skip
    assert "QuantizeLinear" not in inner_ops(result.model.to_proto())
    assert any(k["op_type"] == "If" and "op:If" in k["reason"] for k in result.report["kept_float"])
    one = onnxq.quantize(NETWORKS["branches"](), data=data, target="x86-vnni",
                         exclude=["detail_node"], recipe="fast")  # fmt: skip
    layers = {e["node"] for e in one.report["layers"]}
    assert "sharp_node" in layers and "detail_node" not in layers


def test_without_data() -> None:
    """Ranges of what branches read are estimated; states change in each step, in no known way."""
    made = onnxq.quantize(NETWORKS["branches"](), data_free=True, target="x86-vnni")
    assert [b["reason"] for b in made.report["summary"]["bodies"]] == ["", ""]
    assert made.report["summary"]["integer_macs_percent"] == 100
    for name, state in (("loop", "h"), ("scan", "state")):
        result = onnxq.quantize(NETWORKS[name](), data_free=True, target="x86-vnni")
        (body,) = result.report["summary"]["bodies"]
        assert body["layers"] == LAYERS[name] and f"each step changes '{state}'" in body["reason"]
        ops = inner_ops(result.model.to_proto())
        assert ops.count("Cast") == LAYERS[name] and "QuantizeLinear" not in ops
    for feed in samples("scan", 2, 5):
        found = outputs(result.model.to_proto(), feed)
        for a, b in zip(outputs(NETWORKS["scan"](), feed), found, strict=True):
            assert np.abs(a - b).max() < 0.05 * np.abs(a).max()


def test_hardware_without_floating_point_leaves_bodies_to_the_host() -> None:
    report = onnxq.quantize(NETWORKS["branches"](), target="fpga-pow2", recipe="fast",
                            exclude=["op:If"], data=samples("branches", 12, 0)).report  # fmt: skip
    kept = {k["node"]: k["reason"] for k in report["kept_float"]}
    assert "op:If" in kept["if"]
    assert 0 < report["summary"]["integer_macs_percent"] < 100, "bodies count, in float"


@pytest.mark.parametrize("name", ["branches", "scan"])
def test_scales_of_training_are_kept(name: str) -> None:
    given = onnxq.quantize(NETWORKS[name](), data=samples(name, 20, 0), target="x86-vnni",
                           recipe="fast").model.to_proto()  # fmt: skip
    result = onnxq.quantize(given, keep_scales=True, target="arm")
    proto = result.model.to_proto()
    assert [b["reason"] for b in result.report["summary"]["bodies"]] == [""] * (
        2 if name == "branches" else 1
    )
    assert result.report["summary"]["integer_macs_percent"] == 100
    before, after = (codes(m) for m in (given, proto))
    assert len(before) == len(after) > LAYERS[name] - 1
    assert all(any(np.array_equal(w, other) for other in after) for w in before)
    for feed in samples(name, 3, 5):
        for real, found in zip(outputs(given, feed), outputs(proto, feed), strict=True):
            assert np.abs(real - found).max() < (1e-6 if name == "branches" else 0.02)


def codes(model: onnx.ModelProto) -> list[np.ndarray]:
    """Matrices and kernels of int8 in the main graph and in bodies."""
    graphs = [model.graph, *(g for node in model.graph.node for g in subgraphs(node))]
    stored = [onnx.numpy_helper.to_array(t) for g in graphs for t in g.initializer]
    return [w for w in stored if w.dtype == np.int8 and w.ndim > 1]


@pytest.mark.parametrize("form", ["qdq", "div", "quant"])
def test_what_training_rounded_in_and_around_a_branch(form: str) -> None:
    """One weight and the input are rounded outside, another weight and its input inside."""
    out, inside = Qat(form=form), Qat(form=form, rng=np.random.default_rng(4))
    x = out.activation("x", "xd", -2, 2)
    weight = out.weight("w", (8, 8), axis=1)
    one = inside.node("MatMul", [x, weight], "one")
    again = inside.activation(one, "oned", -3, 3)
    inside.node("MatMul", [again, inside.weight("v", (8, 8), axis=1)], "two")
    real = onnx.helper.make_tensor_value_info
    branch = onnx.helper.make_graph(inside.nodes, "t", [], [real("two", 1, [2, 8])],
                                    inside.constants)  # fmt: skip
    plain = onnx.helper.make_graph([onnx.helper.make_node("Neg", [x], ["n"], "neg")], "e", [],
                                   [real("n", 1, [2, 8])])  # fmt: skip
    choice = onnx.helper.make_node("If", ["p"], ["y"], "if", then_branch=branch, else_branch=plain)
    ends = [real("x", 1, [2, 8]), real("p", 9, [])], [real("y", 1, [2, 8])]
    graph = onnx.helper.make_graph([*out.nodes, choice], "g", *ends, out.constants)
    domains = [onnx.helper.make_opsetid("", 17)]
    if form == "quant":
        domains.append(onnx.helper.make_opsetid("qonnx.custom_op.general", 1))
    model = onnx.helper.make_model(graph, opset_imports=domains, ir_version=8)
    result = onnxq.quantize(model, keep_scales=True, target="x86-vnni")
    found = codes(result.model.to_proto())
    for name, wanted in {**out.codes, **inside.codes}.items():
        assert any(np.array_equal(w, wanted) for w in found), name
    layers = {e["node"]: e for e in result.report["layers"]}
    assert layers["one"]["kernel"] == "QLinearMatMul" and layers["two"]["kernel"]
    assert layers["one"]["body"] == "then_branch of 'if'"
    qdq = onnxq.quantize(model, keep_scales=True, target="generic")
    feed = {"x": np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32),
            "p": np.array(True)}  # fmt: skip
    (a,), (b,) = (outputs(m.model.to_proto(), feed) for m in (result, qdq))
    assert np.abs(a - b).max() < 0.05 * np.abs(a).max()
    if form == "qdq":
        assert np.abs(outputs(model, feed)[0] - a).max() < 0.02 * np.abs(a).max()


def test_functions_in_bodies_in_bodies() -> None:
    """A function in the graph, in a branch, and in a loop in that branch: all on integers."""
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[2,16] x, bool p, int64 n) => (float[2,16] y) { a = own.layer (x, w)
        [if] y = If (p) <then_branch = t () => (float[2,16] m) { b = own.layer (a, w)
            [loop] m = Loop (n, , b) <body = l (int64 i, bool c, float[2,16] h) =>
                (bool d, float[2,16] e) { d = Identity (c)  u = own.layer (h, v)
                e = Add (u, a) }> },
            else_branch = e () => (float[2,16] k) { k = Abs (a) }> }
        <domain: "own", opset_import: ["" : 17]> layer (q, r) => (s) { t = MatMul (q, r)
            z = Constant <value = float {0.25}> ()  o = Add (t, z)  s = Tanh (o) }""")
    rng = np.random.default_rng(0)
    for name in "wv":
        weight = rng.normal(0, 0.25, (16, 16)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    data = [{"x": rng.normal(size=(2, 16)).astype(np.float32), "p": np.array(i % 3 != 0),
             "n": np.array(2 + i % 3)} for i in range(20)]  # fmt: skip
    result = onnxq.quantize(model, data=data, target="x86-vnni", recipe="fast")
    where = {e.get("body", ""): e["kernel"] for e in result.report["layers"]}
    deep = "body of 'loop' in then_branch of 'if'"
    assert where.keys() == {"", "then_branch of 'if'", deep} and all(where.values())
    found = check(result.model, int8=False)
    assert found.macs_percent == result.report["summary"]["integer_macs_percent"] == 100
    for feed in data[:3]:
        (real,), (here,) = outputs(model, feed), outputs(result.model.to_proto(), feed)
        assert np.abs(real - here).max() < 0.03 * np.abs(real).max()


@needs_zoo
def test_layers_in_branches_of_branches_are_counted() -> None:
    """The voice detector has all of its layers in an If, and its LSTM in one inside of that."""
    model = Model.load(zoo_model("silero_vad"))
    found = check(model, feed=next(zoo().calibration("silero_vad", 1)), int8=False)
    layers = {n.op_type: n for n in found.nodes if n.macs}
    assert layers.keys() == {"Conv", "LSTM"}
    assert layers["LSTM"].body.endswith("in then_branch of 'If_0'")
    assert found.macs_percent == 0 and found.summary()["macs"] > 800_000
