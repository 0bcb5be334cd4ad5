"""Formats of other widths than 8 bits, from float to C: no code leaves its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.integer import lower
from onnxq.integer.kinds import Conv, Gemm
from onnxq.report.verify import verify

MODELS = Path(__file__).resolve().parents[2] / "models"
WIDTHS = [("fpga-pow2", 4, 7), ("fpga-pow2", 6, 12), ("fpga-pow2", 8, 16), ("fpga-pow2", 5, 4),
          ("mcu-int8", 4, 7), ("mcu-int8", 8, 12)]  # fmt: skip


@pytest.mark.parametrize(("target", "weights", "activations"), WIDTHS)
def test_every_width(target: str, weights: int, activations: int, tmp_path: Path) -> None:
    onnxq.quantize(
        MODELS / "lenet_mnist.onnx", data=str(MODELS / "mnist_calibration.npz"), target=target,
        recipe="fast", weights=f"int{weights}", activations=f"int{activations}",
        report_detail="basic",
    ).save(tmp_path / "q.onnx")  # fmt: skip
    model = Model.load(tmp_path / "q.onnx")
    program = lower(model)
    for step in program.steps:
        if isinstance(step.kind, Conv | Gemm):
            assert np.abs(step.kind.weight).max() <= 1 << (weights - 1)
    most = (1 << (activations - 1)) - 1
    for value in program.values.values():
        assert -most - 1 <= value.low and value.high <= most, value
    images = np.load(MODELS / "mnist_evaluation.npz")["input"][:10]
    holds = verify(model, [{"input": x[None]} for x in images])["holds"]
    assert holds["runtime"] and holds["c"] in (True, None)


def test_zero_points_where_results_are_shifted() -> None:
    """What is behind a Relu gets all codes, and every value is the same in C and simulation."""
    options = {"data": str(MODELS / "mnist_calibration.npz"), "target": "fpga-pow2"}
    made = [
        onnxq.quantize(MODELS / "lenet_mnist.onnx", asymmetric=asymmetric, **options)
        for asymmetric in (False, True)
    ]
    sqnr = [r.report["summary"]["outputs"][0]["sqnr_db"] for r in made]
    assert sqnr[1] > sqnr[0] + 0.5
    model = Model.load(made[1].model.to_proto())
    program = lower(model)
    assert {v.zero_point for n, v in program.values.items() if n.startswith("relu")} == {-128}
    assert not any(step.multipliers for step in program.steps)
    images = np.load(MODELS / "mnist_evaluation.npz")["input"][:10]
    holds = verify(model, [{"input": x[None]} for x in images])["holds"]
    assert holds["runtime"] and holds["simulation"] and holds["c"] in (True, None)
