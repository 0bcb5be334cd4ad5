"""The three networks of models/ through the whole pipeline, at the defaults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxq
from onnxq.pipeline.scaled import scaled_tensors
from tests.models.test_models import DATA, MODELS, NAMES, evaluate
from tests.zoo import needs_zoo, zoo


def quantized(name: str, folder: Path, recipe: str) -> tuple[onnxq.Result, Path]:
    data = MODELS / f"{DATA[name]}_calibration.npz"
    result = onnxq.quantize(MODELS / f"{name}.onnx", data=data, target="x86", recipe=recipe)
    path = folder / f"{name}.int8.onnx"
    result.save(path)
    return result, path


@pytest.mark.parametrize("recipe", ["fast", "balanced", "best"])
@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_kept(name: str, recipe: str, tmp_path: Path) -> None:
    result, path = quantized(name, tmp_path, recipe)
    onnx.checker.check_model(str(path), full_check=True)
    module = evaluate()
    _, images, labels = module.samples(path)
    before = module.hits(MODELS / f"{name}.onnx", images, labels)
    # at most one image in a hundred; in the network made hard on purpose, two
    allowed = 10 if name == "digits_mobilenet" else 5
    assert module.hits(path, images, labels) >= before - allowed
    assert result.report["summary"]["integer_macs_percent"] == 100


@pytest.mark.parametrize("name", NAMES)
def test_batch_stays_free(name: str, tmp_path: Path) -> None:
    _, path = quantized(name, tmp_path, "fast")
    module = evaluate()
    _, images, labels = module.samples(path)
    one_by_one = sum(module.hits(path, images[i : i + 1], labels[i : i + 1]) for i in range(5))
    assert one_by_one == module.hits(path, images[:5], labels[:5])


@needs_zoo
def test_lenet_quantized_on_all_of_mnist(tmp_path: Path) -> None:
    train, _, images, labels = zoo().mnist()
    calibration = train[:200].astype(np.float32)[:, None]
    result = onnxq.quantize(MODELS / "lenet_mnist.onnx", data=calibration, target="x86")
    path = tmp_path / "lenet.int8.onnx"
    result.save(path)
    pixels = images.astype(np.float32)[:, None]
    assert evaluate().hits(path, pixels, labels) >= 9860


def test_outputs_are_compared_with_the_model_that_was_given(tmp_path: Path) -> None:
    """Equalization moves what a ReLU6 cuts: beyond what calibration saw, its error counts too."""
    name, data = "digits_mobilenet", np.load(MODELS / "digits_calibration.npz")
    (key,) = data.files
    seen, other = data[key][:20], data[key][20:60]
    result = onnxq.quantize(
        MODELS / f"{name}.onnx", data={key: seen}, report_data={key: other}, target="x86"
    )
    assert scaled_tensors(result.original), "the test needs a network that is equalized"
    result.save(path := tmp_path / "q.onnx")
    signal = noise = 0.0
    sessions = [onnxruntime.InferenceSession(str(f)) for f in (MODELS / f"{name}.onnx", path)]
    for sample in other:
        real, found = (s.run(None, {key: sample[None]})[0] for s in sessions)
        signal, noise = signal + float((real**2).sum()), noise + float(((found - real) ** 2).sum())
    (output,) = result.report["summary"]["outputs"]
    assert output["sqnr_db"] == pytest.approx(10 * np.log10(signal / noise), abs=0.01)
