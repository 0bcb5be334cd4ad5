# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxq.calibrate.channel_extremes import ChannelExtremes, ChannelExtremesState
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model
from onnxq.passes.canonical.measure_shapes import MeasureShapes
from onnxq.passes.correct.quantize_weights import QuantizeWeights
from onnxq.passes.equalize.equalize_silu import EqualizeSiLU
from onnxq.pipeline import Context
from onnxq.pipeline.scaled import scaled_tensors
from onnxq.quant import PerAxis
from onnxq.testing import check_pass
from tests.passes.golden import check, context, parse

PASS = EqualizeSiLU(ratio=2.0)
K = np.array([255, 128, 1])  # of 255, for the ranges 8 : 4 : 0.01, the last one capped
A = 255 / K
RANGES = [8.0, 4.0, 0.01]

BEFORE = """g (float[1,3,6,6] x) => (float[1,3,6,6] y)
<float[3,3,1,1] w, float[3] b, float[3,1,3,3] v>
{ [conv] c = Conv(x, w, b)  [sig] s = Sigmoid(c)  [mul] m = Mul(c, s)
  [read]  y = Conv<group=3, pads=[1,1,1,1]>(m, v) }"""
AFTER = """g (float[1,3,6,6] x) => (float[1,3,6,6] y)
<float[3,3,1,1] w2, float[3] b2, float[1,3,1,1] k, float[3,1,3,3] v2>
{ c = Conv(x, w2, b2)  u = Mul(c, k)  s = Sigmoid(u)  m = Mul(c, s)
  y = Conv<group=3, pads=[1,1,1,1]>(m, v2) }"""


def ctx(*, axis: bool = True, **ranges: list[float]) -> Context:
    """A context in which the channels of tensors reach the given magnitudes."""
    made = context()
    if axis:
        weights = replace(made.target.weights, granularity=PerAxis(0))
        made.target = replace(made.target, weights=weights)
    made.statistics = Statistics(
        {
            name: {ChannelExtremes(): ChannelExtremesState(-high / 4, high)}
            for name, high in ((n, np.array(v, np.float32)) for n, v in ranges.items())
        },
        samples=1,
    )
    return made


