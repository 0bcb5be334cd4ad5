from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import onnxq
from onnxq.api.finish import measured, own_matches
from onnxq.graph import Model
from onnxq.quant.measures import ErrorSums
from onnxq.report.isolated import Isolated
from onnxq.report.measure import Errors, measure
from tests.api.support import network, samples
from tests.passes.golden import outputs, parse
from tests.report.loop import loop


@pytest.fixture(scope="module")
def result() -> onnxq.Result:
    return onnxq.quantize(network(), data=samples(), target="x86")


def full(result: onnxq.Result, feeds: Any) -> Errors:
    return measured(result.original, result.model, result.ctx, feeds, (), full=True)


def alone(errors: Errors, node: str) -> ErrorSums:
    assert errors.isolated is not None
    sums = errors.isolated.layer(node)
    assert sums is not None
    return sums


def test_agrees_with_a_loop_over_the_layers(result: onnxq.Result) -> None:
    feeds = samples(5, seed=7)
    errors = full(result, feeds)
    expected = loop(result, feeds)
    assert set(expected) == {"conv1", "conv2", "add", "conv3"}
    for node, sums in expected.items():
        assert alone(errors, node).sqnr_db == pytest.approx(sums.sqnr_db, abs=0.01)
        assert alone(errors, node).signal == pytest.approx(sums.signal, rel=1e-4)


def gemm() -> onnxq.Result:
    proto = parse("""one (float[N,6] x) => (float[N,3] y)
        <float[6,5] w, float[5] b, float[5,3] v>
        { [g] t = Gemm (x, w, b)  [relu] r = Relu (t)  [last] y = MatMul (r, v) }""")
    rng = np.random.default_rng(1)
    data = [{"x": rng.normal(size=(7, 6)).astype(np.float32)} for _ in range(12)]
    return onnxq.quantize(proto, data=data, report_data=data[:4], target="x86")


def test_noise_and_its_sources_by_numpy() -> None:
    result = gemm()
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.normal(size=(7, 6)).astype(np.float32)} for _ in range(4)]
    layer = next(e for e in result.report["layers"] if e["node"] == "g")
    qparams, integers = result.ctx.qparams, result.ctx.integers
    node = result.original.node("g")
    names = [t.name for t in node.inputs]
    w, b = (t.values for t in node.inputs[1:])
    if node.attrs.get("transB", 0):
        w = w.T
    rounded = [qparams[n].dequantize(np.asarray(integers[n])) for n in names[1:]]
    wq = rounded[0].T if node.attrs.get("transB", 0) else rounded[0]
    power = dict.fromkeys(("signal", "noise", "weights", "inputs", "output"), 0.0)
    for feed in feeds:
        x, xq = feed["x"], qparams[names[0]].fake(feed["x"])
        t = np.maximum(x @ w + b, 0)
        plain, both = (np.maximum(v @ wq + rounded[1], 0) for v in (x, xq))
        grid = qparams["r"]
        for key, value in (
            ("signal", t), ("noise", grid.fake(xq @ wq + rounded[1]) - t),
            ("weights", plain - t), ("inputs", both - plain), ("output", grid.fake(t) - t),
        ):  # fmt: skip
            power[key] += float(np.square(value.astype(np.float64)).sum())
    ratio = power["noise"] / power["signal"]
    assert layer["isolated_noise_to_signal"] == pytest.approx(ratio, rel=0.02)
    assert layer["isolated_sqnr_db"] == pytest.approx(-10 * np.log10(ratio), abs=0.1)
    sources = sum(power[k] for k in ("weights", "inputs", "output"))
    for key, value in layer["share"].items():
        assert value == pytest.approx(power[key] / sources, abs=0.01)
    assert sum(layer["share"].values()) == pytest.approx(1.0)


def test_a_ruined_layer_is_the_worst_alone_and_spoils_no_other(result: onnxq.Result) -> None:
    feeds = samples(4, seed=3)
    before = full(result, feeds)
    ruined = dataclasses.replace(result, model=result.model.clone())
    codes = ruined.model.tensors()["w2__q"]
    codes.values = np.roll(codes.values, 1, axis=0)
    after = full(ruined, feeds)
    nodes = ["conv1", "conv2", "add", "conv3"]
    errors = {n: alone(after, n).sqnr_db for n in nodes}
    assert min(errors, key=lambda n: errors[n]) == "conv2"
    assert errors["conv2"] < 5
    for node in ("conv1", "add", "conv3"):
        assert errors[node] == pytest.approx(alone(before, node).sqnr_db, abs=1e-3)
    assert after.tensors["s"].sqnr_db < 10 < alone(after, "add").sqnr_db
    assert after.isolated is not None
    share = after.isolated.share("conv2")
    assert share is not None and share["weights"] > 0.99


def test_layers_are_ranked_by_their_isolated_error(result: onnxq.Result) -> None:
    found = [e["isolated_sqnr_db"] for e in result.report["layers"]]
    assert found == sorted(found)
    assert all(20 < db < 80 for db in found)
    depths = {e["node"]: e["depth"] for e in result.report["layers"]}
    assert depths == {"conv1": 0, "conv2": 1, "add": 2, "conv3": 3}
    add = next(e for e in result.report["layers"] if e["node"] == "add")
    assert sorted(add["before"]) == ["conv1", "conv2"] and add["after"] == ["conv3"]
    assert sorted(add["inputs"]) == ["c", "r"] and add["result"] == "s"
    assert add["inputs"][0] in result.report["tensors"]


