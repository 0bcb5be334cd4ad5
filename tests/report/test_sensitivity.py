from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.api.finish import measured
from onnxq.pipeline.scaled import scaled_tensors
from onnxq.quant.measures import ErrorSums
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
    feeds = samples(4, seed=5)
    options = {"target": "x86", "report_detail": "basic", "report_data": feeds}
    return onnxq.quantize(network(), data=samples(), **options), feeds


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
    assert found["layers_measured"] > 0  # as many as the budget of seconds allows
    assert found["segments"] == 8
    (output,) = result.report["summary"]["outputs"]
    assert found["sqnr_db"] == pytest.approx(output["sqnr_db"], abs=1.0)
