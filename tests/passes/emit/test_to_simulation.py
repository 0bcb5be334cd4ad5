# ruff: noqa: E501 - graphs read best with a node on one line
"""The integers of a model as explicit arithmetic: the graph, and what has none."""

from __future__ import annotations

import onnx
import pytest

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model
from onnxq.integer.simulation import SIMULATION_KEY
from onnxq.passes.emit.to_simulation import ToSimulation
from onnxq.pipeline import Context
from onnxq.targets import get_target
from tests.passes.golden import apply, check, parse, same_graph

QDQ = """g (float[1,2,3,3] x) => (float[1,1,3,3] y)
    <float xs = {0.25}, int8 z = {0}, float ys = {2},
     int8[1,2,1,1] w = {3, -5}, float ws = {0.125}, int32[1] b = {7}, float bs = {0.03125}, int32 bz = {0}>
    { xq = QuantizeLinear (x, xs, z)  xd = DequantizeLinear (xq, xs, z)
      wd = DequantizeLinear (w, ws, z)  bd = DequantizeLinear (b, bs, bz)
      [conv] a = Conv (xd, wd, bd)  r = Relu (a)
      q = QuantizeLinear (r, ys, z)  y = DequantizeLinear (q, ys, z) }"""
ROUND = {"half-up": "t = Add (s, half)  n = Floor (t)", "nearest-even": "n = Round (s)"}


@pytest.mark.parametrize("rounding", ROUND)
def test_arithmetic(rounding: str) -> None:
    proto = parse(QDQ)
    onnx.helper.set_model_props(proto, {"onnxq.rounding": rounding})
    found, ctx = apply(ToSimulation(), proto)
    assert not ctx.journal.declines
    expected = f"""g (float[1,2,3,3] x) => (float[1,1,3,3] y)
        <float xs = {{0.25}}, float low = {{-128}}, float high = {{127}}, int8[1,2,1,1] w = {{3, -5}},
         float[1,1,1] b = {{7}}, float shift = {{0.015625}}, float half = {{0.5}}, float zero = {{0}},
         float ys = {{2}}>
        {{ xm = Div (x, xs)  xr = Round (xm)  xc = Clip (xr, low, high)  xq = Cast <to = 3> (xc)
          xf = Cast <to = 1> (xq)  wf = Cast <to = 1> (w)
          a = Conv <kernel_shape = [1, 1], strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0], group = 1> (xf, wf)
          p = Add (a, b)  s = Mul (p, shift)  {ROUND[rounding]}
          c = Clip (n, zero, high)  q = Cast <to = 3> (c)
          f = Cast <to = 1> (q)  y = Mul (f, ys) }}"""
    wanted = parse(expected)
    same_graph(found.graph, wanted.graph, {
        t.name: onnx.numpy_helper.to_array(t) for t in wanted.graph.initializer
    })  # fmt: skip
    assert {p.key: p.value for p in found.metadata_props}[SIMULATION_KEY] == "yes"


def test_a_scale_that_is_no_power_of_two_declines() -> None:
    before = QDQ.replace("ys = {2}", "ys = {0.3}")
    ctx = Context(target=get_target("x86"))
    check(ToSimulation(), before, ctx=ctx, declines=[("g", "is no power of two")])


def test_a_target_of_integers_insists() -> None:
    model = Model.load(parse(QDQ.replace("ys = {2}", "ys = {0.3}")))
    with pytest.raises(UnsupportedModelError, match=r"(?s)Quantize.*cannot run on integers alone"):
        ToSimulation().run(model, Context(target=get_target("fpga-pow2")))