def stored(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def test_match() -> None:
    w = stored(parse(BEFORE))
    expected = {
        "w2": w["w"] * A.reshape(3, 1, 1, 1),
        "b2": w["b"] * A,
        "k": (K / 255).reshape(1, 3, 1, 1),
        "v2": w["v"] / A.reshape(3, 1, 1, 1),
    }
    expected = {n: v.astype(np.float32) for n, v in expected.items()}
    used = ctx(c=RANGES, m=RANGES)
    result = check(PASS, BEFORE, AFTER, ctx=used, expected=expected)
    # reports on two files must not compare these with the tensors of the original
    assert scaled_tensors(Model.load(result)) == {"c", "m"}
    assert "m" not in used.statistics.states, "what was measured of a scaled tensor is stale"


@pytest.mark.parametrize(
    ("text", "reason", "options"),
    [
        (BEFORE.replace("=> (", "=> (float[1,3,6,6] m, "), "'m' is an output of the graph", {}),
        (BEFORE.replace("[read]", "[exp] n = Exp(m)  [read]"), "reaches 'exp' (Exp)", {}),
        (BEFORE, "within 1000:1", {"ratio": 1000.0}),
    ],
)
def test_decline(text: str, reason: str, options: dict[str, float]) -> None:
    check(
        EqualizeSiLU(**options),
        text,
        ctx=ctx(c=RANGES, m=RANGES),
        declines=[("conv", reason)],
    )


def test_decline_one_scale_for_all_channels() -> None:
    used = ctx(axis=False, m=RANGES)
    check(PASS, BEFORE, ctx=used, declines=[("conv", "one scale for all channels")])


def test_decline_shared_weight() -> None:
    text = """g (float[1,3,6,6] x) => (float[1,3,6,6] y) <float[3,3,1,1] w>
    { [conv] c = Conv(x, w)  s = Sigmoid(c)  m = Mul(c, s)  [read] y = Conv(m, w) }"""
    check(PASS, text, ctx=ctx(), declines=[("conv", "'w' is shared")])


def test_decline_noise_would_rise() -> None:
    """Widest where weights are largest: whatever one side gains, the other one loses."""
    text = BEFORE.replace("group=3, ", "").replace("float[3,1,3,3] v", "float[3,3,3,3] v")
    v = np.float32([64, 1 / 64, 64]).reshape(1, 3, 1, 1) * np.ones((3, 3, 3, 3), np.float32)
    used = ctx(c=[1.0, 1 / 32, 0.5], m=[1.0, 1 / 32, 0.5])
    check(PASS, text, ctx=used, weights={"v": v}, declines=[("conv", "would not go down")])


W, V, R = "float[3,3,1,1] w", "float[3] b, float[3,3,1,1] v", "float[4,3,3,3] r"
REACH = {
    "concat": f"""<{W}, {V}, float[4,9,1,1] r>
        {{ [a] c = Conv(x, w, b)  s = Sigmoid(c)  m = Mul(s, c)  d = Conv(m, v)  t = Sigmoid(d)  n = Mul(d, t)
        j = Concat<axis=1>(x, n, m)  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(j)  y = Conv(p, r) }}""",
    "residual": f"""<{W}, {V}, {R}>
        {{ [a] c = Conv(x, w, b)  s = Sigmoid(c)  m = Mul(c, s)  d = Conv(m, v)  t = Sigmoid(d)  n = Mul(d, t)
        e = Add(m, n)  f = Add(e, n)  g = Relu(f)  y = Conv(g, r) }}""",
    "linear branch": f"""<{W}, {V}, {R}>
        {{ [a] c = Conv(x, w, b)  s = Sigmoid(c)  m = Mul(c, s)  n = Conv(x, v)  e = Add(m, n)  y = Conv(e, r) }}""",
    "split and groups": """<float[6,3,1,1] w, float[6] b, float[3,3,1,1] v, float[4,6,1,1] r>
        { [a] c = Conv(x, w, b)  s = Sigmoid(c)  m = Mul(c, s)  o, n = Split<axis=1>(m)
        z = Conv(n, v)  t = Sigmoid(z)  q = Mul(z, t)  e = Concat<axis=-3>(o, q, m)  y = Conv<group=2>(e, r) }""",
    "gate": f"""<{W}, {V}, {R}>
        {{ [a] c = Conv(x, w, b)  s = Sigmoid(c)  m = Mul(c, s)  p = GlobalAveragePool(m)  q = Conv(p, v)
        t = Sigmoid(q)  n = Mul(m, t)  y = Conv(n, r) }}""",
    "linear layer": f"""<{W}, float[3] b, float[4,108] r>
        {{ [a] c = Conv(x, w, b)  s = Sigmoid(c)  m = Mul(c, s)  f = Flatten(m)  y = Gemm<transB=1>(f, r) }}""",
    "resize": f"""<{W}, float[3] b, {R}, float[4] sc = {{1,1,2,2}}>
        {{ [a] c = Conv(x, w, b)  s = Sigmoid(c)  m = Mul(c, s)
        u = Resize<mode="nearest">(m, , sc)  p = AveragePool<kernel_shape=[2,2]>(u)  y = Conv(p, r) }}""",
}


@pytest.mark.parametrize("case", REACH)
def test_factors_pass_through(case: str) -> None:
    """The layer in front is scaled, and the function is kept."""
    output = "[1,4]" if case == "linear layer" else "[1,4,H,W]"
    text = f"g (float[1,3,6,6] x) => (float{output} y) {REACH[case]}"
    channels = 6 if case.startswith("split") else 3
    steep = np.geomspace(0.02, 4, channels).astype(np.float32)
    proto = parse(text)
    for tensor in proto.graph.initializer:
        if tensor.name in ("w", "b"):
            value = numpy_helper.to_array(tensor)
            value = value * steep.reshape([-1] + [1] * (value.ndim - 1))
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    found = check_pass(PASS, proto, prepare=[MeasureShapes()])
    assert not [d for d in found.journal.records[-1].declines if d.node == "a"]
    assert found.journal.records[-1].changed


def test_nothing_is_measured_without_a_silu() -> None:
    text = """g (float[1,3,6,6] x) => (float[1,3,6,6] y) <float[3,3,1,1] w, float[3,3,1,1] v>
    { [conv] c = Conv(x, w)  r = Relu(c)  y = Conv(r, v) }"""
    assert not PASS.wants(Model.load(parse(text)), ctx())
    check(PASS, text, ctx=ctx())


def test_the_constant_is_exact_in_8_bits() -> None:
    """Also where no channel of a SiLU keeps its factor 1, the constant's scale is 1/255."""
    k = (np.array([128, 64, 16]) / 255).astype(np.float32).reshape(1, 3, 1, 1)
    text = """g (float[1,3,6,6] x) => (float[1,3,6,6] y) <float[1,3,1,1] k> { y = Mul(x, k) }"""
    used = ctx()
    used.plan.tensors["k"] = replace(used.target.activations)
    model = Model.load(parse(text, {"k": k}))
    QuantizeWeights().run(model, used)
    assert used.qparams["k"].scale == np.float32(1 / 255)
    np.testing.assert_array_equal(used.integers["k"], np.rint(k * 255))
