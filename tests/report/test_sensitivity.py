from __future__ import annotations

from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.api.finish import measured
from onnxq.errors import OptionError, UnsupportedModelError
from onnxq.pipeline.scaled import scaled_tensors
from onnxq.quant.measures import ErrorSums
from onnxq.report.advise import Effort, advise
from onnxq.report.isolated import Isolated
from onnxq.report.outcome import Outcome
from onnxq.report.segments import Segments
from onnxq.report.sensitivity import Sensitivity
from onnxq.report.spread import Spread, enough
from onnxq.report.switches import switchable
from onnxq.runtime.session import Session
from tests.api.support import network, samples
from tests.passes.golden import parse
from tests.report.foreign import MODELS
from tests.report.foreign import samples as images
from tests.zoo import model, needs_zoo, zoo

GATED = """gated (float[1,4,6,6] x) => (float[1,4,6,6] y, float[1,4,6,6] z)
    <float[8,4,1,1] w1, float[8] b1, float[8,8,3,3] w2, float[4,8,1,1] w3>
    { [conv1] a = Conv (x, w1, b1)  [gate] s = Sigmoid (a)  [mul] r = Mul (a, s)
      [conv2] c = Conv <pads = [1,1,1,1]> (r, w2)  [relu] d = Relu (c)
      [pool] p = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (d)
      [conv3] y = Conv (p, w3)  [last] z = Tanh (y) }"""


def isolated(result: onnxq.Result, feeds: Any) -> Isolated:
    found = measured(result.original, result.model, result.ctx, feeds, (), full=True).isolated
    assert found is not None
    return found


def built(result: onnxq.Result, feeds: Any, **options: Any) -> Sensitivity:
    found = isolated(result, feeds)
    groups = [g for g in found.groups if g.node in result.ctx.plan.nodes]
    return Sensitivity(found.original, groups, found.values, feeds, {}, **options)


def gated() -> tuple[onnxq.Result, list[dict[str, np.ndarray]]]:
    proto = parse(GATED)
    rng = np.random.default_rng(3)
    feeds = [{"x": rng.normal(size=(1, 4, 6, 6)).astype(np.float32)} for _ in range(12)]
    return onnxq.quantize(proto, data=feeds, target="x86", report_detail="basic"), feeds[:4]


def equalized() -> tuple[onnxq.Result, list[dict[str, np.ndarray]]]:
    """Channels of very different range in front of a SiLU, whose gate gets a factor."""
    proto = parse(GATED)
    for i, tensor in enumerate(proto.graph.initializer):
        values = onnx.numpy_helper.to_array(tensor).copy()
        if tensor.name in ("w1", "b1"):
            values *= np.logspace(-1.5, 0.5, 8).reshape(-1, *[1] * (values.ndim - 1))
            proto.graph.initializer[i].CopyFrom(
                onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name)
            )
    rng = np.random.default_rng(3)
    feeds = [{"x": rng.normal(size=(1, 4, 6, 6)).astype(np.float32)} for _ in range(12)]
    result = onnxq.quantize(proto, data=feeds, target="x86", report_detail="full")
    assert scaled_tensors(result.model), "the pass equalize-silu did something"
    assert all(
        e["effect"] or e["isolated_sqnr_db"] in (None, 999.0) for e in result.report["layers"]
    )
    return result, feeds[:4]


def digits(name: str, **options: Any) -> onnxq.Result:
    return onnxq.quantize(
        MODELS / f"{name}.onnx", data=MODELS / "digits_calibration.npz", target="x86", **options
    )


def plain() -> tuple[onnxq.Result, list[dict[str, np.ndarray]]]:
    options = {"target": "x86", "report_detail": "basic"}
    return onnxq.quantize(network(), data=samples(), **options), samples(4, seed=5)


def resnet() -> tuple[onnxq.Result, list[dict[str, np.ndarray]]]:
    return digits("digits_resnet", recipe="fast"), images("digits_resnet", 4)


@pytest.mark.parametrize("make", [plain, gated, equalized, resnet])
def test_all_off_is_the_float_network_and_all_on_the_quantized_one(make: Any) -> None:
    result, feeds = make()
    found = isolated(result, feeds)
    graph = switchable(found.original, found.groups, found.values)
    assert not graph.fixed
    session = Session(graph.model, threads=1, qdq=False)
    for on, reference in ((False, result.original), (True, result.model)):
        switches = np.full(len(graph.groups), on)
        expected = Session(reference, threads=1, qdq=False)
        for feed in feeds:
            got = session.run({**feed, "onnxq_m__switches": switches})
            for name, value in expected.run(feed).items():
                np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [plain, gated])
def test_one_on_and_one_off_agree_with_models_made_for_it(make: Any) -> None:
    result, feeds = make()
    sensitivity = built(result, feeds)
    for node in sensitivity.index:
        for on, keep in ((sensitivity.only(node), {node}), (sensitivity.without((node,)), None)):
            kept = keep or {*sensitivity.index} - {node}
            (outcome,) = sensitivity.outcomes([on])
            expected = by_hand(result, feeds, kept)
            for name, sums in expected.items():
                assert outcome.sums[name].noise == pytest.approx(sums.noise, rel=1e-3, abs=1e-9)
                assert outcome.sums[name].signal == pytest.approx(sums.signal, rel=1e-5)


