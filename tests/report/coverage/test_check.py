"""Coverage of whole models: those of other tools, and onnxq's own."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

import onnxq
from onnxq.graph import Model
from onnxq.report.coverage import Coverage, check
from onnxq.report.coverage.check import UNKNOWN, cover
from onnxq.report.coverage.conversions import Reader
from onnxq.report.coverage.outcome import became, named
from onnxq.report.coverage.qdq_groups import find_qdq_groups
from onnxq.report.coverage.rules import RULES
from onnxq.runtime.coverage import optimized
from onnxq.testing import random_feeds
from tests.api.fusion_models import MODELS
from tests.passes.golden import parse
from tests.report.foreign import FIXTURES, by_onnxruntime, float_model, samples
from tests.report.foreign import Reader as Samples


def looked_at(proto: onnx.ModelProto) -> Coverage:
    """The check of *proto*, having made sure that no group that fused breaks a rule."""
    found = check(Model.load(proto), int8=False)
    proto = named(proto)
    run = optimized(proto, int8=False)
    kinds = {n.node: n for n in found.nodes}
    for group in find_qdq_groups(became(proto.graph, run.graph), Reader(proto, int8=False)):
        outcome = kinds[group.node.name]
        if outcome.kind == "integer" and outcome.runs_as != "MatMulNBits":
            wrong = [(r.name, r.broken(group)) for r in RULES if r.broken(group)]
            assert not wrong, (outcome, wrong)
    return found


def unfused(coverage: Coverage) -> dict[str, list[str]]:
    return {u.node: [f.rule for f in u.findings] for u in coverage.unfused}


@pytest.mark.parametrize("name", MODELS)
def test_what_onnxq_makes_is_covered(name: str) -> None:
    text, expected = MODELS[name]
    source = parse(text)
    result = onnxq.quantize(source, data=random_feeds(source, 4), target="x86", recipe="fast")
    found = looked_at(result.model.to_proto())
    kinds = {n.node: n for n in found.nodes}
    assert all(kinds[node].kind == "integer" for node in expected)
    assert not found.hazards
    assert not found.exposed
    assert not set(unfused(found)) & set(result.ctx.plan.nodes)


def test_nncf() -> None:
    found = looked_at(onnx.load(FIXTURES / "digits_mobilenet.nncf.onnx"))
    rules = unfused(found)
    assert ["unknown"] not in rules.values()
    assert rules["block1.expand"] == ["clamp"]
    assert rules["block1.depthwise"] == ["scale-per-channel"]
    assert rules["block2.add"] == ["types"]
    assert found.macs_percent == pytest.approx(28.3, abs=0.1)
    plain = looked_at(onnx.load(FIXTURES / "digits_resnet.nncf.onnx"))
    assert plain.macs_percent == 0
    assert set(map(tuple, unfused(plain).values())) == {
        ("output-float",),
        ("input-float", "bias-float"),
    }


def test_onnxsim() -> None:
    found = looked_at(onnx.load(FIXTURES / "digits_mobilenet.onnxsim.onnx"))
    assert found.nodes_percent == found.macs_percent == 100
    assert not found.unfused


@pytest.mark.parametrize("name", ["digits_resnet", "digits_mobilenet"])
@pytest.mark.parametrize("kind", ["folded qdq", "qoperator", "qdq"])
def test_onnxruntime(name: str, kind: str, tmp_path: Path) -> None:
    model = by_onnxruntime(float_model(name), samples(name, 4), tmp_path, kind)
    found = looked_at(model)
    assert found.macs_percent == 100
    if name == "digits_resnet" and kind != "folded qdq":  # the batch norms were left in
        assert set(map(tuple, unfused(found).values())) == {("operator",)}
        assert len(found.unfused) == 11
        assert found.conversions > 20
    else:
        assert not found.unfused
        assert found.nodes_percent == 100


@pytest.mark.parametrize("name", ["digits_resnet", "digits_mobilenet"])
@pytest.mark.parametrize(
    ("activation", "rule"), [(QuantType.QInt8, "int8-on-x86"), (QuantType.QInt16, "bits")]
)
def test_onnxruntime_with_other_activations(name, activation, rule, tmp_path: Path) -> None:
    onnx.save(float_model(name), tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "int.onnx", Samples(samples(name, 2)),
        quant_format=QuantFormat.QDQ, activation_type=activation, weight_type=QuantType.QInt8,
    )  # fmt: skip
    found = looked_at(onnx.load(tmp_path / "int.onnx"))
    rules = unfused(found)
    assert UNKNOWN.rule not in {r for group in rules.values() for r in group}
    assert rule in {r for group in rules.values() for r in group}
    assert found.macs_percent < 90


def test_dynamic(tmp_path: Path) -> None:
    model = by_onnxruntime(float_model("digits_mobilenet"), samples("digits_mobilenet", 1),
                           tmp_path, "dynamic")  # fmt: skip
    found = looked_at(model)
    assert found.macs_percent == 100
    assert found.nodes_percent < 30
    assert found.conversions == 17


def test_float_and_nodes_without_names() -> None:
    proto = float_model("digits_resnet")
    for node in proto.graph.node:
        node.name = ""
    found = looked_at(proto)
    assert found.macs_percent == found.nodes_percent == 0
    assert len({n.node for n in found.nodes}) == len(found.nodes)
    assert found.nodes[0].node.startswith("Conv:")
    assert all(n.kind in ("float", "removed") for n in found.nodes)


def test_shapes_that_are_only_known_in_a_run() -> None:
    proto = float_model("digits_resnet")
    plain = check(Model.load(proto)).summary()["macs"]
    reshape = onnx.helper.make_node("Reshape", ["input", "to"], ["image"], "reshape")
    shape = onnx.helper.make_node("Shape", ["input"], ["to"], "shape")
    proto.graph.node[0].input[0] = "image"
    proto.graph.node.insert(0, reshape)
    proto.graph.node.insert(0, shape)
    del proto.graph.value_info[:]
    assert check(Model.load(proto)).summary()["macs"] == plain > 0


def test_bodies_are_looked_at() -> None:
    """What did not fuse in a body is named with the body, nested ones included."""
    inner = """[read] xd = DequantizeLinear (xq, s, z)  [node] t = Neg (xd)
        [write] yq = QuantizeLinear (t, s, z)  [back] {} = DequantizeLinear (yq, s, z)"""
    text = f"""g (float[4,4] x, bool p) => (float[4,4] y) <float s = {{0.1}}, uint8 z = {{10}},
        int8[4,4] w, int8 i = {{0}}> {{ [relu] a = Relu (x) [q] xq = QuantizeLinear (a, s, z)
        [if] y = If (p) <then_branch = t () => (float[4,4] m) {{ [in] m = If (p)
            <then_branch = u () => (float[4,4] o) {{ {inner.format("o")} }},
             else_branch = v () => (float[4,4] o2) {{ o2 = Abs (a) }}> }},
        else_branch = e () => (float[4,4] n) {{ [own] aq = QuantizeLinear (a, s, z)
            [ad] ad = DequantizeLinear (aq, s, z) [wd] wd = DequantizeLinear (w, s, i)
            [product] n = MatMul (ad, wd) }}> }}"""
    found = looked_at(parse(text))
    kinds = {(n.node, n.body): n.kind for n in found.nodes}
    deep = "then_branch of 'in' in then_branch of 'if'"
    assert kinds["relu", ""] == "float" and kinds["if", ""] == "control"
    assert kinds["node", deep] == "around"
    assert kinds["product", "else_branch of 'if'"] == "integer"
    assert found.kernels["product"] == "MatMulIntegerToFloat"
    assert [(u.node, u.body, u.findings[0].rule) for u in found.unfused] == [
        ("node", deep, "operator")
    ]
    assert found.macs_percent == 100 and found.summary()["macs"] == 64
    assert found.summary()["inner_nodes"] == 10


def test_a_branch_whose_condition_is_stored() -> None:
    """ONNX Runtime puts it in the place of the If, under other names."""
    text = """g (float[4] x) => (float[4] y) <bool p = {1}> { [relu] a = Relu (x)
        [if] y = If (p) <then_branch = t () => (float[4] m) { b = Neg (a)  [sig] m = Sigmoid (b) },
                         else_branch = e () => (float[4] n) { n = Abs (a) }> }"""
    found = check(Model.load(parse(text)))
    assert [(n.op_type, n.kind, n.runs_as) for n in found.nodes] == [
        ("Relu", "float", "Relu"), ("If", "control", ""), ("Neg", "float", "Neg"),
        ("Sigmoid", "float", "Sigmoid"), ("Abs", "removed", ""),
    ]  # fmt: skip


def test_functions_are_looked_into() -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[2,4] x, float[4,4] w) => (float[2,4] y) { a = own.layer (x, w)
            y = own.layer (a, w) }
        <domain: "own", opset_import: ["" : 17]> layer (u, w) => (v) { t = MatMul (u, w)
            [act] v = Sigmoid (t) }""")
    found = check(Model.load(model))
    assert [n.op_type for n in found.nodes] == ["MatMul", "Sigmoid"] * 2
    assert found.nodes[1].node.startswith("layer/act")
    assert found.summary()["macs"] == 64
    assert found.macs_percent == 0


def test_what_is_not_known_is_called_unknown() -> None:
    proto = named(onnx.load(FIXTURES / "digits_resnet.nncf.onnx"))
    run = optimized(proto)
    # the rules are those of the CPU: of another provider nothing is claimed
    found = cover(proto, run, {}, [("OtherExecutionProvider", {})])
    assert len(found.unfused) == 12
    assert all(u.findings == (UNKNOWN,) for u in found.unfused)
    assert "does not know" in UNKNOWN.why


def test_as_dict_is_json() -> None:
    import json

    found = looked_at(onnx.load(FIXTURES / "digits_mobilenet.nncf.onnx")).as_dict()
    assert json.loads(json.dumps(found))["summary"]["unfused"] == len(found["unfused"]) == 15
