# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

import onnxq
from onnxq.passes.canonical.measure_shapes import MeasureShapes
from onnxq.passes.canonical.name_nodes import NameNodes
from onnxq.passes.equalize._split import most_outlying, split
from onnxq.passes.equalize.split_outlier_channels import SplitOutlierChannels
from onnxq.pipeline import Context
from onnxq.quant import PerAxis, PerTensor, QuantSpec, dtype
from onnxq.quant.choose import weight_codes, weight_qparams
from onnxq.targets import get_target
from onnxq.testing import check_pass
from tests.passes.golden import check, context, outputs, parse

PASS = SplitOutlierChannels()
SPEC = QuantSpec(dtype=dtype("int8"), symmetric=True, narrow_range=True)
TARGET = get_target("x86-vnni")

BEFORE = """g (float[1,2,6,6] x) => (float[1,4,5,5] y)
<float[3,2,1,1] w, float[3] b, float[4,3,2,2] v>
{ [one] z = Conv(x, w, b)  [relu] r = Relu(z)  [two] y = Conv(r, v) }"""
AFTER = """g (float[1,2,6,6] x) => (float[1,4,5,5] y)
<float[4,2,1,1] w, float[4] b, float[4,4,2,2] v>
{ z = Conv(x, w, b)  r = Relu(z)  y = Conv(r, v) }"""
RNG = np.random.default_rng(1)
V = RNG.uniform(-1, 1, (4, 3, 2, 2)).astype(np.float32)
V[:, 1] *= 10


def ctx(*, by_tensor: bool = True) -> Context:
    """A context of a real target, by default with one scale for each weight."""
    made = context()
    made.target = TARGET
    made.plan = replace(made.plan, granularity="tensor" if by_tensor else "channel")
    return made


def test_match() -> None:
    """The outlying channel is computed twice, and read with the two halves of its weights."""
    source = parse(BEFORE, {"v": V})
    stored = {t.name: numpy_helper.to_array(t) for t in source.graph.initializer}
    w, b = stored["w"], stored["b"]
    largest = np.abs(V[:, 1]).max()
    step = largest / 2 / (127 - 1 / 4)  # (w + s/2) / 2 = 127 s
    halves = (V[:, 1] - step / 2) / 2, (V[:, 1] + step / 2) / 2
    expected = {
        "w": w[[0, 1, 2, 1]],
        "b": b[[0, 1, 2, 1]],
        "v": np.stack([V[:, 0], halves[0], V[:, 2], halves[1]], axis=1),
    }
    check(PASS, BEFORE, AFTER, ctx=ctx(), weights={"v": V}, expected=expected)


@given(st.integers(0, 2**31), st.integers(1, 5), st.booleans(), st.integers(1, 3))
def test_copies_add_up(seed: int, copies: int, by_channel: bool, window: int) -> None:
    """In float to the weight, rounded to the weight rounded to the same steps."""
    weight = np.random.default_rng(seed).standard_t(2, (4, 6 * window)).astype(np.float32)
    spec = replace(SPEC, granularity=PerAxis(0) if by_channel else PerTensor())
    found = split(weight, 1, copies, window, spec)
    assert found.channels.tolist()[:6] == [0, 1, 2, 3, 4, 5]
    qparams = weight_qparams(found.weight, spec)
    codes = weight_codes(found.weight, qparams, spec)
    whole, total = np.zeros((4, 6, window)), np.zeros((4, 6, window), np.int64)
    for i, c in enumerate(found.channels):
        own = slice(i * window, (i + 1) * window)
        whole[:, c] += found.weight[:, own]
        total[:, c] += codes[:, own]
    scale = np.asarray(qparams.scale, np.float64).reshape(-1, 1)
    np.testing.assert_allclose(
        whole.reshape(4, -1), weight, rtol=0, atol=1e-6 * np.abs(weight).max()
    )
    off = total.reshape(4, -1) - weight / scale
    assert np.abs(off).max() < 0.51, "half a step, whatever the number of copies"


def test_the_next_channel_is_the_one_that_sets_the_steps() -> None:
    one = np.array([[1.0, 8.0, 3.0]])
    assert most_outlying(one, 4).tolist() == [1, 1, 2, 1], "8, 4, 3, 2.7"
    rows = np.array([[9.0, 1, 1], [1, 8, 1], [1, 8, 1]])
    assert most_outlying(rows, 1).tolist() == [1], "two rows of 8 come to more than one of 9"


