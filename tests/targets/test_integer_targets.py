# ruff: noqa: E501 - graphs read best with a node on one line
"""Targets without floating point: every node is planned, every scale a power of two."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.quant import QuantSpec, Rounding, ScaleRule, Shared
from onnxq.targets import TARGETS, get_target
from tests.passes.stages import run

INTEGER = [t.name for t in TARGETS.values() if t.integer and not t.integer.multiplier]
NET = """g (float[1,2,8,8] x) => (float[1,3] y)
    <float[4,2,3,3] w, float[4] b, float[4,1,3,3] d, float[3,4] v, float[3] c, float zero = {0}, float six = {6}>
    { [conv] p = Conv<pads=[1,1,1,1]>(x, w, b)  [relu] q = Relu(p)
      [deep] r = Conv<group=4,pads=[1,1,1,1]>(q, d)  [clip] s = Clip(r, zero, six)
      [sum] t = Add(q, s)  [act] u = Relu(t)  [pool] m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(u)
      [mean] n = GlobalAveragePool(m)  [flat] f = Flatten(n)  [last] y = Gemm<transB=1>(f, v, c) }"""


@pytest.mark.parametrize("name", INTEGER)
def test_tables(name: str) -> None:
    target = get_target(name)
    arithmetic = target.integer
    assert arithmetic is not None
    assert target.activations.scale is target.weights.scale is ScaleRule.POWER_OF_TWO
    assert target.activations.symmetric and target.activations.dtype.signed
    assert not any(rule.float_output for rule in target.rules.values())
    assert 0 <= arithmetic.shift[0] < arithmetic.shift[1] < arithmetic.accumulator_bits
    assert set(arithmetic.aligned) <= target.rules.keys()


def test_what_each_promises() -> None:
    assert get_target("fpga-pow2").integer.rounding is Rounding.HALF_UP
    assert get_target("nxp").weights.rounding is Rounding.HALF_AWAY
    assert get_target("esp32").integer.bias_bits == 20
    assert get_target("dpu").integer.shift == (0, 16)
    assert get_target("x86").integer is None
    assert get_target("mcu-int8").integer.multiplier
    assert get_target("mcu-int8").activations.scale is ScaleRule.ANY


def test_every_node_is_planned_and_absorbed_ones_need_no_kernel() -> None:
    _, ctx = run(
        NET,
        "plan-kernels,keep-gated-depthwise,keep-output-layers,keep-wide-joins",
        target="fpga-pow2",
    )
    assert [*ctx.plan.nodes] == ["conv", "deep", "sum", "pool", "mean", "flat", "last"]
    assert not ctx.plan.kept_float and not ctx.plan.excluded
    assert ctx.plan.nodes["last"].outputs == (0,)
    assert isinstance(ctx.plan.tensors["y"], QuantSpec)
    assert ctx.plan.tensors["f"] == Shared("n")
    assert ctx.plan.tensors["s"].limits == (0.0, 6.0)


def test_relu_on_its_own_is_a_move() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
        <float[2,2,1,1] w> { [relu] a = Relu(x)  [conv] y = Conv(a, w) }"""
    _, ctx = run(text, "plan-kernels", target="fpga-pow2")
    assert [*ctx.plan.nodes] == ["relu", "conv"]
    assert ctx.plan.tensors["a"] == Shared("x")


def test_pad_with_another_value_than_zero() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,6,6] y)
        <float[2,2,1,1] w, int64[8] pads = {0,0,1,1,0,0,1,1}, float one = {1}>
        { [conv] a = Conv(x, w)  [pad] y = Pad(a, pads, one) }"""
    _, ctx = run(text, "plan-kernels", target="fpga-pow2")
    assert "another value than 0" in ctx.plan.kept_float["pad"]


@pytest.mark.parametrize("name", INTEGER)
def test_scales_are_powers_of_two(name: str) -> None:
    data = [
        {"x": np.random.default_rng(i).normal(size=(1, 2, 8, 8)).astype(np.float32)}
        for i in range(4)
    ]
    recipe = "plan-kernels,choose-ranges{method=mse},quantize-weights{method=mse},correct-biases,quantize-biases"
    _, ctx = run(NET, recipe, target=name, data=data)
    for tensor, q in ctx.qparams.items():
        assert (np.frexp(q.scale)[0] == 0.5).all(), tensor
        assert not q.zero_point.any(), tensor
