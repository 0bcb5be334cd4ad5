"""Train a depthwise-separable network with ReLU6 on scikit-learn's digits.

``python digits_mobilenet.py``; the samples are those of ``digits_resnet.py``.

Its channels have strongly unequal ranges, on purpose, in the two ways that real networks have them:

- Before ReLU6 the gains (gamma) of batch-norm start spread over a factor of 30 and are trained from
  there. Channels of one tensor keep different ranges, and where a depthwise convolution with
  batch-norm follows a quiet channel, folding multiplies its weights up.
- Between a projection and the next expansion nothing but linear maps lie. There each channel is
  multiplied by a power of two and the next weights divided by it, which changes no output.

Batch-norm is folded into the convolutions, as most exporters do it.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import training
from onnx_writer import Residual, fold_batchnorm, to_onnx
from torch import nn

SPREAD = 30.0
"""Largest over smallest gain of the channels of one batch-norm before ReLU6, at the start."""

STEPS = (-3, -2, -1, 0, 1, 2, 3)
"""Powers of two by which the channels between projection and expansion are multiplied."""


def convolution(before: int, after: int, size: int, stride: int = 1, group: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size of the image, or halves it."""
    return nn.Conv2d(before, after, size, stride, size // 2, groups=group, bias=False)


def inverted(before: int, after: int, stride: int = 1, expand: int = 6) -> nn.Module:
    """1x1 to *expand* times as many channels, 3x3 depthwise, 1x1 down again without activation."""
    wide = expand * before
    body = nn.Sequential(
        OrderedDict(
            expand=convolution(before, wide, 1),
            expand_bn=nn.BatchNorm2d(wide),
            expand_relu=nn.ReLU6(),
            depthwise=convolution(wide, wide, 3, stride, wide),
            depthwise_bn=nn.BatchNorm2d(wide),
            depthwise_relu=nn.ReLU6(),
            project=convolution(wide, after, 1),
            project_bn=nn.BatchNorm2d(after),
        )
    )
    return Residual(body) if before == after and stride == 1 else body


def mobilenet() -> nn.Sequential:
    """A stem, five inverted bottlenecks on 8x8, 4x4 and 2x2 pixels, a head."""
    return nn.Sequential(
        OrderedDict(
            stem=convolution(1, 16, 3),
            stem_bn=nn.BatchNorm2d(16),
            stem_relu=nn.ReLU6(),
            block1=inverted(16, 24),
            block2=inverted(24, 24),
            block3=inverted(24, 40, 2),
            block4=inverted(40, 40),
            block5=inverted(40, 64, 2),
            head=convolution(64, 256, 1),
            head_bn=nn.BatchNorm2d(256),
            head_relu=nn.ReLU6(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(256, 10),
        )
    )


def spread_gains(net: nn.Module) -> None:
    """Start the gains before ReLU6 at values spread evenly, in the logarithm, over ``SPREAD``."""
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d) and not name.endswith("project_bn"):
            n = len(module.weight)
            gains = SPREAD ** (torch.linspace(0, 1, n)[torch.randperm(n)] - 0.75)
            module.weight.data.copy_(gains)


def rescale(sources: list[nn.Conv2d], consumers: list[nn.Conv2d]) -> None:
    """Multiply the channels of one tensor, exactly: the factors are powers of two.

    *sources* are the convolutions that are summed into the tensor (more than one where residual
    sums join it), *consumers* all that read it. With y = W2 S^-1 (S x) for x = W1 z + b and
    diagonal S: W1 := S W1, b := S b, W2 := W2 S^-1.
    """
    n = sources[0].out_channels
    factors = 2.0 ** torch.tensor(STEPS)[torch.randperm(n) % len(STEPS)]
    for conv in sources:
        conv.weight.data.mul_(factors[:, None, None, None])
        conv.bias.data.mul_(factors)
    for conv in consumers:
        conv.weight.data.div_(factors[None, :, None, None])


def make_unequal(net: nn.Sequential) -> None:
    """Rescale every tensor between projections and expansions of the folded network."""
    block2, block4 = net.block2.body, net.block4.body
    rescale([net.block1.project, block2.project], [block2.expand, net.block3.expand])
    rescale([net.block3.project, block4.project], [block4.expand, net.block5.expand])
    rescale([net.block5.project], [net.head])


def main() -> None:
    """Train, make the ranges unequal, and write the model beside this file."""
    train_x, train_y, _, _ = training.digits()
    training.seed()
    net = mobilenet()
    spread_gains(net)
    training.fit(net, train_x, train_y, epochs=30, rate=0.01, batch=64, jitter=1)
    folded = fold_batchnorm(net)
    with torch.no_grad():
        before = folded(torch.from_numpy(train_x))
        make_unequal(folded)
        after = folded(torch.from_numpy(train_x))
    print(f"rescaled: outputs differ by {float((before - after).abs().max()):.1e}")
    training.save(to_onnx(folded, "digits_mobilenet", (1, 8, 8)), "digits_mobilenet")


if __name__ == "__main__":
    main()