GEMM = "<float[3,2,1,1] w, float[3] b, float[K,4] v, float[4] d> { [one] z = Conv(x, w, b)  [clip] r = Clip(z, , six)"
WHERE = {
    "conv": BEFORE,
    "pooled": f"g (float[1,2,6,6] x, float six) => (float[1,4] y) {GEMM.replace('K', '3')} p = GlobalAveragePool(r)  f = Flatten(p) [two] y = Gemm(f, v, d) }}",
    "flattened": f"g (float[1,2,6,6] x, float six) => (float[1,4] y) {GEMM.replace('K', '27')} p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)  f = Flatten(p) [two] y = Gemm(f, v, d) }}",
    "gemm": "g (float[5,2] x) => (float[5,4] y) <float[3,2] w, float[1] b, float[4,3] v> { [one] z = Gemm<transB=1, beta=0.5>(x, w, b)  [act] r = Tanh(z)  [two] y = Gemm<transB=1>(r, v) }",
    "matmul": "g (float[2,5,2] x) => (float[2,5,4] y) <float[2,3] w, float[3,4] v> { [one] z = MatMul(x, w)  [act] r = LeakyRelu(z)  [two] y = MatMul(r, v) }",
}  # fmt: skip


@pytest.mark.parametrize("by_tensor", [True, False])
@pytest.mark.parametrize("case", WHERE)
def test_the_function_is_kept(case: str, by_tensor: bool) -> None:
    text = WHERE[case]
    shape = [int(n) for n in text.split("] v")[0].rpartition("[")[2].split(",")]
    axis = 0 if shape[-1] == 4 and len(shape) == 2 and case != "gemm" else 1
    window = shape[axis] // 3
    v = np.moveaxis(RNG.uniform(-1, 1, shape), axis, 0)
    v[window : 2 * window] *= 10
    v = np.ascontiguousarray(np.moveaxis(v, 0, axis), np.float32)
    proto = parse(text, {"v": v})
    granularity = PerTensor() if by_tensor else PerAxis(0)
    target = replace(TARGET, weights=replace(TARGET.weights, granularity=granularity))
    used = check_pass(PASS, proto, prepare=[NameNodes(), MeasureShapes()], target=target)
    record = used.journal.records[-1]
    assert record.changed
    assert not [d for d in record.declines if d.node == "two"]


@pytest.mark.parametrize(
    ("old", "new", "node", "reason"),
    [
        ("=> (float", "=> (float[1,3,6,6] r, float", "one", "'r' is an output"),
        ("[two]", "[add] e = Add(r, z) [two]", "one", "'z' is read 2 times"),
        ("r = Relu(z)", "r = PRelu(z, slope)", "one", "reaches 'relu' (PRelu)"),
        ("Conv(r, v)", "Conv<group=3>(r, v)", "two", "has groups"),
        ("(r, v)", "(r, u)  [u] u = Neg(v)", "two", "weight of 'two' is shared, computed"),
    ],
)
def test_declines(old: str, new: str, node: str, reason: str) -> None:
    text, weights = BEFORE.replace(old, new), {"v": V}
    if "PRelu" in new:
        text = text.replace("<float[3,2", "<float[3,1,1] slope, float[3,2")
    if "group" in new:
        text = text.replace("[4,3,2,2]", "[3,1,2,2]").replace("[1,4,5,5]", "[1,3,5,5]")
        weights = {}
    if "[u]" in new:
        text = text.replace("  [u] u = Neg(v)", "").replace("[one]", "[u] u = Neg(v)  [one]")
    check(PASS, text, ctx=ctx(), weights=weights, declines=[(node, reason)])


def test_decline_where_it_does_not_pay() -> None:
    v = np.ones((4, 3, 2, 2), np.float32) * RNG.choice([-1, 1], (4, 3, 2, 2)).astype(np.float32)
    v[:, :, 0] *= 0.37
    check(PASS, BEFORE, ctx=ctx(), weights={"v": v}, declines=[("two", "rounding error of its weight is")])  # fmt: skip


def test_less_is_lost_where_a_channel_is_an_outlier() -> None:
    data = [{"x": RNG.normal(size=(1, 2, 6, 6)).astype(np.float32)} for _ in range(8)]
    w = RNG.choice([-1, 1], (3, 2, 1, 1)).astype(np.float32)  # exact in 4 bits
    made = {"v": V, "w": w}
    reference = parse(BEFORE, made, opset=21)

    def lost(first: str) -> float:
        kernels = "plan-kernels{weights=int4,granularity=tensor}"
        recipe = f"name-nodes,{first}{kernels},choose-ranges,quantize-weights,insert-qdq"
        found = onnxq.quantize(
            reference, data=data, target="x86-vnni", recipe=recipe
        ).model.to_proto()
        errors = [outputs(found, f)[0] - outputs(reference, f)[0] for f in data]
        return float(np.square(errors).mean())

    assert lost("split-outlier-channels{percent=50},") < lost("") / 4
