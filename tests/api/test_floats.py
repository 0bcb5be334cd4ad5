"""Floats of 8 bits for weights and activations: right in onnx's reference, refused elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

import onnxq
from onnxq.errors import OptionError, UnsupportedModelError
from onnxq.quant import PerTensor, QParams, QuantSpec, number_format, qparams_from_range
from onnxq.runtime.session import Session
from tests.passes.golden import parse

KINDS = {"float8": ("float8e4m3fn", 448.0, 26), "float8e5m2": ("float8e5m2", 57344.0, 20)}
"""By name: the type, its largest value, and dB to reach: one rounding makes noise of 31 and 25."""


def network() -> onnx.ModelProto:
    """Convolutions, a join and a product, whose middle activation has outliers."""
    rng = np.random.default_rng(0)
    weights = {n: rng.normal(0, 0.3, s).astype(np.float32)
               for n, s in (("u", (8, 3, 3, 3)), ("v", (8, 8, 3, 3)), ("w", (16, 10)),
                            ("b", (8,)))}  # fmt: skip
    weights["u"][0] *= 20
    return parse(
        """g (float[2,3,6,6] x) => (float[2,10] y) <float[8,3,3,3] u, float[8] b, float[8,8,3,3] v,
        float[16,10] w> { [stem] a = Conv <pads = [1,1,1,1]> (x, u, b)  [act] c = Relu (a)
        [deep] d = Conv <pads = [1,1,1,1]> (c, v)  [join] e = Concat <axis = 1> (c, d)
        [pool] f = GlobalAveragePool (e)  [flat] g2 = Flatten (f)  [head] y = MatMul (g2, w) }""",
        weights, opset=17,
    )  # fmt: skip


def samples(count: int = 20, seed: int = 1) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(2, 3, 6, 6)).astype(np.float32)} for _ in range(count)]


def sqnr(real: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10((real**2).sum() / ((real - found) ** 2).sum()))


@pytest.mark.parametrize("recipe", ["fast", "balanced", "best"])
@pytest.mark.parametrize("name", KINDS)
def test_static(name: str, recipe: str) -> None:
    kind, largest, least = KINDS[name]
    result = onnxq.quantize(network(), data=samples(), target="generic", activations=name,
                            recipe=recipe, report_detail="layers")  # fmt: skip
    proto = result.model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    assert next(o.version for o in proto.opset_import if not o.domain) >= 19
    stored = {t.name: t for t in proto.graph.initializer}
    quantizers = [n for n in proto.graph.node if n.op_type == "QuantizeLinear"]
    assert len(quantizers) >= 5
    wanted = TensorProto.DataType.Value(kind.upper())
    for node in quantizers:
        assert stored[node.input[2]].data_type == wanted and not stored[node.input[2]].dims
    weights = [numpy_helper.to_array(t) for t in proto.graph.initializer
               if t.data_type == wanted and len(t.dims) > 1]  # fmt: skip
    assert len(weights) == 3
    assert not any(t.data_type == TensorProto.INT32 for t in proto.graph.initializer), "biases"
    real = [ReferenceEvaluator(network()).run(None, f)[0] for f in samples(4, 9)]
    reference = [ReferenceEvaluator(proto).run(None, f)[0] for f in samples(4, 9)]
    assert sqnr(np.array(real), np.array(reference)) > least
    here = [Session(proto).run(f)["y"] for f in samples(4, 9)]
    assert np.allclose(reference, here, rtol=2e-2, atol=1e-4)
    (output,) = result.report["summary"]["outputs"]
    assert output["sqnr_db"] == pytest.approx(sqnr(np.array(real), np.array(reference)), abs=4)
    for layer in result.report["layers"]:
        assert kind in layer["precision"] and layer["kernel"] is None
        assert layer["cumulative_sqnr_db"] > least - 3
    assert any("'basic'" in w for w in result.report["warnings"])
    if recipe == "fast":  # the scale is the largest magnitude over the largest code
        scale = numpy_helper.to_array(stored["x__scale"])
        most = max(np.abs(f["x"]).max() for f in samples()[:18])
        assert scale == pytest.approx(most / largest, rel=1e-6)


def test_types_beside_each_other(tmp_path: Path) -> None:
    """One activation in int8, a layer in float, the others in float8: converted at the borders."""
    table = tmp_path / "own.toml"
    table.write_text('["c"]\ndtype = "int8"\n["w"]\ndtype = "int8"\n')
    result = onnxq.quantize(network(), data=samples(), target="generic", activations="float8",
                            overrides=table, exclude=["stem"], recipe="fast")  # fmt: skip
    proto = result.model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    stored = {t.name: t.data_type for t in proto.graph.initializer}
    points = {n.input[0].removesuffix("__float"): stored[n.input[2]]
              for n in proto.graph.node if n.op_type == "QuantizeLinear"}  # fmt: skip
    assert points["c"] == TensorProto.INT8 and points["d"] == TensorProto.FLOAT8E4M3FN
    assert stored["w__q"] == TensorProto.INT8 and stored["u"] == TensorProto.FLOAT
    feeds = samples(3, 9)
    real = [ReferenceEvaluator(network()).run(None, f)[0] for f in feeds]
    found = [ReferenceEvaluator(proto).run(None, f)[0] for f in feeds]
    assert sqnr(np.array(real), np.array(found)) > 26
    assert np.allclose(found, [Session(proto).run(f)["y"] for f in feeds], rtol=2e-2, atol=1e-4)


def test_methods_are_compared_without_the_one_for_even_steps() -> None:
    result = onnxq.quantize(network(), data=samples(), target="generic", activations="float8",
                            calibration="auto", recipe="fast")  # fmt: skip
    choices = [t["choice"] for t in result.report["tensors"].values() if "choice" in t]
    assert choices and not any("entropy" in c["noise_to_signal"] for c in choices)
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 26


def test_weights_alone_in_float8() -> None:
    result = onnxq.quantize(network(), data=samples(), target="generic", weights="float8",
                            recipe="fast")  # fmt: skip
    stored = [t.data_type for t in result.model.to_proto().graph.initializer]
    assert TensorProto.FLOAT8E4M3FN in stored and TensorProto.INT8 in stored
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 28


def test_what_is_refused() -> None:
    def refused(match: str, **options: Any) -> None:
        with pytest.raises(OptionError, match=match):
            onnxq.quantize(network(), data=samples(), **options)

    for target in ("x86", "arm", "openvino", "fpga-pow2"):
        refused(f"float8e4m3fn are not for target {target}", target=target, activations="float8")
    refused("float8e5m2 are not for target tensorrt", target="tensorrt", activations="float8e5m2")
    refused("float4e2m1 are not for target generic", target="generic", activations="float4")
    refused("no operators on floating", target="generic", activations="float8", format="qoperator")
    refused("even steps", target="generic", activations="float8", calibration="entropy")
    refused("keeps the codes of training", target="generic", activations="float8",
            keep_scales=True)  # fmt: skip
    refused("int32 for weights or activations", target="generic", weights="int32")
    refused("needs opset 19", target="generic", activations="float8", max_opset=17)


def test_the_runtime_alone_makes_something_else_of_it(tmp_path: Path) -> None:
    """Why the result is said to be for other runtimes: as a file, ONNX Runtime refuses it."""
    result = onnxq.quantize(network(), data=samples(), target="tensorrt", activations="float8",
                            recipe="fast")  # fmt: skip
    result.save(tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError):
        Session(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", KINDS)
def test_codes_are_those_of_onnx(name: str) -> None:
    """Ties, saturation and subnormal codes as QuantizeLinear of onnx's reference has them."""
    kind, largest, _ = KINDS[name]
    spec = QuantSpec(dtype=number_format(name), granularity=PerTensor(), symmetric=True)
    params = qparams_from_range(-3.0, 2.0, spec)
    assert params.scale == np.float32(3.0 / largest) and params.zero_point == 0
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 10.0**e, 200) for e in range(-6, 3)]).astype(np.float32)
    x = np.concatenate([x, np.float32([0, 3, -3, 1e9, -1e9])])
    zero = {"float8": "float8_e4m3fn", "float8e5m2": "float8_e5m2"}[name]
    model = parse("g (float[N] x, float s) => (float[N] y) { q = QuantizeLinear (x, s, z) "
                  "y = DequantizeLinear (q, s, z) }".replace("{", "<float z0 = {0}> {", 1),
                  opset=19, ir=9)  # fmt: skip
    point = numpy_helper.from_array(np.array(0, getattr(ml_dtypes, zero)), "z")
    model.graph.initializer.append(point)
    (found,) = ReferenceEvaluator(model).run(None, {"x": x, "s": params.scale})
    assert isinstance(params, QParams)
    assert np.array_equal(params.fake(x), found)
    assert params.quantize(x).dtype == number_format(name).numpy and kind == str(params.dtype)