def isolated(result: onnxq.Result, feeds: list[dict[str, Any]], **options: Any) -> Isolated:
    found = Isolated(
        result.original.to_proto(), result.model.to_proto(),
        own_matches(result.original, result.model), feeds[0], **options,
    )  # fmt: skip
    for feed in feeds:
        found.take(found.run(feed, {})[0])
    return found


def test_spread_over_several_graphs_for_memory(result: onnxq.Result) -> None:
    feeds = samples(3)
    one, several = isolated(result, feeds), isolated(result, feeds, budget=1)
    assert len(one._plain) == 1
    assert len(several._plain) == 4
    assert one.totals.numbers.keys() == several.totals.numbers.keys()
    for key, value in one.totals.numbers.items():
        assert several.totals.numbers[key] == pytest.approx(value, rel=1e-5, abs=1e-9)


def test_cumulative_errors_with_several_graphs(
    result: onnxq.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds = samples(3)
    one = full(result, feeds)
    monkeypatch.setattr("onnxq.report.measure.BUDGET", 1)
    several = full(result, feeds)
    assert one.tensors.keys() == several.tensors.keys()
    assert several.isolated is not None and len(several.isolated._plain) == 4
    for name, sums in one.tensors.items():
        assert several.tensors[name].sqnr_db == pytest.approx(sums.sqnr_db, abs=1e-3)
    assert several.outputs["y"].sqnr_db == pytest.approx(one.outputs["y"].sqnr_db, abs=1e-3)


def test_samples_of_different_shapes(result: onnxq.Result) -> None:
    first = samples(4)
    pairs = [{"x": np.concatenate([a["x"], b["x"]])} for a, b in pairwise(first)]
    feeds = [*first, *pairs]
    errors = full(result, feeds)
    expected = loop(result, feeds)
    for node, sums in expected.items():
        assert alone(errors, node).sqnr_db == pytest.approx(sums.sqnr_db, abs=0.01)
    assert errors.isolated is not None
    sizes = errors.isolated.totals.get("size", "s")
    assert sizes == (4 + 2 * 3) * 4 * 36
    assert len(errors.isolated.tensors()["s"]["channel_noise_mean"]) == 4


def test_data_movement_adds_no_noise() -> None:
    proto = parse("""moves (float[N,4,6,6] x) => (float[N,3] y)
        <float[4,4,1,1] w1, float[36,3] w2, int64[2] shape = {-1, 36}>
        { [conv] a = Conv (x, w1)  [pool] p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a)
          [flat] f = Reshape (p, shape)  [mm] y = MatMul (f, w2) }""")
    found = onnxq.quantize(proto, data=samples(12), target="x86").report["layers"]
    layers = {e["node"]: e for e in found}
    assert layers["pool"]["isolated_sqnr_db"] == layers["flat"]["isolated_sqnr_db"] == 999.0
    assert layers["pool"]["share"] is None
    assert 20 < layers["conv"]["isolated_sqnr_db"] < 80
    assert [e["node"] for e in found][-2:] == ["pool", "flat"]


def test_nan_is_left_out(result: onnxq.Result) -> None:
    feeds = samples(3)
    spoilt = {"x": feeds[0]["x"].copy()}
    spoilt["x"][0, 0, 0, 0] = np.nan
    errors = full(result, [*feeds, spoilt])
    assert errors.samples == 4
    assert errors.tensors["r"].nonfinite > 0
    assert np.isfinite(errors.tensors["r"].sqnr_db)
    assert errors.isolated is not None and errors.isolated.totals.nonfinite
    assert alone(errors, "conv1").sqnr_db == pytest.approx(
        alone(full(result, feeds), "conv1").sqnr_db, abs=1e-3
    )


def test_without_twins_nothing_is_measured_alone(result: onnxq.Result) -> None:
    found = onnxq.quantize(network(), data=samples(), target="x86", recipe="fast").report
    assert all(e["isolated_sqnr_db"] is None for e in found["layers"])
    assert found["tensors"] == {} and found["arithmetic"] is None
    more = onnxq.quantize(
        network(), data=samples(), target="x86", recipe="fast", report_detail="full"
    ).report
    assert all(e["isolated_sqnr_db"] > 20 for e in more["layers"])
    assert more["arithmetic"] == "fake-quantized"


def test_a_model_without_layers() -> None:
    model = Model.load(network())
    errors = measure(model, model.clone(), {}, samples(2), matches={})
    assert errors.isolated is not None and errors.isolated.tensors() == {}
    (real,) = outputs(network(), samples(2)[0])
    assert errors.outputs["y"].count == 2 * real.size


def test_codes_are_clipped_in_the_twins_as_they_are_in_the_model() -> None:
    """Samples beyond the range that was calibrated: most of the noise is what is clipped."""
    feeds = samples(20)
    far = [{"x": 3 * feed["x"]} for feed in samples(6, seed=5)]
    made = onnxq.quantize(
        network(), data=feeds, target="x86-vnni", recipe="fast", activations="uint4",
        report_data=far, report_detail="layers",
    )  # fmt: skip
    first = next(e for e in made.report["layers"] if e["node"] == "conv1")
    assert first["kernel"] == "QLinearConv"
    # the first layer reads what the float model reads: alone and together are one
    assert first["isolated_sqnr_db"] == pytest.approx(first["cumulative_sqnr_db"], abs=0.05)
