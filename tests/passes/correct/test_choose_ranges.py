from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import OptionError
from onnxq.quant.ranges import RANGE_METHODS
from tests.passes.stages import run

TEXT = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w, float[2,2,1,1] v>
    { [one] a = Conv (x, w)  [relu] r = Relu (a)  [move] t = Transpose <perm = [0, 1, 3, 2]> (r)
      [two] y = Conv (t, v) }"""
EYE = {n: np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1) for n in "wv"}
DATA = [{"x": np.linspace(-k, 2 * k, 32, dtype=np.float32).reshape(1, 2, 4, 4)} for k in (1, 2, 3)]


def test_minmax() -> None:
    _, ctx = run(TEXT, "plan-kernels,choose-ranges", weights=EYE, data=DATA)
    x, r = ctx.qparams["x"], ctx.qparams["r"]
    assert float(x.scale) == pytest.approx(9 / 255)
    assert int(x.zero_point) == 85
    assert float(r.scale) == pytest.approx(6 / 255), "the part below zero is absorbed"
    assert int(r.zero_point) == 0
    assert ctx.qparams["t"] is r, "data movement shares the scale"


@pytest.mark.parametrize(("room", "times"), [("", 1.5), (",headroom=1", 1.0)])
def test_sixteen_bits_leave_room_for_what_was_not_seen(room: str, times: float) -> None:
    recipe = f"plan-kernels{{activations=uint16}},choose-ranges{{method=mse{room}}}"
    _, ctx = run(TEXT, recipe, weights=EYE, data=DATA)
    assert float(ctx.qparams["x"].scale) == pytest.approx(times * 9 / 65535, rel=1e-3)
    with pytest.raises(OptionError, match=r"headroom 0\.5"):
        run(TEXT, "choose-ranges{headroom=0.5}")


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_methods_stay_within_the_extremes(method: str) -> None:
    recipe = f"plan-kernels,choose-ranges{{method={method}}}"
    _, ctx = run(TEXT, recipe, weights=EYE, data=DATA)
    low, high = ctx.qparams["x"].real_range
    assert -3.05 <= low < 0 < high <= 6.05
    assert ctx.qparams["x"].scale.shape == ()


def test_one_range_for_a_join() -> None:
    text = """g (float[1,2,4,4] x, float[1,2,4,4] z) => (float[1,4,4,4] y)
        <float[2,2,1,1] w, float[2,2,1,1] v, float[4,4,1,1] u>
        { [one] a = Conv (x, w)  [two] b = Conv (z, v)  [join] c = Concat <axis = 1> (a, b)
          [last] y = Conv (c, u) }"""
    data = [{"x": DATA[0]["x"], "z": 4 * DATA[0]["x"]}]
    _, ctx = run(text, "plan-kernels,choose-ranges", weights=EYE, data=data)
    assert ctx.qparams["a"] is ctx.qparams["b"] is ctx.qparams["c"]
    assert float(ctx.qparams["c"].scale) == pytest.approx(12 / 255)


def test_tensor_of_zeros_has_a_scale() -> None:
    data = [{"x": np.zeros((1, 2, 4, 4), np.float32)}]
    for method in RANGE_METHODS:
        _, ctx = run(TEXT, f"plan-kernels,choose-ranges{{method={method}}}", data=data)
        assert float(ctx.qparams["x"].scale) > 0


def test_refusals() -> None:
    with pytest.raises(OptionError, match="percentile=30"):
        run(TEXT, "plan-kernels,choose-ranges{method=percentile,percentile=30}")
    with pytest.raises(OptionError, match="minmax, moving-average"):
        run(TEXT, "plan-kernels,choose-ranges{method=maxmin}")


POOLED = """g (float[1,2,16,16] x) => (float[1,2,1,1] y)
    <float[2,2,1,1] w, float[2,2,1,1] v>
    { [one] a = Conv (x, w)  [pool] p = GlobalAveragePool (a)  [two] y = Conv (p, v) }"""


def test_auto_judges_behind_the_layers_and_says_why() -> None:
    """Behind a mean over 256 places rounding has averaged out, and clipping has not."""
    rng = np.random.default_rng(7)
    data = [{"x": rng.exponential(size=(1, 2, 16, 16)).astype(np.float32)} for _ in range(24)]
    recipe = "plan-kernels,choose-ranges{{method={}}}"
    _, auto = run(POOLED, recipe.format("auto"), weights=EYE, data=data)
    _, mse = run(POOLED, recipe.format("mse"), weights=EYE, data=data)
    assert float(auto.qparams["a"].scale) > float(mse.qparams["a"].scale)
    choice = auto.choices["a"]
    assert choice.errors[choice.method] < 0.9 * choice.errors["mse"]
    assert "noise to signal" in choice.reason and "'y'" in choice.reason
    assert not mse.choices


@pytest.mark.parametrize("target", ["x86", "fpga-pow2"])
def test_auto_keeps_the_own_method_where_none_is_clearly_better(target: str) -> None:
    rng = np.random.default_rng(1)
    data = [{"x": rng.normal(size=(1, 2, 4, 4)).astype(np.float32)} for _ in range(8)]
    _, ctx = run(
        TEXT, "plan-kernels,choose-ranges{method=auto}", weights=EYE, data=data, target=target
    )
    for name, choice in ctx.choices.items():
        best = min(choice.errors.values())
        assert choice.errors[choice.method] <= best / 0.9, name
        if target == "fpga-pow2":
            exponent = np.log2(float(ctx.qparams[name].scale))
            assert choice.method == f"2^{exponent:.0f}"


def test_auto_on_tensors_without_values() -> None:
    data = [{"x": np.zeros((1, 2, 4, 4), np.float32)}]
    _, ctx = run(TEXT, "plan-kernels,choose-ranges{method=auto}", data=data)
    assert float(ctx.qparams["x"].scale) > 0
