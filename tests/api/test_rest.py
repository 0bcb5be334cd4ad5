"""What stays in float, stored as float16."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
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


STRICT = (
    "name-nodes,plan-dynamic,keep-sensitive-weights{percent=20},plan-weights,round-weights,"
    "insert-dynamic,store-weights,store-float16{excluded=false}"
)
MIXED = """g (float[N,1,12,12] x) => (float[N,2] y) <float[80,1,5,5] k, float[5120,2] w, float[2] b>
    { [conv] a = Conv (x, k)  [flat] f = Flatten (a)  [full] y = Gemm (f, w, b) }"""


def test_rest_of_mode_dynamic() -> None:
    def kinds(**options: Any) -> tuple[set[str], set[str]]:
        """Types of what the constants of the Conv and the Gemm are stored in."""
        result = onnxq.quantize(parse(MIXED), mode="dynamic", target="x86-vnni", **options)
        stored = {
            t.name: np.dtype(t.dtype).name
            for t in result.model.tensors().values()
            if isinstance(t, gs.Constant) and np.prod(t.shape) > 1000
        }
        return tuple({v for n, v in stored.items() if n[0] == name} for name in "kw")  # type: ignore[return-value]

    assert kinds() == ({"int8"}, {"int8"})
    assert kinds(rest="int8") == ({"int8"}, {"int8"})
    assert kinds(rest="fp16") == ({"float16"}, {"int8"})
    assert kinds(rest="int16") == ({"int16"}, {"int8"})
    assert kinds(rest="float32") == ({"float32"}, {"int8"})
    assert kinds(exclude=("conv",)) == ({"float32"}, {"int8"})
    assert kinds(recipe=STRICT) == ({"float16"}, {"int8"})


def test_refusals() -> None:
    with pytest.raises(OptionError, match="--rest int8 has no effect"):
        onnxq.quantize(SOURCE, data=DATA, rest="int8")
    with pytest.raises(UnknownNameError, match="fp8"):
        onnxq.quantize(SOURCE, data=DATA, rest="fp8")
    with pytest.raises(OptionError, match="nothing stays in float"):
        onnxq.quantize(SOURCE, data=DATA, rest="fp16", target="fpga-pow2")
