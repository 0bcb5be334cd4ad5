"""What cannot run on integers alone is refused by name, with a remedy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxq.errors import OptionError, UnsupportedModelError
from onnxq.graph import Model
from onnxq.integer import encode, lower, run
from tests.integer.qdq import INT8, INT16, Qdq


def refusal(m: Qdq, *outputs: str) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        lower(m.model(*outputs))
    assert "Try: " in str(caught.value)
    return str(caught.value)


def test_a_scale_that_is_no_power_of_two() -> None:
    m = Qdq()
    y = m.quantize(m.conv(m.input((2, 5, 5)), (3, 2)), 0)
    proto = m.proto(y)
    for stored in proto.graph.initializer:
        if stored.data_type == onnx.TensorProto.FLOAT and not stored.dims:
            stored.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.3), stored.name))
    with pytest.raises(
        UnsupportedModelError, match=r"'n_quantizelinear\d+'.*\n.*0\.3.* power of two"
    ):
        lower(Model.load(proto))


def test_a_zero_point() -> None:
    m = Qdq()
    x = m.input((3,))
    m.stored[1].CopyFrom(onnx.numpy_helper.from_array(np.array(3, INT8), m.stored[1].name))
    assert "zero point is 3" in refusal(m, x)


def test_an_operator_that_integers_lack() -> None:
    m = Qdq()
    found = refusal(m, m.quantize(m.node("Exp", [m.input((4,))]), -7))
    assert "'n_exp" in found and "(Exp)" in found


def test_a_float_weight() -> None:
    m = Qdq()
    weight = m.store(np.ones((2, 2, 1, 1), np.float32))
    found = refusal(m, m.quantize(m.node("Conv", [m.input((2, 3, 3)), weight]), 0))
    assert f"weight '{weight}' is floating-point" in found


def test_a_bias_finer_than_the_accumulator() -> None:
    m = Qdq()
    x, weight = m.input((2, 3, 3)), m.constant(m.codes((2, 2, 1, 1)), -6)
    bias = m.constant(np.array([3, 5], np.int32), -12)
    found = refusal(m, m.quantize(m.node("Conv", [x, weight, bias]), 0))
    assert "is finer than" in found and "quantize-biases" in found


def test_an_accumulator_that_can_overflow() -> None:
    m = Qdq()
    x = m.input((4000,), -8, INT16)
    found = refusal(m, m.quantize(m.gemm(x, (2, 4000), exponent=-8), 0))
    assert "can overflow" in found and "of 32" in found


def test_scales_too_far_apart() -> None:
    m = Qdq()
    found = refusal(m, m.quantize(m.conv(m.input((2, 5, 5)), (3, 2)), 40))
    assert "shifted by 50 bits" in found


def test_an_unquantized_input() -> None:
    m = Qdq()
    m.input((2, 4, 4))
    name = m.inputs[0].name
    found = refusal(m, m.quantize(m.node("MaxPool", [name], kernel_shape=[2, 2]), 0))
    assert f"'{name}' is a floating-point tensor" in found


def test_frames_that_are_mixed() -> None:
    m = Qdq()
    y = m.node("Reshape", [m.input((2, 4)), m.store(np.array([-1, 4]))])
    assert "frames in the first axis" in refusal(m, m.quantize(y, -4))


def test_an_unknown_rounding() -> None:
    m = Qdq(rounding="sideways")
    with pytest.raises(OptionError, match="sideways"):
        lower(m.model(m.input((3,))))


def test_a_coarser_bias_is_widened() -> None:
    m = Qdq(rounding="nearest-even")
    x, weight = m.input((2, 3, 3)), m.constant(np.ones((2, 2, 1, 1), INT8), -6)
    bias = m.constant(np.array([3, -5], np.int8), [-4, -8])
    program = lower(m.model(m.node("Conv", [x, weight, bias])))
    assert program.steps[0].kind.bias.tolist() == [3 << 6, -5 << 2]  # type: ignore[union-attr]
    name = next(iter(program.inputs.values()))
    codes = encode(program.values[name], np.zeros((1, 2, 3, 3), np.float32))
    found = run(program, {name: codes})[next(iter(program.outputs.values()))]
    assert found[0, :, 0, 0].tolist() == [3 << 6, -5 << 2]
