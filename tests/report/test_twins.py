from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest

import onnxq
from onnxq.api.finish import own_matches
from onnxq.errors import OptionError
from onnxq.report import isolated as module
from onnxq.report.groups import find_groups
from onnxq.report.isolated import Isolated
from onnxq.report.reductions import PREFIX
from onnxq.runtime.session import Session
from tests.api.support import network, samples
from tests.passes.golden import parse
from tests.report.loop import loop


@pytest.fixture(scope="module")
def result() -> onnxq.Result:
    return onnxq.quantize(network(), data=samples(), target="x86")


def twins(
    result: onnxq.Result, arithmetic: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Isolated, Counter[str]]:
    """Errors on some samples, and the operators of the graph that ONNX Runtime really ran."""
    path = folder / "run.onnx"

    def session(*args: Any, **options: Any) -> Session:
        return Session(*args, **{**options, "optimized_path": path})

    monkeypatch.setattr(module, "Session", session)
    feeds = samples(4, seed=5)
    found = Isolated(
        result.original.to_proto(), result.model.to_proto(),
        own_matches(result.original, result.model), feeds[0], arithmetic=arithmetic,
        through={"t": ("tanh", 1.0)},
    )  # fmt: skip
    for feed in feeds:
        found.take(found.run(feed, {})[0])
    return found, Counter(n.op_type for n in onnx.load(path).graph.node)


def test_arithmetic(result: onnxq.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, plain = twins(result, "fake-quantized", tmp_path, monkeypatch)
    assert not [op for op in plain if op.startswith(("QLinear", "QGemm"))]
    kernel, fused = twins(result, "kernel", tmp_path, monkeypatch)
    assert fused["QLinearConv"] == 3 and fused["QLinearAdd"] == 1
    expected = loop(result, samples(4, seed=5), qdq=True)
    for group in fake.groups:
        one, two = fake.layer(group.node), kernel.layer(group.node)
        assert one is not None and two is not None
        assert two.sqnr_db == pytest.approx(expected[group.node].sqnr_db, abs=0.01)
        assert one.sqnr_db == pytest.approx(two.sqnr_db, abs=0.1)  # these values saturate nowhere
        assert fake.share(group.node) is not None and kernel.share(group.node) is None


def test_an_unknown_arithmetic(result: onnxq.Result) -> None:
    proto = result.original.to_proto()
    with pytest.raises(OptionError, match="no arithmetic 'float'"):
        Isolated(proto, proto, {}, samples(1)[0], arithmetic="float")  # type: ignore[arg-type]


def test_only_one_vector_leaves_the_run(result: onnxq.Result) -> None:
    feed = samples(1)[0]
    found = Isolated(
        result.original.to_proto(), result.model.to_proto(),
        own_matches(result.original, result.model), feed,
    )  # fmt: skip
    (part,) = found._plain
    outputs = [o.name for o in part.session.outputs]
    assert [o for o in outputs if o.startswith(PREFIX)] == [part.output]
    assert len(outputs) == 2  # and the network's own


def groups(text: str, matches: dict[str, str]) -> list[Any]:
    return find_groups(parse(text), matches)


def test_a_group_ends_where_it_is_known_to() -> None:
    text = QDQ.replace("float[4] b>", "float[4] b, int64[2] shape = {1, 4}>")
    matches = {"x": "X", "m": "M", "a": "A", "r": "R", "n": "N"}
    first, _ = find_groups(parse(text), matches, {"mm": "A"})
    assert (first.output, first.result, first.grid) == ("a", "A", None)
    assert [n.name for n in first.nodes] == ["mm", "add"]


QDQ = """m (float[1,4] x) => (float[1,4] y)
    <float s = {0.1}, uint8 z = {3}, int8[4,4] w, float ws = {0.01}, int8 wz = {0}, float[4] b>
    { xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
      wd = DequantizeLinear (w, ws, wz)  wt = Transpose <perm = [1,0]> (wd)
      [mm] m = MatMul (xd, wt)  [add] a = Add (m, b)  [relu] r = Relu (a)
      rq = QuantizeLinear (r, s, z)  rd = DequantizeLinear (rq, s, z)
      [flat] f = Reshape (rd, shape)  [mm2] n = MatMul (f, wt)  [tanh] y = Tanh (n) }"""


def test_groups() -> None:
    text = QDQ.replace("float[4] b>", "float[4] b, int64[2] shape = {1, 4}>")
    first, second = groups(text, {"x": "X", "r": "R", "f": "F", "n": "N", "y": "Y"})
    assert (first.node, first.result, first.output) == ("mm", "R", "r")
    assert [n.name for n in first.nodes] == ["mm", "add", "relu"]
    assert sorted(first.constants) == ["b", "wt"] and first.rounded
    assert [(s.name, s.tensor) for s in first.sources] == [("xd", "X")]
    assert first.grid.scale == "s" and first.grid.zero_point == "z"
    # moved codes are followed to where they were rounded
    assert [(s.name, s.tensor) for s in second.sources] == [("rd", "R")]
    assert second.grid is None and second.result == "N"


def test_a_group_whose_values_are_unknown_is_none() -> None:
    text = QDQ.replace("float[4] b>", "float[4] b, int64[2] shape = {1, 4}>")
    assert [g.node for g in groups(text, {"r": "R", "n": "N"})] == ["mm2"]
    assert groups(text, {}) == []