def by_hand(result: onnxq.Result, feeds: Any, kept: set[str]) -> dict[str, ErrorSums]:
    """Errors of the outputs with the layers *kept* quantized, run node by node."""
    original = onnx.ModelProto()
    original.CopyFrom(result.original.to_proto())
    qparams, integers = result.ctx.qparams, result.ctx.integers
    plan = result.ctx.plan.nodes
    real = Session(original, threads=1)
    found: dict[str, ErrorSums] = {}
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in original.graph.initializer}
    for feed in feeds:
        expected = real.run(feed)
        values: dict[str, Any] = {**constants, **feed}
        ends: dict[str, str] = {}
        for node in original.graph.node:
            planned = plan.get(node.name) if node.name in kept else None
            inputs = {}
            for i, name in enumerate(node.input):
                value = values[name]
                if planned is not None and name in integers:
                    value = qparams[name].dequantize(np.asarray(integers[name]))
                elif planned is not None and i in planned.inputs and name in qparams:
                    value = qparams[name].fake(value)
                inputs[name] = value.astype(np.float32)
            values.update(one(original, node, inputs))
            last = node.name
            if planned is not None and planned.absorbs:
                ends[planned.absorbs[-1]] = node.name
            elif planned is not None and planned.outputs:
                ends[last] = node.name
            if last in ends and node.output[0] in qparams:
                values[node.output[0]] = qparams[node.output[0]].fake(values[node.output[0]])
        for name, value in expected.items():
            found.setdefault(name, ErrorSums()).add(value, values[name])
    return found


def one(model: onnx.ModelProto, node: onnx.NodeProto, inputs: dict[str, Any]) -> dict[str, Any]:
    """*node* alone on *inputs*."""
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node], "one",
        [onnx.helper.make_tensor_value_info(n, kind, v.shape) for n, v in inputs.items()],
        [onnx.ValueInfoProto(name=n) for n in node.output],
    )  # fmt: skip
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    part.ir_version = model.ir_version
    return Session(part, threads=1).run(inputs)


def test_a_cut_graph_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    result, feeds = resnet()
    whole = built(result, feeds)
    monkeypatch.setattr("onnxq.report.sensitivity._SMALL", 0)
    cut = built(result, feeds)
    assert len(whole.segments.segments) == 1
    assert len(cut.segments.segments) == 8
    settings = [f(n) for n in whole.index for f in (whole.only, lambda n: whole.without([n]))]
    for one, two in zip(whole.outcomes(settings), cut.outcomes(settings), strict=True):
        assert one.sqnr_db == pytest.approx(two.sqnr_db, abs=0.05)


def test_a_run_starts_where_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.report.sensitivity._SMALL", 0)
    result, feeds = resnet()
    sensitivity = built(result, feeds)
    runs: list[None] = []
    step = Segments._step

    def counted(*args: Any) -> Any:
        runs.append(None)
        return step(*args)

    monkeypatch.setattr(Segments, "_step", counted)
    last = sensitivity.groups[-1].node
    list(sensitivity.outcomes([sensitivity.only(last)]))
    assert len(runs) == len(feeds)
    list(sensitivity.outcomes([sensitivity.on]))
    assert len(runs) == len(feeds)
    # the first layer is the first segment's only one: it starts behind it, with all on
    assert np.bincount(sensitivity.segments.segment_of)[0] == 1
    list(sensitivity.outcomes([sensitivity.only(sensitivity.groups[0].node)]))
    assert len(runs) == len(feeds) * 8


def report_on(effort: Effort, **options: Any) -> dict[str, Any]:
    result, feeds = plain()
    kept = Spread()
    errors = measured(result.original, result.model, result.ctx, kept.watch(feeds), (), full=True)
    assert errors.isolated is not None
    report = dict(result.report)
    for entry in report["layers"]:
        sums = errors.isolated.layer(entry["node"])
        entry["isolated_noise_to_signal"] = sums.noise_to_signal if sums else None
    advise(report, errors.isolated, kept, effort=effort, **options)
    return report


def ticking() -> Iterator[float]:
    return (float(i) for i in count())


def test_the_budget_is_kept_and_reported() -> None:
    whole = report_on(Effort(budget_s=1e9))
    assert whole["sensitivity"]["layers_measured"] == whole["sensitivity"]["layers"] == 4
    assert not whole["sensitivity"]["approximated"]
    assert all(e["effect"] for e in whole["layers"])
    assert not any("budget" in note for note in whole["notes"])
    ticks = ticking()
    part = report_on(Effort(budget_s=3.0, clock=lambda: next(ticks)))
    assert part["sensitivity"]["layers_measured"] == 1
    assert part["sensitivity"]["approximated"]
    assert part["sensitivity"]["budget_s"] == 3.0
    assert any("1 of 4 layers" in note and "3 s" in note for note in part["notes"])
    measured_ = [e for e in part["layers"] if e["effect"]]
    assert measured_ == part["layers"][:1], "the worst comes first"
    assert measured_[0]["effect"] == whole["layers"][0]["effect"]
    none = report_on(Effort(budget_s=0.0))
    assert none["sensitivity"]["layers_measured"] == 0
    assert none["recommendation"] == []


