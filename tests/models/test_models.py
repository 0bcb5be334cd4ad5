"""The three networks of models/: what they are, and what they score."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from tests.zoo import needs_zoo, zoo

MODELS = Path(__file__).resolve().parents[2] / "models"
NAMES = ("lenet_mnist", "digits_resnet", "digits_mobilenet")
DATA = {"lenet_mnist": "mnist", "digits_resnet": "digits", "digits_mobilenet": "digits"}


def evaluate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("models_evaluate", MODELS / "evaluate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(name: str) -> onnx.ModelProto:
    return onnx.load(MODELS / f"{name}.onnx")


def ops(name: str) -> list[str]:
    return [node.op_type for node in load(name).graph.node]


@pytest.mark.parametrize("name", NAMES)
def test_valid_with_dynamic_batch_and_fixed_names(name: str) -> None:
    model = load(name)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 13
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, logits.name) == ("input", "logits")
    assert image.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert image.type.tensor_type.shape.dim[0].dim_param == "N"
    assert logits.type.tensor_type.shape.dim[1].dim_value == 10


def test_lenet_is_the_stated_one() -> None:
    model = load("lenet_mnist")
    assert ops("lenet_mnist") == [
        *["Conv", "BatchNormalization", "Relu", "MaxPool"] * 3, "Flatten", "Gemm",
    ]  # fmt: skip
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    weights = [shapes[n.input[1]] for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    assert weights == [(4, 1, 3, 3), (8, 4, 3, 3), (16, 8, 3, 3), (10, 64)]
    pads = [
        list(a.ints)
        for n in model.graph.node
        if n.op_type == "MaxPool"
        for a in n.attribute
        if a.name == "pads"
    ]
    assert pads == [[0] * 4, [1] * 4, [0] * 4]


def test_resnet_keeps_batchnorm_and_adds() -> None:
    found = ops("digits_resnet")
    assert found.count("Add") == 4
    assert found.count("BatchNormalization") == found.count("Conv")


def test_mobilenet_is_depthwise_with_relu6_and_unequal_channels() -> None:
    model = load("digits_mobilenet")
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    groups = [
        next(a.i for a in n.attribute if a.name == "group")
        for n in model.graph.node
        if n.op_type == "Conv"
    ]
    assert sum(g > 1 for g in groups) == 5
    assert {float(weights[n.input[2]]) for n in model.graph.node if n.op_type == "Clip"} == {6.0}
    with np.load(MODELS / "digits_calibration.npz") as data:
        images = data["input"]
    model.graph.output.extend([onnx.helper.make_empty_tensor_value_info("block4.add.out")])
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (sums,) = session.run(["block4.add.out"], {"input": images})
    ranges = np.abs(sums).max(axis=(0, 2, 3))
    assert ranges.max() > 30 * ranges[ranges > 0].min()


@pytest.mark.parametrize("name", NAMES)
def test_samples_fit(name: str) -> None:
    for kind, least in (("calibration", 64), ("evaluation", 300)):
        with np.load(MODELS / f"{DATA[name]}_{kind}.npz") as data:
            assert data.files == ["input"]
            assert data["input"].dtype == np.float32
            assert len(data["input"]) >= least
    assert len(np.load(MODELS / f"{DATA[name]}_evaluation_labels.npy")) >= 300


@pytest.mark.parametrize(("name", "least"), [*zip(NAMES, (0.98, 0.95, 0.95), strict=True)])
def test_float_accuracy(name: str, least: float) -> None:
    module = evaluate()
    path = MODELS / f"{name}.onnx"
    _, images, labels = module.samples(path)
    assert module.hits(path, images, labels) >= least * len(labels)


@needs_zoo
def test_lenet_on_all_of_mnist() -> None:
    _, _, images, labels = zoo().mnist()
    pixels = images.astype(np.float32)[:, None]
    assert evaluate().hits(MODELS / "lenet_mnist.onnx", pixels, labels) >= 9800


def test_readme_has_the_printed_table() -> None:
    table = evaluate().table([MODELS / f"{n}.onnx" for n in NAMES])
    assert table in (MODELS / "README.md").read_text(encoding="utf-8")


def test_the_demo_ships_copies() -> None:
    demo = MODELS.parent / "onnxq" / "demo"
    copies = [p for p in demo.iterdir() if p.suffix in (".onnx", ".npz", ".npy")]
    assert len(copies) == 4
    for copy in copies:
        assert copy.read_bytes() == (MODELS / copy.name).read_bytes(), copy.name
