"""QParams against the two references: onnx's evaluator and ONNX Runtime, to the bit."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper
from onnx.reference import ReferenceEvaluator

from onnxq.quant import INT8, UINT8, QParams, Rounding
from onnxq.quant import dtype as find_dtype
from onnxq.quant.rounding import quantize
from onnxq.runtime.session import Session

SCALES = st.floats(2.0**-40, 2.0**20, width=32)
VALUES = st.floats(-1e6, 1e6, width=32)


def model(kind, axis):
    attrs = {} if axis is None else {"axis": axis}
    free = [None] if axis is None else [None, None]
    scale = [] if axis is None else [None]
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attrs),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attrs),
        ],
        "qdq",
        [
            helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, free),
            helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, scale),
            helper.make_tensor_value_info("z", kind.onnx, scale),
        ],
        [
            helper.make_tensor_value_info("q", kind.onnx, free),
            helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, free),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


KINDS = [find_dtype(n) for n in ("int8", "uint8", "int16", "uint16")]
ENGINES = {
    (k.name, axis): (
        Session(model(k, axis), threads=1, optimize=False),
        ReferenceEvaluator(model(k, axis)),
    )
    for k in KINDS
    for axis in (None, 0)
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(
    x=arrays(np.float32, st.integers(1, 40), elements=VALUES),
    s=SCALES,
    z=st.integers(-40000, 70000),
)
@settings(deadline=None)
def test_per_tensor_equals_both_references(kind, x, s, z):
    z = min(max(z, kind.qmin), kind.qmax)
    qparams = QParams(np.array(s, np.float32), np.array(z), kind)
    compare(qparams, x, *ENGINES[kind.name, None])


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(data=st.data())
@settings(deadline=None)
def test_per_axis_equals_both_references(kind, data):
    channels = data.draw(st.integers(1, 5))
    x = data.draw(arrays(np.float32, (channels, 7), elements=VALUES))
    s = data.draw(arrays(np.float32, channels, elements=SCALES))
    z = data.draw(arrays(np.int64, channels, elements=st.integers(kind.qmin, kind.qmax)))
    compare(QParams(s, z, kind, axis=0), x, *ENGINES[kind.name, 0])


def compare(qparams, x, session, reference):
    # beyond 2^31 steps the references convert to int32 without saturation: undefined there
    step = qparams.scale if qparams.axis is None else qparams.scale[:, None]
    x = np.clip(x, -(step * 2**30), step * 2**30).astype(np.float32)
    codes, real = qparams.quantize(x), qparams.fake(x)
    feed = {"x": x, "s": qparams.scale, "z": qparams.zero_point.astype(qparams.dtype.numpy)}
    found = session.run(feed)
    expected = reference.run(None, feed)
    np.testing.assert_array_equal(codes, found["q"])
    np.testing.assert_array_equal(codes, expected[0])
    np.testing.assert_array_equal(real, found["y"])
    np.testing.assert_array_equal(real, expected[1])


@given(x=arrays(np.float32, st.integers(1, 40), elements=VALUES), s=SCALES, z=st.integers(0, 255))
def test_codes_survive_a_second_round_trip(x, s, z):
    qparams = QParams(np.array(s, np.float32), np.array(z), UINT8)
    codes = qparams.quantize(x)
    np.testing.assert_array_equal(qparams.quantize(qparams.dequantize(codes)), codes)


@given(x=arrays(np.float32, st.integers(1, 40), elements=st.floats(-12, 12, width=32)))
def test_every_mode_lands_on_a_neighbour(x):
    qparams = QParams(np.array(0.5, np.float32), np.array(0), INT8)
    for mode in Rounding:
        error = qparams.dequantize(quantize(x, qparams, mode)) - x
        bound = 0.25 if mode.value.startswith(("half", "near")) else 0.5
        assert np.abs(error).max() <= bound, mode
    nearest = quantize(x, qparams, Rounding.NEAREST_EVEN)
    np.testing.assert_array_equal(nearest, qparams.quantize(x))