def test_of_many_layers_blocks_say_which_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.report.advise.MANY", 2)
    whole = report_on(Effort(budget_s=1e9))
    assert whole["sensitivity"]["method"].endswith("ordered by blocks of layers")
    assert all(e["effect"] and "estimated" not in e["effect"] for e in whole["layers"])
    alone = {e["node"]: e["effect"]["alone_sqnr_db"] for e in whole["layers"]}
    ticks = ticking()
    part = report_on(Effort(budget_s=12.0, clock=lambda: next(ticks)))
    marked = {e["node"]: e["effect"] for e in part["layers"] if e["effect"].get("estimated")}
    assert 1 <= len(marked) <= 3
    assert part["sensitivity"]["layers_measured"] == 4 - len(marked)
    for node, effect in marked.items():  # a block is one layer here
        assert effect["alone_sqnr_db"] == pytest.approx(alone[node], abs=0.01)
        assert effect["recovered_db"] is None
    measured_ = [n for n in alone if n not in marked]
    assert max(alone[n] for n in measured_) <= min(alone[n] for n in marked)


def test_the_same_twice() -> None:
    assert report_on(Effort(1e9)) == report_on(Effort(1e9))


def test_a_metric_of_the_user() -> None:
    def largest(real: Any, other: Any) -> float:
        return float(np.abs(other["y"] - real["y"]).max())

    report = report_on(Effort(1e9, largest))
    found = report["sensitivity"]["metric"]
    assert found["name"] == "largest"
    assert found["float"] == 0
    assert found["quantized"] > 0
    result, feeds = plain()
    sessions = [Session(m, threads=1, qdq=False) for m in (result.original, result.model)]
    expected = np.mean([largest(*(s.run(f) for s in sessions)) for f in feeds])
    assert found["quantized"] == pytest.approx(expected, rel=1e-3)
    for entry in report["layers"]:
        assert entry["effect"]["alone_metric"] > 0
        assert entry["effect"]["without_metric"] > 0


def test_a_layer_with_more_than_its_share_of_layers_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnxq.report.advise.LAYERS", 3)
    report = report_on(Effort())
    assert report["sensitivity"] is None
    assert any("4 layers are more than 3" in note for note in report["notes"])


def test_spread_keeps_samples_from_everywhere() -> None:
    kept = Spread(4)
    feeds = [{"x": np.array([i])} for i in range(100)]
    assert list(kept.watch(feeds)) == feeds
    found = [int(f["x"][0]) for f in kept.take(4)]
    assert found[0] == 0
    assert all(15 <= b - a <= 35 for a, b in pairwise(found))
    assert len(kept.kept) <= 9
    few = Spread(4)
    assert len(list(few.watch(feeds[:2]))) == len(few.take(4)) == 2


def test_cheap_networks_get_more_samples() -> None:
    assert enough(10, 1e6, 32) == 32
    assert enough(100, 1e11, 32) == 4
    assert 4 < enough(60, 3e8, 32) < 10
    assert enough(100, 1e11, 2) == 2


def test_outputs_count_alike() -> None:
    outcome = Outcome({"a": ErrorSums(signal=1.0, noise=0.1), "b": ErrorSums(1e6, 1e6 * 0.3)})
    assert outcome.noise == pytest.approx(0.2)
    assert outcome.sqnr_db == pytest.approx(6.99, abs=0.01)


@needs_zoo
def test_mobilenet() -> None:
    feeds = list(zoo().calibration("mobilenetv2"))[:8]
    result = onnxq.quantize(
        model("mobilenetv2"), data=feeds, target="x86", recipe="fast", report_detail="full"
    )
    found = result.report["sensitivity"]
    assert found["layers_measured"] > 20
    assert found["segments"] == 8
    (output,) = result.report["summary"]["outputs"]
    assert found["sqnr_db"] == pytest.approx(output["sqnr_db"], abs=1.0)


def test_a_metric_that_fails_is_the_users_error() -> None:
    def broken(real: Any, other: Any) -> float:
        return float(real["nothing"])

    with pytest.raises(OptionError, match="metric failed") as caught:
        report_on(Effort(1e9, broken))
    assert "KeyError" in str(caught.value.why)


def test_what_cannot_run_leaves_the_rest_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise UnsupportedModelError("no", why="it is refused")

    monkeypatch.setattr("onnxq.report.advise.Sensitivity", refuse)
    report = report_on(Effort())
    assert report["sensitivity"] is None
    assert report["layers"]
    assert any("it is refused" in note for note in report["notes"])
