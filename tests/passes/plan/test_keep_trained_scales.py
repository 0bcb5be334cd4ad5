from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import DataError, UnsupportedModelError
from onnxq.passes.canonical.read_fake_quantization import ReadFakeQuantization
from onnxq.passes.plan.keep_trained_scales import KeepTrainedScales
from onnxq.passes.plan.lift_fake_quantization import LiftFakeQuantization
from onnxq.passes.plan.plan_kernels import PlanKernels
from onnxq.pipeline import Context
from onnxq.quant import Fixed, QuantSpec
from tests.passes.stages import run

HEAD = """g (float[1,3,4,4] x) => (float[1,3,2,2] y)
    <float[3,3,1,1] w, float[3] ws = {0.01, 0.02, 0.04}, int8[3] wz = {0, 0, 0},
     float s = {0.5}, uint8 z = {3}, float t = {0.25}, uint8 u = {0}>
    { xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
      wq = QuantizeLinear <axis = 0> (w, ws, wz)  wd = DequantizeLinear <axis = 0> (wq, ws, wz)
      [conv] a = Conv (xd, wd)  """
TAIL = """[pool] p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r)
      pq = QuantizeLinear (p, t, u)  y = DequantizeLinear (pq, t, u) }"""


def keep(text: str, target: str = "x86-vnni", fill: str = "calibration") -> Context:
    passes = [ReadFakeQuantization(), LiftFakeQuantization(), PlanKernels(),
              KeepTrainedScales(fill=fill)]  # type: ignore[arg-type] # fmt: skip
    return run(text, passes, target=target)[1]


def scale_of(ctx: Context, name: str) -> tuple[float, int, tuple[int, int] | None]:
    planned = ctx.plan.tensors[name]
    assert isinstance(planned, Fixed), (name, planned)
    q = planned.qparams
    return float(q.scale), int(q.zero_point), q.codes


def test_activations_and_weights_are_fixed_and_a_pool_hands_its_grid_up() -> None:
    ctx = keep(HEAD + "[relu] r = Relu (a)  " + TAIL)
    assert scale_of(ctx, "x") == (0.5, 3, None)
    assert scale_of(ctx, "r") == (0.25, 0, None)  # what only the pool reads
    (weight,) = (t for n, t in ctx.plan.tensors.items() if n.startswith("wd"))
    assert isinstance(weight, Fixed)
    np.testing.assert_allclose(weight.qparams.scale, [0.01, 0.02, 0.04], rtol=1e-6)
    assert ctx.plan.nodes["conv"].absorbs == ("relu",)
    assert ctx.plan.rounded == {"x"}


def test_an_absorbed_relu_narrows_codes_below_its_zero_point() -> None:
    ctx = keep(HEAD + "[relu] r = Relu (a)  " + TAIL.replace("t, u", "t, z"))
    assert scale_of(ctx, "r") == (0.25, 3, (3, 255))


def test_rounding_before_a_relu_is_that_behind_it() -> None:
    middle = """aq = QuantizeLinear (a, s, z)  ad = DequantizeLinear (aq, s, z)
        [relu] r = Relu (ad)  """
    ctx = keep(HEAD + middle + TAIL)
    assert ctx.plan.nodes["conv"].absorbs == ("relu",)
    assert scale_of(ctx, "r") == (0.5, 3, (3, 255))
    assert scale_of(ctx, "y") == (0.25, 0, None)


def test_what_no_kernel_computes_is_rounded_in_float() -> None:
    ctx = keep(HEAD + "[tanh] r = Tanh (a)  " + TAIL)
    assert ctx.plan.rounded == {"x", "y"}
    assert isinstance(ctx.plan.tensors["a"], QuantSpec)  # for calibration


def test_without_data_nodes_without_weights_stay_float_and_layers_are_an_error() -> None:
    with pytest.raises(DataError, match=r"training did not round 1 tensors.*: a"):
        keep(HEAD + "[tanh] r = Tanh (a)  " + TAIL, fill="float")
    text = """g (float[1,3,4,4] x) => (float[1,3,1,1] y) <float[3,3,1,1] w, float s = {0.5}, uint8 z = {3}>
        { xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
          [one] a = Conv (xd, w)  aq = QuantizeLinear (a, s, z)  ad = DequantizeLinear (aq, s, z)
          [gap] p = GlobalAveragePool (ad)  [two] b = Conv (p, w)
          bq = QuantizeLinear (b, s, z)  y = DequantizeLinear (bq, s, z) }"""  # noqa: E501
    with pytest.raises(DataError, match="p"):  # a layer reads it
        keep(text, fill="float")
    ctx = keep(text.replace("[two] b = Conv (p, w)", "[two] b = Tanh (p)"), fill="float")
    assert "gap" not in ctx.plan.nodes and "one" in ctx.plan.nodes


def test_what_a_target_cannot_hold_is_warned_of_or_refused() -> None:
    ctx = keep(HEAD + "[relu] r = Relu (a)  " + TAIL, target="tensorrt")
    assert any("'x' is rounded anew" in w and "int8" in w for w in ctx.journal.warnings)
    with pytest.raises(UnsupportedModelError, match="cannot be kept on fpga-pow2") as caught:
        keep(HEAD + "[relu] r = Relu (a)  " + TAIL, target="fpga-pow2")
    assert "mcu-int8" in caught.value.hint
