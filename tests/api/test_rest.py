"""What stays in float, stored as float16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxq
from onnxq.errors import OptionError, UnknownNameError
from onnxq.testing import random_feeds
from tests.passes.golden import outputs, parse

SOURCE = parse(
    """g (float[N,32] x) => (float[N,8] y) <float[32,32] w, float[32,32] v, float[32,8] u>
    { [one] a = MatMul (x, w)  [tanh] b = Tanh (a)  [two] c = MatMul (b, v)
      [three] y = MatMul (c, u) }"""
)
DATA = random_feeds(SOURCE, 12)


@pytest.mark.parametrize(
    "options",
    [
        {"data": DATA, "recipe": "fast", "exclude": ("two",)},
        {"mode": "weights", "exclude": ("two",)},
        {"mode": "dynamic", "exclude": ("*",)},
    ],
)
def test_half_the_bytes_and_the_same_function(options: dict[str, Any]) -> None:
    plain, small = (
        onnxq.quantize(SOURCE, target="x86-vnni", rest=r, **options) for r in (None, "fp16")
    )
    made = small.model.to_proto()
    kinds = [t.data_type for t in made.graph.initializer if t.name.endswith("__half")]
    assert kinds and set(kinds) == {10}
    saved = plain.model.message_bytes() - small.model.message_bytes()
    assert saved > 2 * 32 * 32 * 0.8
    one, two = (outputs(r.model.to_proto(), DATA[0])[0] for r in (plain, small))
    assert np.abs(one - two).max() < 0.01 * np.abs(one).max()


def test_refusals() -> None:
    with pytest.raises(UnknownNameError, match="fp8"):
        onnxq.quantize(SOURCE, data=DATA, rest="fp8")
    with pytest.raises(OptionError, match="nothing stays in float"):
        onnxq.quantize(SOURCE, data=DATA, rest="fp16", target="fpga-pow2")
