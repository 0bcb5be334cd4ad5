# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from onnxq.errors import OptionError, UnsupportedModelError
from onnxq.passes.correct.prove_accumulators import KEY, ProveAccumulators
from tests.passes.stages import run

NET = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,3,3] w, float[2] b, float[2,2,1,1] v, float zero = {0}, float six = {6}>
    { [conv] p = Conv<pads=[1,1,1,1]>(x, w, b)  [clip] q = Clip(p, zero, six)
      [next] r = Conv(q, v)  [sum] s = Add(r, q)  [mean] t = GlobalAveragePool(s)  [both] y = Mul(s, t) }"""
RECIPE = "plan-kernels,choose-ranges,quantize-weights,legalize-shifts,quantize-biases"
DATA = [
    {"x": np.random.default_rng(i).normal(size=(1, 2, 4, 4)).astype(np.float32)} for i in range(4)
]


def test_the_bound_is_reached_by_the_worst_input() -> None:
    model, ctx = run(NET, f"{RECIPE},prove-accumulators", target="fpga-pow2", data=DATA)
    ends = json.loads(model.metadata[KEY])
    assert ends.keys() == {"conv", "next", "sum", "mean", "both"}
    codes = np.asarray(ctx.integers["w"]).astype(int).reshape(2, -1)
    bias = np.asarray(ctx.integers["b"]).astype(int)
    worst = [
        int((np.where(c > 0, 127, -128) * c).sum() + max(b, 0))
        for c, b in zip(codes, bias, strict=True)
    ]
    shift = round(
        np.log2(ctx.qparams["q"].scale / (ctx.qparams["x"].scale * ctx.qparams["w"].scale))
    )
    assert ends["conv"][1] == max(worst) + (1 << (shift - 1) if shift else 0)
    # behind the clip only codes from 0 to 6 / scale occur
    top = int(np.ceil(6 / float(ctx.qparams["q"].scale)))
    negative = np.minimum(np.asarray(ctx.integers["v"]).astype(int).reshape(2, -1), 0).sum(axis=1)
    assert ends["next"][0] == int(negative.min()) * min(top, 127)


def test_an_accumulator_that_can_overflow_is_refused() -> None:
    model, ctx = run(NET, RECIPE, target="fpga-pow2", data=DATA)
    ctx.target = replace(ctx.target, integer=replace(ctx.target.integer, accumulator_bits=16))
    with pytest.raises(UnsupportedModelError) as error:
        ProveAccumulators().run(model, ctx)
    assert "'conv' (Conv): its accumulator can reach" in str(error.value)
    assert "accumulators of 16 bits" in str(error.value)
    assert "--exclude 'conv'" in str(error.value)


def test_a_shift_that_the_target_lacks_is_refused() -> None:
    model, ctx = run(NET, RECIPE, target="fpga-pow2", data=DATA)
    ctx.qparams["q"] = replace(ctx.qparams["q"], scale=np.float32(2.0**-30).reshape(()))
    with pytest.raises(UnsupportedModelError, match=r"'conv' \(Conv\) needs a right shift of -"):
        ProveAccumulators().run(model, ctx)


@pytest.mark.parametrize("tensor", ["q", "v"])
def test_a_scale_that_is_no_power_of_two_is_refused(tensor: str) -> None:
    model, ctx = run(NET, RECIPE, target="fpga-pow2", data=DATA)
    ctx.qparams[tensor] = replace(ctx.qparams[tensor], scale=np.float32(0.3).reshape(()))
    with pytest.raises(OptionError, match=f"'{tensor}': the scale 0.3 is no power of two"):
        ProveAccumulators().run(model, ctx)


def test_a_zero_point_is_refused() -> None:
    model, ctx = run(NET, RECIPE, target="fpga-pow2", data=DATA)
    ctx.qparams["q"] = replace(ctx.qparams["q"], zero_point=np.array(3))
    with pytest.raises(OptionError, match="'q': its zero point is not 0"):
        ProveAccumulators().run(model, ctx)


def test_narrow_biases_are_shifted_integers() -> None:
    weights = {"b": np.array([300.0, -0.37], np.float32)}
    _, wide = run(NET, RECIPE, target="fpga-pow2", weights=weights, data=DATA)
    _, ctx = run(NET, RECIPE, target="dpu", weights=weights, data=DATA)
    full, narrow = (np.asarray(c.integers["b"]).astype(int) for c in (wide, ctx))
    shift = next(k for k in range(32) if not (narrow % (1 << (k + 1)) == 0).all())
    assert shift > 0
    assert np.abs(narrow >> shift).max() <= 127
    assert np.abs(narrow - full).max() <= 1 << (shift - 1)
