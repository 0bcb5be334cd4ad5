from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxq
from onnxq.passes.correct.quantize_weights import QuantizeWeights
from onnxq.passes.correct.restrict_weights import RestrictWeights
from onnxq.passes.plan.plan_kernels import PlanKernels
from onnxq.quant.nonuniform import binary, log4, ternary
from tests.passes.stages import run

MODELS = Path(__file__).resolve().parents[3] / "models"
TEXT = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w = {1.0, -0.2, 0.4, 0.5}> { [one] y = Conv (x, w) }"""


def test_a_log_weight_takes_the_nearer_of_two_powers() -> None:
    scale, codes = log4(np.array([[1.0, 0.76, 0.74, -0.374, 0.0079, 0.007, 1.4], [0.0] * 7]))
    assert scale[0] == 2.0**-6
    assert codes.tolist() == [[64, 64, 32, -16, 1, 0, 64], [0] * 7]


def test_ternary_and_binary_weights_have_the_best_scale() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 400))
    for found in (ternary(rows), binary(rows)):
        scale, codes = found
        exact = (rows * codes).sum(axis=1) / (codes * codes).sum(axis=1)  # least squares
        np.testing.assert_allclose(scale, exact)
    scale, codes = ternary(np.array([[1.0, -0.2, 0.4, -0.6]]))
    assert codes.tolist() == [[1, 0, 1, -1]] and scale[0] == pytest.approx(2 / 3)


def test_the_pass_and_what_it_leaves() -> None:
    passes = [PlanKernels(), QuantizeWeights(), RestrictWeights(precision="ternary")]
    _, ctx = run(TEXT, passes)
    assert np.asarray(ctx.integers["w"]).reshape(2, 2).tolist() == [[1, 0], [1, 1]]
    np.testing.assert_allclose(ctx.qparams["w"].scale, [1.0, 0.45])
    assert "1 layers are ternary, simulated" in ctx.journal.warnings[0]
    _, ctx = run(TEXT, [PlanKernels(weights="int4"), *passes[1:]])
    assert "not int8" in ctx.journal.records[-1].declines[0].reason


@pytest.mark.parametrize(("precision", "values"), [("log4", 15), ("ternary", 3), ("binary", 2)])
def test_from_the_option_to_the_file(precision: str, values: int, tmp_path: Path) -> None:
    made = onnxq.quantize(
        MODELS / "lenet_mnist.onnx", data=str(MODELS / "mnist_calibration.npz"),
        target="mcu-int8", recipe="balanced", weights=precision, report_detail="basic",
    )  # fmt: skip
    made.save(tmp_path / "q.onnx")
    proto = onnx.load(tmp_path / "q.onnx")
    codes = [numpy_helper.to_array(t) for t in proto.graph.initializer
             if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1]  # fmt: skip
    assert codes and all(len(np.unique(c)) <= values for c in codes)
    assert {p.key: p.value for p in proto.metadata_props}["onnxq.weights"].startswith(precision)
    assert any("simulated" in w for w in made.report["warnings"])
    least = {"log4": 8.0, "ternary": 1.5, "binary": 0.0}[precision]
    assert made.report["summary"]["outputs"][0]["sqnr_db"] > least
