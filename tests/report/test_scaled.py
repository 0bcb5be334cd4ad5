"""Models whose channels onnxq has scaled: reported on like in the quantization itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxq
from onnxq.graph import Model
from onnxq.pipeline.scaled import SCALED, scaled_tensors
from onnxq.report.advise import Effort
from onnxq.report.compare import compare
from onnxq.report.factors import estimate, fitting
from tests.report.foreign import float_model, renamed, samples
from tests.zoo import model, needs_zoo, zoo

NETWORKS = ("digits_mobilenet", "digits_resnet", "lenet_mnist")
PATIENT = Effort(budget_s=1e9)


def quantized(original: Any, feeds: Any, held: Any, **options: Any) -> onnxq.Result:
    options = {"target": "x86-vnni", "report_detail": "full"} | options
    return onnxq.quantize(original, data=feeds, report_data=held, **options)


def same(one: dict[str, Any], two: dict[str, Any], *, through: float = 0.1) -> None:
    """The two reports have the same layers with the same figures.

    Errors from the input to a layer may differ by *through* dB: where one form of a model has a
    kernel that sums in another order, codes at ties flip, and the layers behind make more of it.
    """
    mine, other = ({e["node"]: e for e in r["layers"]} for r in (one, two))
    assert mine.keys() == other.keys()
    for node, entry in mine.items():
        found = other[node]
        assert found["op_type"] == entry["op_type"], node
        for key in ("isolated_sqnr_db", "cumulative_sqnr_db"):
            if entry[key] is None:
                assert found[key] is None, (node, key)
            else:
                near = through if key.startswith("cumulative") else 0.1
                assert found[key] == pytest.approx(entry[key], abs=near), (node, key)
        assert (found["share"] is None) == (entry["share"] is None), node
        if entry["share"]:
            assert found["share"] == pytest.approx(entry["share"], abs=0.02), node
        if entry["clipped"]:
            assert found["clipped"] == pytest.approx(entry["clipped"], abs=0.001), node
        effects = [e.get("effect") or {"estimated": True} for e in (entry, found)]
        if not any(e.get("estimated") for e in effects):
            alone = [e["alone_sqnr_db"] for e in effects]
            assert alone[1] == pytest.approx(alone[0], abs=0.5), node


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rename", [False, True])
def test_both_ways_give_the_same_figures(name: str, rename: bool) -> None:
    # samples that calibration has seen: beyond them a scaled ReLU6 cuts at 6 / a, which is an
    # error against the user's model and none against the equalized one
    original, feeds = float_model(name), samples(name, 32, evaluation=False)
    held = feeds[:12]
    result = quantized(original, feeds, held)
    assert scaled_tensors(result.model), "the pass equalize-cross-layer did something"
    found: Any = result.model
    if rename:
        found = Model.load(renamed(result.model.to_proto()))
    report = compare(Model.load(original), found, held, effort=PATIENT)
    same(result.report, report)
    assert report["unmatched"] == report["warnings"] == []
    assert any("noted in it" in e["reason"] for e in report["layers"])
    steps = [[e["node"] for e in r["recommendation"]] for r in (result.report, report)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_factors_that_nobody_noted_are_seen_in_weights_and_values(name: str) -> None:
    original, feeds = float_model(name), samples(name, 32, evaluation=False)
    held = feeds[:12]
    proto = renamed(quantized(original, feeds, held, report_detail="layers").model.to_proto())
    reports = []
    for _ in range(2):
        reports.append(compare(Model.load(original), Model.load(proto), held, effort=PATIENT))
        del proto.metadata_props[:]
    noted, seen = ({e["node"]: e for e in r["layers"]} for r in reports)
    assert reports[1]["unmatched"] == []
    assert seen.keys() == noted.keys()
    assert any("estimated" in e["reason"] for e in seen.values())
    for node, entry in noted.items():
        assert ("scaled in the quantized" in entry["reason"]) == (
            "scaled in the quantized" in seen[node]["reason"]
        ), node
        expected = entry["isolated_sqnr_db"]
        assert seen[node]["isolated_sqnr_db"] == pytest.approx(expected, abs=1.0), node


def silu_network() -> onnx.ModelProto:
    """Three convolutions with SiLU in between; the channels' ranges differ a hundred times."""
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    nodes = []
    source = "x"
    for i, (inner, outer) in enumerate(((3, 16), (16, 16), (16, 16), (16, 4))):
        weights[f"w{i}"] = rng.standard_normal((outer, inner, 3, 3)) / np.sqrt(9 * inner)
        weights[f"w{i}"] *= np.exp(rng.uniform(-2, 2, outer))[:, None, None, None] if i < 3 else 1
        weights[f"b{i}"] = rng.standard_normal(outer) / 10
        nodes.append(helper.make_node("Conv", [source, f"w{i}", f"b{i}"], [f"c{i}"], f"conv{i}",
                                      pads=[1, 1, 1, 1]))  # fmt: skip
        source = f"c{i}"
        if i < 3:
            nodes += [helper.make_node("Sigmoid", [source], [f"s{i}"], f"sigmoid{i}"),
                      helper.make_node("Mul", [source, f"s{i}"], [f"y{i}"], f"mul{i}")]  # fmt: skip
            source = f"y{i}"
    shapes = [("x", 3), (source, 4)]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 12, 12]) for n, c in shapes]
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    graph = helper.make_graph(nodes, "silu", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("rename", [False, True])
def test_gates_that_take_factors_back(rename: bool) -> None:
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.standard_normal((1, 3, 12, 12)).astype(np.float32)} for _ in range(24)]
    original = silu_network()
    result = quantized(original, feeds[:16], feeds[16:])
    assert any(e["node"].endswith("__unscale") for e in result.report["layers"])
    proto = result.model.to_proto()
    report = compare(
        Model.load(original), Model.load(renamed(proto) if rename else proto), feeds[16:]
    )
    assert report["unmatched"] == []
    if rename:
        by_result = {e["result"]: e for e in report["layers"]}
        for entry in report["layers"]:
            assert entry["isolated_sqnr_db"] is not None
        assert len(by_result) == len(result.report["layers"])
    else:
        same(result.report, report)


