"""``--simulate``: what an integer-only target computes, in ONNX Runtime, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.errors import OptionError
from onnxq.graph import Model
from onnxq.integer import decode, encode, lower, run
from onnxq.report.verify import verify
from onnxq.runtime.session import Session
from tests.zoo import model, needs_zoo, zoo

MODELS = Path(__file__).resolve().parents[2] / "models"
OPTIONS = {"data": MODELS / "mnist_calibration.npz"}


@pytest.mark.parametrize(
    ("target", "rounding"),
    [("fpga-pow2", "floor"), ("nxp", None), ("esp32-p4", None), ("dpu", None), ("esp32", "ceil")],
)
def test_outputs_equal_the_reference(target: str, rounding: str | None) -> None:
    made = [
        onnxq.quantize(MODELS / "lenet_mnist.onnx", target=target, rounding=rounding, format=form,
                       recipe="fast", **OPTIONS)
        for form in ("qdq", "simulate")
    ]  # fmt: skip
    program = lower(Model.load(made[0].model.to_proto()))
    images = np.load(MODELS / "mnist_evaluation.npz")["input"][:100]
    found = Session(made[1].model).run({"input": images})["logits"]
    values = run(program, {v: encode(program.values[v], images) for v in program.inputs.values()})
    (value,) = program.outputs.values()
    expected = decode(program.values[value], values[value])
    np.testing.assert_array_equal(found, expected)
    assert not any(n.op.endswith("QuantizeLinear") for n in made[1].model.nodes())


def test_report_and_codes_at_the_boundary() -> None:
    made = onnxq.quantize(MODELS / "lenet_mnist.onnx", target="fpga-pow2", format="simulate",
                          io_dtype="int8", **OPTIONS)  # fmt: skip
    proto = made.model.to_proto()
    for end in (*proto.graph.input, *proto.graph.output):
        assert end.type.tensor_type.elem_type == onnx.TensorProto.INT8
    assert made.report["summary"]["outputs"][0]["sqnr_db"] > 20
    assert all(x["cumulative_sqnr_db"] is not None for x in made.report["layers"][:3])


def test_refused_where_a_runtime_decides() -> None:
    with pytest.raises(OptionError, match="target x86 leaves the arithmetic"):
        onnxq.quantize(MODELS / "lenet_mnist.onnx", target="x86", format="simulate", **OPTIONS)


@needs_zoo
@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar_resnet20", "squeezenet1.1", "mobilenetv2"])
@pytest.mark.parametrize("rounding", ["half-up", "floor"])
def test_zoo(name: str, rounding: str) -> None:
    feeds = list(zoo().calibration(name, 20))
    made = onnxq.quantize(
        model(name), data=feeds, target="fpga-pow2", recipe="fast", rounding=rounding
    )
    found = verify(Model.load(made.model.to_proto()), feeds[:4], c=False)
    assert found["holds"] == {"simulation": True, "c": None, "runtime": True}
    assert {x["claim"] for x in found["layers"]} <= {"runtime", "simulation"}
