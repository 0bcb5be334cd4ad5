"""Measure models on labelled images: ``python evaluate.py [--mnist MNIST.npz] [MODEL.onnx ...]``.

Without models, the three networks of this folder, as the table of README.md. A model is measured
on the committed samples whose images have the shape of its input, so a quantized copy can be given
too; with ``--mnist`` (the archive of ``lenet_mnist.py``) on all 10,000 test images of MNIST.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime as ort

FOLDER = Path(__file__).resolve().parent
NAMES = ("lenet_mnist", "digits_resnet", "digits_mobilenet")


def hits(model: Path, images: np.ndarray, labels: np.ndarray) -> int:
    """How many of *images* [N, C, H, W] the model puts in their class."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    found = 0
    for start in range(0, len(images), 500):
        part = slice(start, start + 500)
        (logits,) = session.run(None, {session.get_inputs()[0].name: images[part]})
        found += int((logits.argmax(1) == labels[part]).sum())
    return found


def samples(model: Path, mnist: Path | None = None) -> tuple[str, np.ndarray, np.ndarray]:
    """The labelled images that fit *model*: their name, the images and the labels."""
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    data = "mnist" if session.get_inputs()[0].shape[-1] == 28 else "digits"
    if data == "mnist" and mnist is not None:
        with np.load(mnist) as found:
            return data, found["test_x"].astype(np.float32)[:, None], found["test_y"]
    with np.load(FOLDER / f"{data}_evaluation.npz") as found:
        images = found["input"]
    return data, images, np.load(FOLDER / f"{data}_evaluation_labels.npy")


def table(models: list[Path], mnist: Path | None = None) -> str:
    """One row for each model, in Markdown."""
    rows = ["| model | bytes | evaluation images | right | accuracy |", "|---|--:|--:|--:|--:|"]
    for model in models:
        data, images, labels = samples(model, mnist)
        right = hits(model, images, labels)
        rows.append(
            f"| {model.name} | {model.stat().st_size:,} | {data}, {len(labels):,} | {right:,} |"
            f" {100 * right / len(labels):.2f} % |"
        )
    return "\n".join(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure models on labelled images.")
    parser.add_argument("--mnist", type=Path, help="archive with test_x and test_y")
    parser.add_argument("models", nargs="*", type=Path)
    given = parser.parse_args()
    print(table(given.models or [FOLDER / f"{name}.onnx" for name in NAMES], given.mnist))


if __name__ == "__main__":
    main()
