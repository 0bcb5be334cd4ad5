# ruff: noqa: E501 - graphs read best with a node on one line
"""``quantize`` for targets without floating point: the file is a specification of integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxq.api import quantize
from onnxq.errors import OptionError, UnknownNameError, UnsupportedModelError
from tests.passes.golden import outputs, parse

NET = """g (float[1,2,8,8] x) => (float[1,3] y)
    <float[4,2,3,3] w, float[4] b, float[4,1,3,3] d, float[4,8,1,1] e, float[3,4] v, float[3] c, float zero = {0}, float six = {6}>
    { [conv] p = Conv<pads=[1,1,1,1]>(x, w, b)  [relu] q = Relu(p)
      [deep] r = Conv<group=4,pads=[1,1,1,1]>(q, d)  [clip] s = Clip(r, zero, six)
      [sum] t = Add(q, s)  [act] u = Relu(t)  [join] j = Concat<axis=1>(u, s)
      [wide] k = Conv(j, e)  [pool] m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(k)
      [mean] n = GlobalAveragePool(m)  [flat] f = Flatten(n)  [last] y = Gemm<transB=1>(f, v, c) }"""
DATA = [
    {"x": np.random.default_rng(i).normal(size=(1, 2, 8, 8)).astype(np.float32)} for i in range(12)
]


def made(**options: Any) -> onnx.ModelProto:
    options = {"data": DATA, "target": "fpga-pow2", "report_detail": "basic"} | options
    return quantize(parse(options.pop("net", NET)), **options).model.to_proto()


@pytest.mark.parametrize("recipe", ["fast", "balanced", "best"])
@pytest.mark.parametrize("target", ["fpga-pow2", "nxp", "esp32", "dpu"])
def test_every_scale_is_a_power_of_two_and_no_node_is_float(recipe: str, target: str) -> None:
    proto = made(recipe=recipe, target=target)
    given = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    by_output = {n.output[0]: n for n in proto.graph.node}
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert (np.frexp(given[node.input[1]])[0] == 0.5).all()
            if len(node.input) > 2:
                assert not given[node.input[2]].any()
        else:
            first = by_output[node.input[0]]
            assert first.op_type in ("DequantizeLinear", "Conv", "Add"), (node.name, first.op_type)
    for node in proto.graph.node:  # a bias has the scale of the accumulator
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            x, w, b = (given[by_output[i].input[1]] for i in node.input)
            np.testing.assert_array_equal(b, x * w)
    assert by_output[proto.graph.output[0].name].op_type == "DequantizeLinear"


def test_metadata_tell_the_arithmetic() -> None:
    found = {p.key: p.value for p in made(rounding="floor", bias_bits=16).metadata_props}
    assert found["onnxq.target"] == "fpga-pow2"
    assert found["onnxq.rounding"] == "floor"
    assert found["onnxq.bias_bits"] == "16"
    assert found["onnxq.accumulator_bits"] == "32"
    assert json.loads(found["onnxq.accumulators"]).keys() >= {"conv", "deep", "sum", "wide", "last"}
    assert {p.key: p.value for p in made().metadata_props}["onnxq.rounding"] == "half-up"
    assert "onnxq.rounding" not in {p.key for p in made(target="generic").metadata_props}


def test_any_scale_for_a_multiplier() -> None:
    found = {p.key: p.value for p in made(target="mcu-int8").metadata_props}
    assert found["onnxq.requantization"] == "multiplier" and found["onnxq.rounding"] == "half-away"
    assert json.loads(found["onnxq.accumulators"]).keys() >= {"conv", "deep", "mean", "last"}


def test_the_join_only_copies() -> None:
    proto = made()
    by_output = {n.output[0]: n for n in proto.graph.node}
    join = next(n for n in proto.graph.node if n.op_type == "Concat")
    scales = {by_output[i].input[1] for i in join.input}
    after = next(n for n in proto.graph.node if join.output[0] in n.input)
    assert scales == {after.input[1]}


def test_the_result_is_close_to_float() -> None:
    reference = parse(NET)
    one = np.concatenate([outputs(reference, f)[0] for f in DATA])
    two = np.concatenate([outputs(made(), f)[0] for f in DATA])
    assert np.square(one - two).sum() < 0.01 * np.square(one).sum()


def test_what_cannot_run_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    net = NET.replace("[mean] n = Glob", "[curve] o = Exp(m)  [mean] n = Glob").replace(
        "Pool(m)", "Pool(o)"
    )
    with pytest.raises(UnsupportedModelError, match=r"'curve' \(Exp\) cannot run on fpga-pow2"):
        made(net=net)
    made(net=net, exclude=("curve",))
    ranges = tmp_path / "ranges.toml"
    ranges.write_text("[q]\nrange = [-1.0, 3.0]\nsymmetric = false\n", "utf-8")
    with pytest.raises(OptionError, match="'q': its zero point is not 0"):
        made(overrides=ranges)


def test_the_report_is_about_the_hardware_and_not_about_onnx_runtime() -> None:
    report = quantize(parse(NET), data=DATA, target="fpga-pow2", report_detail="basic").report
    summary = report["summary"]
    assert summary["integer_macs_percent"] == summary["integer_nodes_percent"] == 100
    assert {e["kernel"] for e in report["layers"] if e["node"] == "conv"} == {"integer Conv"}
    assert report["unfused"] == report["hazards"] == report["saturation"] == []
    (note,) = (n for n in report["notes"] if "fpga-pow2's integers, rounded half up" in n)
    assert "onnxq verify" in note and "--format simulate" in note
    net = NET.replace("[mean] n = Glob", "[curve] o = Exp(m)  [mean] n = Glob").replace(
        "Pool(m)", "Pool(o)"
    )
    options = {"target": "fpga-pow2", "report_detail": "basic", "exclude": ("curve",)}
    split = quantize(parse(net), data=DATA, **options).report["summary"]
    assert split["coverage"]["float_nodes"] + split["coverage"]["around_nodes"] >= 1
    assert split["integer_nodes_percent"] < 100


def test_options_that_the_target_cannot_follow() -> None:
    with pytest.raises(OptionError, match="--rounding has no effect: target x86"):
        made(target="x86", rounding="floor")
    with pytest.raises(OptionError, match="--bias-bits has no effect"):
        made(target="x86", bias_bits=16)
    for target, why in (("nxp", "centred at 0"), ("mcu-int8", "have zero points")):
        with pytest.raises(OptionError, match=why):
            made(target=target, asymmetric=True)
    with pytest.raises(UnknownNameError, match="unknown rounding 'up'"):
        made(rounding="up")
    with pytest.raises(OptionError, match="biases of 4 bits"):
        made(bias_bits=4)


@pytest.mark.parametrize("recipe", ["fast", "best"])
def test_powers_of_two_where_a_runtime_computes(recipe: str) -> None:
    """All scales are powers of two, and every group is an integer kernel still."""
    result = quantize(
        parse(NET), data=DATA, target="x86", scales="power-of-two", granularity="tensor",
        recipe=recipe,
    )  # fmt: skip
    proto = result.model.to_proto()
    given = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    scales = [given[n.input[1]] for n in proto.graph.node if n.op_type == "DequantizeLinear"]
    assert len(scales) > 10 and all((np.frexp(s)[0] == 0.5).all() for s in scales)
    assert result.report["summary"]["coverage"]["float_nodes"] == 0
    with pytest.raises(UnknownNameError, match="unknown rule for scales 'binary'"):
        made(scales="binary")


def test_granularity_channel() -> None:
    proto = made(granularity="channel")
    given = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    scales = [given[n.input[1]] for n in proto.graph.node if n.op_type == "DequantizeLinear"]
    assert any(s.shape == (4,) for s in scales)
    assert all((np.frexp(s)[0] == 0.5).all() for s in scales)


@pytest.mark.parametrize(
    ("name", "data", "least"),
    [("lenet_mnist", "mnist", 25.0), ("digits_mobilenet", "digits", 22.0)],
)
def test_networks_of_the_repository(name: str, data: str, least: float) -> None:
    """digits_mobilenet has 1.5 dB where channels are not evened out."""
    folder = Path(__file__).parents[2] / "models"
    result = quantize(
        folder / f"{name}.onnx", data=folder / f"{data}_calibration.npz", target="fpga-pow2", report_detail="basic"
    )  # fmt: skip
    assert result.report["kept_float"] == []
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > least
