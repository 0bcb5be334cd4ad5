# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxq.errors import UnsupportedModelError
from onnxq.passes.correct.legalize_shifts import LegalizeShifts
from onnxq.pipeline.exponents import exponents
from onnxq.quant import INT8, Fixed, QParams
from tests.passes.stages import run

NET = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w, float[2] b> { [conv] p = Conv(x, w, b)  [relu] q = Relu(p)  [move] y = MaxPool<kernel_shape=[1,1]>(q) }"""
SUM = """g (float[1,2,4,4] x, float[1,2,4,4] z) => (float[1,2,4,4] y)
    <float[2,2,1,1] w> { [conv] p = Conv(x, w)  [sum] y = Add(p, z) }"""
WEIGHT = {"w": np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)}


def q(exponent: int) -> QParams:
    return QParams(np.float32(2.0**exponent).reshape(()), np.zeros((), np.int64), INT8)


def legal(
    text: str, target: str, given: dict[str, int], weights: Any = None, fixed: str = ""
) -> Any:
    """The context after the pass, where scales of tensors were the *given* exponents."""
    model, ctx = run(
        text, "plan-kernels,choose-ranges,quantize-weights", target=target, weights=weights
    )
    for name, exponent in given.items():
        ctx.qparams[name] = q(exponent)
        if name == fixed:
            ctx.plan.tensors[name] = Fixed(ctx.qparams[name])
    LegalizeShifts().run(model, ctx)
    return {
        n: v.tolist() for n in ctx.qparams if (v := exponents(n, ctx.qparams[n])) is not None
    }, ctx


def test_a_result_finer_than_its_accumulator_takes_its_exponent() -> None:
    found, ctx = legal(NET, "fpga-pow2", {"x": -3, "q": -12, "y": -12}, WEIGHT)
    # |w| = 1 has the exponent -6 at 128 codes, or less: 1 / 127 > 2^-7
    assert found["w"] == -6
    assert found["q"] == found["y"] == -9, "with all that shares the scale"
    assert ctx.qparams["q"] is ctx.qparams["y"]


def test_legal_shifts_stay() -> None:
    found, _ = legal(NET, "fpga-pow2", {"x": -3, "q": -4, "y": -4}, WEIGHT)
    assert (found["x"], found["w"], found["q"]) == (-3, -6, -4)


def test_too_large_a_shift_is_the_weights_to_repair() -> None:
    found, ctx = legal(NET, "dpu", {"x": -12, "q": 0, "y": 0}, WEIGHT)
    assert found["q"] == 0
    assert found["w"] == -4, "0 − (−12 − 4) = 16, the DPU's largest"
    assert np.asarray(ctx.integers["w"]).max() == 16


def test_operands_of_a_sum() -> None:
    found, _ = legal(SUM, "dpu", {"x": -6, "p": -12, "z": 0, "y": 1}, WEIGHT)
    assert found["p"] == -7, "aligned by 7 bits at most"
    found, _ = legal(SUM, "fpga-pow2", {"x": -6, "p": -12, "z": 0, "y": -20}, WEIGHT)
    assert found["p"] == -12
    assert found["y"] == -12, "no finer than its operands"
    found, _ = legal(SUM, "dpu", {"x": -6, "p": -12, "z": -10, "y": 20}, WEIGHT)
    assert (found["p"], found["z"]) == (-5, -5), "20 + 5 = 25, the DPU's largest"


def test_what_the_user_gave_is_refused() -> None:
    with pytest.raises(UnsupportedModelError) as error:
        legal(NET, "fpga-pow2", {"x": -3, "q": -12, "y": -12}, WEIGHT, fixed="q")
    assert "'conv' (Conv)" in str(error.value)
    assert "the scale of 'q' is given" in str(error.value)
    assert "--overrides" in str(error.value)


def test_targets_with_floating_point_decline() -> None:
    _, ctx = run(NET, "plan-kernels,choose-ranges,quantize-weights,legalize-shifts", target="x86")
    assert not ctx.journal.declines
