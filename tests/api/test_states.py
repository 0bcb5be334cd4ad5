"""Quantizing models with states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.cli.failures import run
from tests.calibrate.test_states import STATES, STEP, W
from tests.passes.golden import parse
from tests.zoo import needs_zoo, zoo

RNG = np.random.default_rng(4)
XS = RNG.normal(size=(40, 48)).astype(np.float32)


@pytest.mark.parametrize("mode", ["static", "weights"])
def test_the_report_follows_the_states(mode: str) -> None:
    result = onnxq.quantize(
        parse(STEP, {"w": W}), data={"x": XS}, state=STATES, target="x86-vnni", mode=mode
    )
    found = result.report["states"]
    assert found["fed_back"] == STATES
    assert found["steps"] == 4  # the last tenth
    by_name = {o["name"]: o["sqnr_db"] for o in found["outputs"]}
    assert by_name.keys() == {"y", "new"}
    assert all(25 < db < 80 for db in by_name.values())
    assert any("on its own states, after 4 steps" in n for n in result.report["notes"])


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "step.onnx", tmp_path / "q.onnx"
    onnx.save(parse(STEP, {"w": W}), path)
    np.savez(tmp_path / "data.npz", x=XS)
    words = ["quantize", str(path), "-o", str(out), "--data", str(tmp_path / "data.npz"),
             "--state", "new:h", "--state", "count:n", "--quiet"]  # fmt: skip
    assert run(words) == 0
    assert out.exists()
    assert run([*words, "--state", "y:n"]) == 2
    assert "two outputs" in capsys.readouterr().err


@needs_zoo
def test_the_states_of_a_real_network() -> None:
    """Given the frames alone, states are those that the zoo measured with the float model."""
    states = {i: s["output"] for i, s in zoo().entry("gtcrn_simple").params["state"].items()}
    feeds = list(zoo().calibration("gtcrn_simple"))[:24]
    frames = [{k: v for k, v in f.items() if k not in states} for f in feeds]
    options = {"target": "x86", "recipe": "fast"}
    model = zoo().entry("gtcrn_simple").model
    given = onnxq.quantize(model, data=feeds, **options)
    fed = onnxq.quantize(model, data=frames, state=states, **options)
    assert fed.report["states"]["steps"] == fed.report["data"]["report_samples"]
    for name, tensor in given.report["tensors"].items():
        low, high = fed.report["tensors"][name]["range"]
        width = tensor["range"][1] - tensor["range"][0]
        assert low == pytest.approx(tensor["range"][0], abs=0.02 * width), name
        assert high == pytest.approx(tensor["range"][1], abs=0.02 * width), name
