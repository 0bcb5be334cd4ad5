"""Costs of kernels measured on this machine: fitted, kept, and used in place of a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.api import costs as costs_module
from onnxq.api.costs import cache, costs_from, kernels
from onnxq.api.costs.fit import Observation, fit
from onnxq.errors import OptionError, UnknownNameError
from onnxq.pipeline.latency import Work
from onnxq.targets import Target, get_target
from onnxq.targets.costs import Cost, Costs
from onnxq.targets.onnxruntime_costs import VNNI
from tests.passes.golden import parse

TARGET = get_target("auto")
TEXT = """g (float[1,8,32,32] x) => (float[1,8,32,32] y) <float[8,8,3,3] w, float[8,8,1,1] v> {
    [first] a = Conv <pads = [1,1,1,1]> (x, w)  [last] y = Conv (a, v) }"""
SLOW = Costs(floating={"Conv": Cost(mac=9)}, integer={"Conv": Cost(mac=99)})
"""On integers, convolutions are said to take eleven times as long."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_costs_are_found_again_in_the_times_that_they_make() -> None:
    rng = np.random.default_rng(0)
    true = {"Conv": Cost(3000, 0.2, 0.02), "Add": Cost(3000, 0.1), "Gemm": Cost(3000, 0, 0.3)}
    observations = []
    for kinds in [("Conv",), ("Add",), ("Gemm",), ("Conv", "Add")] * 8:
        works = tuple(
            Work(k, int(rng.integers(1e3, 1e5)), int(rng.integers(1e5, 1e7)) * (k != "Add"))
            for k in kinds
        )
        fused = sum(true[w.kind].seconds(w.elements, w.macs) for w in works)
        observations.append(Observation(works, fused - 3e-6 * (len(works) - 1)))
    for kind, cost in fit(observations).items():
        wanted = true[kind]
        assert cost.mac == pytest.approx(wanted.mac, rel=1e-6)
        assert cost.node == pytest.approx(3000, rel=1e-6)
        if kind != "Gemm":
            assert cost.element == pytest.approx(wanted.element, rel=1e-6)


def test_no_cost_is_negative() -> None:
    works = [Work("Add", n, 0) for n in (1000, 2000, 4000)]
    falling = [Observation((w,), 1e-5 / (i + 1)) for i, w in enumerate(works)]
    (cost,) = fit(falling).values()
    assert cost.element == 0 and cost.node > 0


def test_a_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "SIZES", ((8, 16), (16, 16), (24, 8)))
    monkeypatch.setattr(kernels, "RUNS", 8)
    told: list[tuple[int, int | None]] = []

    class Told:
        def stage(self, name: str) -> None:
            assert "once on this machine" in name

        def advance(self, done: int, total: int | None) -> None:
            told.append((done, total))

    found = Costs.parse(costs_from("measured", TARGET, Told()))
    assert told == [(1, 3), (2, 3), (3, 3)]
    for table, listed in ((found.floating, VNNI.floating), (found.integer, VNNI.integer)):
        assert listed.keys() <= table.keys()
        assert table["Conv"].mac > 0 or table["Conv"].element > 0
    for cost in (found.quantize, found.dequantize, found.layout):
        assert cost.seconds(100_000) > 0

    def never(*_: object) -> Costs:
        raise AssertionError("measured again")

    monkeypatch.setattr(costs_module, "measure", never)
    assert Costs.parse(costs_from("measured", TARGET)) == found


def test_threads_have_costs_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measure(target: Target, progress: object, threads: int) -> Costs:
        asked.append(threads)
        return Costs(floating={"Conv": Cost(mac=threads)})

    monkeypatch.setattr(costs_module, "measure", measure)
    found = [costs_from("measured", TARGET, threads=n) for n in (None, 2, 1, 2)]
    assert asked == [1, 2]
    assert [Costs.parse(f).floating["Conv"].mac for f in found] == [1, 2, 1, 2]


def test_profiles_run_on_as_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def durations(*_: object, threads: int, **__: object) -> dict[object, object]:
        asked.append(threads)
        raise KeyboardInterrupt

    monkeypatch.setattr(kernels, "durations", durations)
    with pytest.raises(KeyboardInterrupt):
        kernels.measure(TARGET, threads=3)
    assert asked == [3]


@pytest.mark.parametrize("timed", [False, True])
def test_threads_of_a_benchmark(timed: bool) -> None:
    proto = parse(TEXT)
    data = [{"x": np.random.default_rng(0).standard_normal((1, 8, 32, 32), np.float32)}] * 4
    if timed:
        result = onnxq.quantize(proto, data=data, recipe="fast", bench=True, threads=1)
        assert result.report["bench"]["threads"] == 1
        return
    with pytest.raises(OptionError, match="--threads 2 has no effect"):
        onnxq.quantize(proto, data=data, threads=2)
    with pytest.raises(OptionError, match="one at least"):
        onnxq.tune(proto, data=data, threads=0, min_speedup=1.0)
    with pytest.raises(OptionError, match="--threads 2 has no effect"):
        onnxq.tune(proto, data=data, threads=2, max_drop=1.0)


def test_what_is_kept_is_of_this_machine(folder: Path) -> None:
    assert cache.load(TARGET) is None
    assert cache.save(TARGET, SLOW)
    assert str(cache.load(TARGET)) == str(SLOW)
    (key,) = json.loads(cache.path().read_text())
    assert cache.machine() in key and "onnxruntime 1." in key
    cache.path().write_text("{not json")
    assert cache.load(TARGET) is None
    cache.path().write_text(json.dumps({key: "nonsense"}))
    assert cache.load(TARGET) is None
    assert cache.save(TARGET, VNNI) and str(cache.load(TARGET)) == str(VNNI)


def test_a_cache_that_cannot_be_written_is_no_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    assert not cache.save(TARGET, SLOW)


def test_quantize_uses_what_was_measured_and_says_so() -> None:
    assert cache.save(TARGET, SLOW)
    proto = parse(TEXT)
    assert isinstance(proto, onnx.ModelProto)
    data = [{"x": np.random.default_rng(0).standard_normal((1, 8, 32, 32), np.float32)}] * 4
    given = {"data": data, "recipe": "fast"}
    table = onnxq.quantize(proto, **given)
    measured = onnxq.quantize(proto, costs="measured", **given)
    assert [e["node"] for e in table.report["layers"]]
    assert measured.report["layers"] == []
    reasons = {e["node"]: e["reason"] for e in measured.report["kept_float"]}
    assert "slower on integers" in reasons["first"]
    assert any("the table of target" in n for n in table.report["notes"])
    assert any("measured on one machine" in n for n in measured.report["notes"])
    # the recipe states them: it makes the same file on another machine
    assert f"costs={SLOW}" in str(measured.report["passes"]).replace('"', "")


def test_what_cannot_be_measured_here() -> None:
    with pytest.raises(OptionError, match="cannot be measured on this machine"):
        costs_from("measured", get_target("openvino"))
    other = "x86" if TARGET.name == "arm" else "arm"
    with pytest.raises(OptionError, match=f"'{other}' cannot be measured"):
        costs_from("measured", get_target(other))
    with pytest.raises(UnknownNameError):
        costs_from("guessed", TARGET)
