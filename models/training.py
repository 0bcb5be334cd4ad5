"""What the three training programs share: seeds, the training loop, the committed samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

FOLDER = Path(__file__).resolve().parent


def seed(value: int = 0) -> None:
    """Make a training run repeatable on one machine and one version of torch."""
    torch.manual_seed(value)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)


def fit(
    net: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int,
    rate: float,
    batch: int,
    jitter: int = 0,
    weight_decay: float = 1e-4,
) -> None:
    """Train *net* on float32 images [N, C, H, W]: AdamW, one cycle of the learning rate.

    *jitter* moves each batch by up to so many pixels, so that few images give more.
    """
    x, y = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    steps = epochs * (len(x) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    net.train()
    for epoch in range(epochs):
        order, total = torch.randperm(len(x)), 0.0
        for start in range(0, len(x) - batch + 1, batch):
            index = order[start : start + batch]
            loss = loss_of(net(_moved(x[index], jitter)), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if epoch % 5 == 4 or epoch == epochs - 1:
            print(f"epoch {epoch + 1:3}: loss {total / (len(x) // batch):.4f}")
    net.eval()


def _moved(x: torch.Tensor, jitter: int) -> torch.Tensor:
    if not jitter:
        return x
    down, right = torch.randint(-jitter, jitter + 1, (2,)).tolist()
    padded = nn.functional.pad(x, [jitter] * 4)
    height, width = x.shape[2:]
    top, left = jitter + down, jitter + right
    return padded[:, :, top : top + height, left : left + width]


def save(model: onnx.ModelProto, name: str) -> None:
    """Write ``NAME.onnx`` beside this file."""
    onnx.save(model, FOLDER / f"{name}.onnx")


def save_samples(
    data: str, calibration: np.ndarray, evaluation: np.ndarray, labels: np.ndarray
) -> None:
    """Write the samples beside this file: images under the input's name, labels apart.

    The keys of an ``.npz`` are the model's inputs, so both go to ``--data`` as they are.
    """
    np.savez_compressed(FOLDER / f"{data}_calibration.npz", input=calibration)
    np.savez_compressed(FOLDER / f"{data}_evaluation.npz", input=evaluation)
    np.save(FOLDER / f"{data}_evaluation_labels.npy", labels.astype(np.uint8))


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's digits: train images [1297, 1, 8, 8] 0..16 and labels, the same for test."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = found.images.astype(np.float32)[:, None]
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:-500], order[-500:]
    return images[train], found.target[train], images[test], found.target[test]
