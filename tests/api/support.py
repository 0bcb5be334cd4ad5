"""A small network and its data."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import onnxq
from onnxq.testing import random_feeds
from tests.passes.golden import parse

TEXT = """residual (float[N,4,6,6] x) => (float[N,4,6,6] y)
    <float[4,4,1,1] w1, float[4] b1, float[4,4,3,3] w2, float[4,4,1,1] w3>
    { [conv1] a = Conv (x, w1, b1)  [relu1] r = Relu (a)
      [conv2] c = Conv <pads = [1,1,1,1]> (r, w2)  [add] s = Add (c, r)
      [conv3] t = Conv (s, w3)  [tanh] y = Tanh (t) }"""


def network() -> onnx.ModelProto:
    """Three convolutions with a residual sum; the last activation has no integer kernel."""
    proto: onnx.ModelProto = parse(TEXT)
    return proto


def samples(count: int = 20, seed: int = 0) -> list[dict[str, NDArray[Any]]]:
    """Samples of its input ``x``."""
    return [dict(f) for f in random_feeds(network(), count, seed)]


def stack(count: int = 20) -> NDArray[np.float32]:
    """The samples as one array."""
    return np.concatenate([f["x"] for f in samples(count)])


def content(result: onnxq.Result) -> bytes:
    """The model of *result*, in bytes that are equal for equal models."""
    return bytes(result.model.to_proto().SerializeToString(deterministic=True))