def test_what_the_report_recommends_is_applied(tmp_path: Path) -> None:
    name = "digits_mobilenet"
    original, feeds = float_model(name), samples(name, 32, evaluation=False)
    held = feeds[:16]
    spoilt = tmp_path / "overrides.toml"
    result = quantized(original, feeds, held, report_detail="layers")
    entry = next(e for e in result.report["layers"] if e["node"] == "block3.project")
    low, high = result.report["tensors"][entry["result"]]["range"]
    spoilt.write_text(f'["{entry["result"]}"]\nrange = [{100 * low}, {100 * high}]\n', "utf-8")
    options = {"overrides": spoilt, "report_detail": "basic"}
    ruined = quantized(original, feeds, held, **options)
    report = compare(Model.load(original), ruined.model, held, effort=Effort(budget_s=5.0))
    found = report["recommendation"]
    assert "block3.project" in {found[0]["node"], *found[0]["together"]}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report), "utf-8")
    mended = quantized(original, feeds, held, exclude_from=path, **options)
    (output,) = mended.report["summary"]["outputs"]
    # corrections made anew, without what is float now, may add to what was predicted
    assert -1.0 < output["sqnr_db"] - found[-1]["predicted_sqnr_db"] < 1.5


def test_noted_factors_belong_to_what_they_fit() -> None:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((1, 8, 5, 5)), 0)
    right, wrong = np.exp(rng.uniform(-1, 1, (2, 8)))
    y = x * right[None, :, None, None] + 0.01 * rng.standard_normal(x.shape)
    found, score = fitting(x, y, [wrong, right])
    assert (found == right).all()
    assert score > 30
    assert (fitting(x, y, [wrong])[0] == 1).all()
    assert (fitting(x, x, [wrong, right])[0] == 1).all()
    flat, _ = fitting(x.reshape(1, -1), y.reshape(1, -1), [right])
    assert (flat == np.repeat(right, 25)).all()


def test_estimates_are_believed_where_other_values_confirm_them() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 8, 6, 6))
    factors = np.exp(rng.uniform(-1, 1, 8))
    y = x * factors[None, :, None, None] + 0.02 * rng.standard_normal(x.shape)
    found = estimate(x, y)
    assert found is not None
    assert found[0] == pytest.approx(factors, rel=0.02)
    assert estimate(x, x + 0.02 * rng.standard_normal(x.shape)) is None, "nothing is scaled"
    assert estimate(x, rng.standard_normal(x.shape)) is None, "nothing is alike"
    # one value a channel fits any factor
    assert estimate(x.mean((2, 3), keepdims=True), y.mean((2, 3), keepdims=True)) is None


@needs_zoo
@pytest.mark.parametrize(
    "name",
    ["cifar_resnet20", *(pytest.param(n, marks=pytest.mark.slow)
                         for n in ("squeezenet1.1", "mobilenetv2", "yolox_nano"))],
)  # fmt: skip
def test_both_ways_give_the_same_figures_on_real_networks(name: str) -> None:
    feeds = list(zoo().calibration(name, 20))
    held = feeds[:6] if name == "mobilenetv2" else feeds[-4:]  # see above
    result = quantized(str(model(name)), feeds, held)
    assert SCALED in result.model.metadata
    report = compare(Model.load(str(model(name))), result.model, held)
    same(result.report, report, through=1.0)  # of four samples one tells much
    assert report["unmatched"] == []
    # what is recommended depends on the time that there was, what it starts from does not
    whole = [r["sensitivity"]["sqnr_db"] for r in (result.report, report)]
    assert whole[1] == pytest.approx(whole[0], abs=0.3)
