"""Train a residual network on scikit-learn's digits: ``python digits_resnet.py``.

The file keeps its batch-norm.
"""

from __future__ import annotations

from collections import OrderedDict

import training
from onnx_writer import Residual, to_onnx
from torch import nn


def block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """Two 3x3 convolutions beside a shortcut (1x1 where the shape changes), then ReLU."""
    body = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(before, after, 3, stride, 1, bias=False),
            bn1=nn.BatchNorm2d(after),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(after, after, 3, 1, 1, bias=False),
            bn2=nn.BatchNorm2d(after),
        )
    )
    shortcut: nn.Module = nn.Identity()
    if before != after or stride != 1:
        conv = nn.Conv2d(before, after, 1, stride, bias=False)
        shortcut = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(after)))
    return nn.Sequential(OrderedDict(sum=Residual(body, shortcut), relu=nn.ReLU()))


def resnet() -> nn.Sequential:
    """Four blocks of 16, 32, 32 and 64 channels on 8x8, 4x4, 4x4 and 2x2 pixels."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 16, 3, 1, 1, bias=False),
            bn=nn.BatchNorm2d(16),
            relu=nn.ReLU(),
            block1=block(16, 16),
            block2=block(16, 32, 2),
            block3=block(32, 32),
            block4=block(32, 64, 2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64, 10),
        )
    )


def main() -> None:
    """Train, and write the model and the samples of the digits beside this file."""
    train_x, train_y, test_x, test_y = training.digits()
    training.seed()
    net = resnet()
    training.fit(net, train_x, train_y, epochs=30, rate=0.01, batch=64, jitter=1)
    training.save(to_onnx(net, "digits_resnet", (1, 8, 8)), "digits_resnet")
    training.save_samples("digits", train_x[:128], test_x, test_y)


if __name__ == "__main__":
    main()
