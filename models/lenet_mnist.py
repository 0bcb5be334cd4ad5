"""Train the LeNet with batch-norm on MNIST: ``python lenet_mnist.py MNIST.npz``.

The archive holds uint8 arrays ``train_x`` [60000, 28, 28], ``train_y``, ``test_x`` and ``test_y``.
The network takes the pixels as they are, 0..255.
"""

from __future__ import annotations

import sys
from collections import OrderedDict

import numpy as np
import training
from onnx_writer import to_onnx
from torch import nn


def lenet() -> nn.Sequential:
    """Three times Conv, BatchNorm, ReLU, MaxPool; then Linear: 28 > 13 > 6 > 2 pixels."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (before, after, padding) in enumerate([(1, 4, 0), (4, 8, 1), (8, 16, 0)], start=1):
        layers[f"conv{i}"] = nn.Conv2d(before, after, 3)
        layers[f"bn{i}"] = nn.BatchNorm2d(after)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(2, 2, padding)
    return nn.Sequential(layers | {"flatten": nn.Flatten(), "fc": nn.Linear(64, 10)})


def main(archive: str) -> None:
    """Train, and write the model and its samples beside this file."""
    with np.load(archive) as found:
        arrays = {key: found[key] for key in ("train_x", "train_y", "test_x", "test_y")}
    images = {k: arrays[k].astype(np.float32)[:, None] for k in ("train_x", "test_x")}
    training.seed()
    net = lenet()
    training.fit(
        net, images["train_x"], arrays["train_y"], epochs=15, rate=0.02, batch=128, jitter=1
    )
    training.save(to_onnx(net, "lenet_mnist", (1, 28, 28)), "lenet_mnist")
    training.save_samples(
        "mnist", images["train_x"][:100], images["test_x"][:500], arrays["test_y"][:500]
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
