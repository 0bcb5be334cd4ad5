from __future__ import annotations

import numpy as np

from onnxq.runtime.coverage import kernels
from tests.passes.golden import outputs, parse, same_graph
from tests.passes.stages import run

RECIPE = "plan-dynamic{min_values=1},round-weights,insert-dynamic"
ONE = "g (float[2,8] x) => (float[2,4] y) <float[8,4] w> { [mm] y = MatMul (x, w) }"


def test_a_product_becomes_what_the_runtime_fuses() -> None:
    model, ctx = run(ONE, RECIPE)
    after = """g (float[2,8] x) => (float[2,4] y) <int8[8,4] codes, float[4] scales>
        { q, s, z = DynamicQuantizeLinear (x)  a = MatMulInteger (q, codes, z)
          f = Cast <to = 1> (a)  t = Mul (s, scales)  y = Mul (f, t) }"""
    codes = ctx.blocks["w"].quantize(_weight(ONE, "w"))
    same_graph(model.to_proto().graph, parse(after).graph, {"codes": codes})
    assert kernels(model) == {"mm": "DynamicQuantizeMatMul"}


def test_readers_of_one_tensor_share_its_codes() -> None:
    text = """g (float[2,8] x) => (float[2,4] y, float[2,4] z) <float[8,4] w, float[8,4] v>
        { [one] y = MatMul (x, w)  [two] z = MatMul (x, v) }"""
    model, _ = run(text, RECIPE)
    ops = [n.op_type for n in model.to_proto().graph.node]
    assert ops.count("DynamicQuantizeLinear") == 1 and ops.count("MatMulInteger") == 2
    assert set(kernels(model).values()) == {"MatMulIntegerToFloat"}


def test_gemm_keeps_alpha_beta_and_bias() -> None:
    text = """g (float[2,8] x) => (float[2,4] y) <float[4,8] w, float[4] b>
        { [gemm] y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b) }"""
    model, _ = run(text, RECIPE)
    x = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    (real,), (found,) = outputs(parse(text), {"x": x}), outputs(model.to_proto(), {"x": x})
    assert np.abs(found - real).max() < 0.02 * np.abs(real).max()
    assert "Gemm" not in {n.op_type for n in model.to_proto().graph.node}
    assert kernels(model) == {"gemm": "DynamicQuantizeMatMul"}


def test_bodies_have_their_own() -> None:
    text = """g (float[2,8] x, bool c) => (float[2,4] y) <float[8,4] w>
        { [if] y = If (c) <then_branch = left () => (float[2,4] p) { [in] p = MatMul (x, w) },
                           else_branch = right () => (float[2,4] q) { [out] q = MatMul (x, w) }>
        }"""
    model, _ = run(text, RECIPE)
    proto = model.to_proto()
    bodies = [a.g for a in proto.graph.node[0].attribute]
    assert [g.node[0].op_type for g in bodies] == ["DynamicQuantizeLinear"] * 2
    assert [t.name for t in proto.graph.initializer].count("w__q") == 1, "codes are stored once"
    for c in (True, False):
        feed = {"x": np.ones((2, 8), np.float32), "c": np.array(c)}
        (real,), (found,) = outputs(parse(text), feed), outputs(proto, feed)
        assert np.abs(found - real).max() < 0.02 * np.abs(real).max()


def test_what_is_not_planned_stays() -> None:
    model, ctx = run(ONE, "plan-dynamic{min_values=33},round-weights,insert-dynamic")
    assert [n.op for n in model.nodes()] == ["MatMul"]
    assert "fewer than 33" in ctx.journal.declines[0].reason


def _weight(text: str, name: str) -> np.ndarray:
    from onnx import numpy_helper

    (found,) = [t for t in parse(text).graph.initializer if t.name == name]
    return numpy_helper.to_array(found)
