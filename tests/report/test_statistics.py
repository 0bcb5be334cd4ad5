from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.api.finish import measured
from onnxq.report.reductions import Reducer
from onnxq.report.statistics import Totals, describe_tensor
from onnxq.runtime.session import Session
from tests.api.support import network, samples
from tests.passes.golden import parse


@pytest.fixture(scope="module")
def result() -> onnxq.Result:
    return onnxq.quantize(network(), data=samples(), target="x86")


def values(result: onnxq.Result, name: str, feeds: list[dict[str, Any]]) -> Any:
    proto = result.original.to_proto()
    proto.graph.output.append(onnx.ValueInfoProto(name=name))
    session = Session(proto)
    return np.stack([session.run(feed)[name] for feed in feeds]).astype(np.float64)


def test_tensors(result: onnxq.Result) -> None:
    held = samples()[-2:]
    entries = result.report["tensors"]
    assert {"x", "r", "c", "s", "t"} <= entries.keys()
    for name in ("r", "c", "s"):
        real, entry = values(result, name, held), entries[name]
        assert entry["float"]["min"] == pytest.approx(real.min(), rel=1e-5)
        assert entry["float"]["max"] == pytest.approx(real.max(), rel=1e-5)
        assert entry["float"]["mean"] == pytest.approx(real.mean(), rel=1e-4)
        assert entry["float"]["std"] == pytest.approx(real.std(), rel=1e-3)
        assert len(entry["histogram"]["edges"]) == 65
        assert sum(entry["histogram"]["counts"]) == entry["histogram"]["values"] == real.size
        qparams = result.ctx.qparams[name]
        assert entry["range"] == pytest.approx(list(qparams.real_range))
        assert (entry["dtype"], entry["zero_point"]) == ("uint8", int(qparams.zero_point))


def test_noise_of_an_input_is_its_rounding(result: onnxq.Result) -> None:
    held = samples()[-2:]
    x = np.stack([f["x"] for f in held])
    noise = (result.ctx.qparams["x"].fake(x) - x).astype(np.float64)
    entry = result.report["tensors"]["x"]
    z = (noise - noise.mean()) / noise.std()
    assert entry["noise"]["std"] == pytest.approx(noise.std(), rel=1e-3)
    assert entry["noise"]["mean"] == pytest.approx(noise.mean(), abs=1e-6)
    assert entry["noise"]["max"] == pytest.approx(noise.max(), rel=1e-4)
    assert entry["noise"]["skew"] == pytest.approx((z**3).mean(), abs=1e-3)
    assert entry["noise"]["kurtosis"] == pytest.approx((z**4).mean() - 3, abs=1e-3)
    means = noise.mean(axis=(0, 1, 3, 4))
    np.testing.assert_allclose(entry["channel_noise_mean"], means, atol=1e-6)
    left = np.square(noise).mean() - np.square(means).mean()
    gain = 10 * np.log10(np.square(noise).mean() / left)
    assert entry["bias_potential_db"] == pytest.approx(gain, abs=0.01)


def test_clipping_is_counted(result: onnxq.Result) -> None:
    feeds = [{"x": 3 * f["x"]} for f in samples(4, seed=9)]
    errors = measured(result.original, result.model, result.ctx, feeds, (), full=True)
    assert errors.isolated is not None
    for name in ("x", "r", "c", "s"):
        qparams = result.ctx.qparams[name]
        real = np.stack([f["x"] for f in feeds]) if name == "x" else values(result, name, feeds)
        low, high = qparams.real_range
        half = float(qparams.scale) / 2
        expected = {"low": (real < low - half).mean(), "high": (real > high + half).mean()}
        assert errors.isolated.clipped(name) == pytest.approx(expected, abs=1e-6)
        assert expected["high"] > 0.01
    assert errors.isolated.clipped("r")["low"] == 0.0  # type: ignore[index]


def test_reductions_of_every_rank() -> None:
    model = parse("""m (float[N,2,3] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }""")
    for vary in (False, True):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        reducer = Reducer(copy, {"x": (4, 2, 3), "y": ()}, vary=vary)
        for tensor in ("x", "y"):
            reducer.section()
            reducer.scalar(("max", tensor), "ReduceMax", tensor)
            reducer.size(("size", tensor), tensor)
        reducer.channels(("sum", "x"), "x", 1)
        reducer.spread(("some", "x"), "x", 5)
        output = reducer.finish()
        assert output is not None
        session = Session(copy)
        for count in (4, 7) if vary else (4,):
            x = np.random.default_rng(0).normal(size=(count, 2, 3)).astype(np.float32)
            found = reducer.read(session.run({"x": x})[output])
            assert found["max", "x"] == x.max() and found["size", "x"] == x.size
            assert found["max", "y"] == pytest.approx(x.sum(), rel=1e-5)
            assert found["size", "y"] == 1
            np.testing.assert_allclose(found["sum", "x"], x.sum(axis=(0, 2)), rtol=1e-5)
            np.testing.assert_array_equal(found["some", "x"], x.reshape(-1)[::5])


def test_values_are_kept_in_bounded_number() -> None:
    totals = Totals()
    for _ in range(100):
        totals.add({("values", "t"): np.ones(1000), ("size", "t"): 1000.0})
    assert totals.values(("values", "t")).size == 1 << 16
    assert totals.get("size", "t") == 100_000
    entry = describe_tensor(totals, "t", None)
    assert entry["noise"] is None and entry["range"] is None
