from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxq.errors import OptionError
from onnxq.graph import Model
from onnxq.pipeline import Context
from tests.passes.golden import outputs
from tests.passes.stages import run

RECIPE = "plan-kernels,choose-ranges,quantize-weights,quantize-biases,insert-qdq"
TEXT = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w> { [conv] y = Conv (x, w) }"""
TWO = """g (float[1,2,4,4] x, float[1,2,4,4] k) => (float[1,2,4,4] y, float[1,2,4,4] z)
    <float[2,2,1,1] w> { [conv] y = Conv (x, w)  [add] z = Add (x, k) }"""


def declined(ctx: Context) -> dict[str, str]:
    return {d.node: d.reason for d in ctx.journal.declines}


def note(model: Model, key: str) -> tuple[float, int]:
    scale, zero = (part.split("=")[1] for part in model.metadata[key].split(","))
    return float(scale), int(zero)


@pytest.mark.parametrize(("kind", "target"), [("uint8", "x86"), ("int8", "generic")])
def test_codes_in_and_out(kind: str, target: str) -> None:
    plain, _ = run(TEXT, RECIPE, target=target)
    model, ctx = run(TEXT, f"{RECIPE},io-dtype{{dtype={kind}}}", target=target)
    assert not ctx.journal.declines
    proto = model.to_proto()
    wanted = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.elem_type == wanted
        assert [d.dim_value for d in value.type.tensor_type.shape.dim] == [1, 2, 4, 4]
    (s_x, z_x), (s_y, z_y) = note(model, "onnxq.input.x"), note(model, "onnxq.output.y")
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    info = np.iinfo(kind)
    codes = np.clip(np.rint(x / np.float32(s_x)) + z_x, info.min, info.max).astype(kind)
    (found,) = outputs(proto, {"x": codes})
    (reference,) = outputs(plain.to_proto(), {"x": x})
    np.testing.assert_array_equal((found.astype(np.float32) - z_y) * np.float32(s_y), reference)


def test_declines() -> None:
    model, ctx = run(TWO, f"{RECIPE},io-dtype")
    assert declined(ctx) == {
        "x": "input is not read by one QuantizeLinear alone",
        "k": "input is not read by one QuantizeLinear alone",
        "z": "output is not written by a DequantizeLinear",
    }
    assert "onnxq.output.y" in model.metadata
    assert "onnxq.input.x" not in model.metadata


def test_another_format_declines() -> None:
    _, ctx = run(TEXT, f"{RECIPE},io-dtype{{dtype=int8}}", target="x86")
    assert declined(ctx) == {
        "x": "its codes are uint8, not int8",
        "y": "its codes are uint8, not int8",
    }


def test_refusals() -> None:
    with pytest.raises(OptionError, match="int16 is not possible"):
        run(TEXT, f"{RECIPE},io-dtype{{dtype=int16}}")
