"""The whole chain on LeNet: float model, power-of-two scales, integers, C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import onnxq
from onnxq.graph import Model
from onnxq.integer import Program, encode, lower, run
from onnxq.report.verify import verify
from onnxq.runtime.session import Session
from tests.integer.c_project import check_golden, needs_cc, project, raw
from tests.zoo import needs_zoo, zoo

MODELS = Path(__file__).resolve().parents[2] / "models"
FLOAT = MODELS / "lenet_mnist.onnx"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("lenet") / "lenet.onnx"
    data = str(MODELS / "mnist_calibration.npz")
    onnxq.quantize(FLOAT, data=data, target="fpga-pow2").save(path)
    return Model.load(path)


@pytest.fixture(scope="module")
def program(model: Model) -> Program:
    return lower(model)


@needs_cc
def test_c_equals_the_reference_and_is_as_accurate(program: Program, tmp_path: Path) -> None:
    source = project(
        program, tmp_path, flags=("-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    )
    assert check_golden(tmp_path) == "40 of 40 values equal\n"
    assert source.ram < 4096 and source.lines < 400
    images = np.load(MODELS / "mnist_evaluation.npz")["input"]
    labels = np.load(MODELS / "mnist_evaluation_labels.npy")
    _check(program, tmp_path, images, labels, 1.0)


@needs_cc
@needs_zoo
def test_all_test_images(program: Program, tmp_path: Path) -> None:
    _, _, images, labels = zoo().mnist()
    project(program, tmp_path, flags=("-O2",))
    _check(program, tmp_path, images[:, None].astype(np.float32), labels, 0.1)


def test_against_onnx_runtime(model: Model) -> None:
    images = np.load(MODELS / "mnist_evaluation.npz")["input"][:32]
    found = verify(model, [{"input": x[None]} for x in images], c=False)
    assert found["holds"]["runtime"] and found["frames"] == 32
    assert all(x["runtime_alone"]["exact"] > 0.99 * sum(x["runtime_alone"].values())
               for x in found["layers"])  # fmt: skip


@pytest.mark.parametrize(
    ("target", "rounding"),
    [("fpga-pow2", "floor"), ("esp32-p4", None), ("dpu", None), ("mcu-int8", None)],
)
def test_other_targets(target: str, rounding: str | None, tmp_path: Path) -> None:
    data = str(MODELS / "mnist_calibration.npz")
    options = {} if rounding is None else {"rounding": rounding}
    made = onnxq.quantize(FLOAT, data=data, target=target, recipe="fast", **options)
    made.save(tmp_path / "q.onnx")
    images = np.load(MODELS / "mnist_evaluation.npz")["input"][: 80 if target == "mcu-int8" else 20]
    found = verify(Model.load(tmp_path / "q.onnx"), [{"input": x[None]} for x in images])
    assert found["holds"]["runtime"] and found["holds"]["c"] in (True, None)
    if target == "mcu-int8":  # any scale, by multiplier and shift
        assert (
            lower(Model.load(tmp_path / "q.onnx")).steps[0].multipliers
            and found["rounding"] == "half-away"
        )
        assert all(x["runtime_alone"]["exact"] > 0.99 * sum(x["runtime_alone"].values())
                   for x in found["layers"])  # fmt: skip
    if found["rounding"] == "nearest-even":  # the rounding of QuantizeLinear: nothing differs
        assert all(x["runtime"]["exact"] == sum(x["runtime"].values()) for x in found["layers"])


def _check(
    program: Program, folder: Path, images: NDArray[np.float32], labels: NDArray[np.int64],
    points: float,
) -> None:  # fmt: skip
    """C and reference agree on every output, and lose at most *points* of accuracy."""
    ((source, value),) = program.inputs.items()
    codes = {value: encode(program.values[value], images)}
    expected = run(program, codes)[program.outputs["logits"]]
    found = raw(folder, program, codes)[program.outputs["logits"]]
    assert int(np.sum(found == expected)) == expected.size == 10 * len(labels)
    exact = Session(str(FLOAT)).run({source: images})["logits"]
    accuracy = [100 * np.mean(x.argmax(axis=1) == labels) for x in (exact, expected)]
    assert accuracy[1] >= accuracy[0] - points, accuracy
