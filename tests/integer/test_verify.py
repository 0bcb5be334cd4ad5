"""``onnxq verify``: what it counts, and what it refuses to pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.cli.failures import run as main
from onnxq.export.c import compiler
from onnxq.graph import Model
from onnxq.report.verify import verify
from onnxq.report.verify.terminal import lines
from tests.integer.c_project import needs_cc
from tests.integer.networks import build


def samples(proto: onnx.ModelProto, count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim[1:]]
    name = proto.graph.input[0].name
    return [{name: rng.normal(0, 4, (1, *shape)).astype(np.float32)} for _ in range(count)]


def test_nothing_differs_where_both_round_half_to_even() -> None:
    proto = build("residual", "nearest-even")
    found = verify(Model.load(proto), samples(proto, 40), c=False)
    holds = {"simulation": True, "c": None, "runtime": True}
    assert (found["frames"], found["c"], found["holds"]) == (40, None, holds)
    assert {layer["claim"] for layer in found["layers"]} == {"runtime"}
    for layer in found["layers"]:
        for key in ("runtime", "runtime_alone"):
            assert layer[key]["exact"] > 0 and not layer[key]["off_by_one"] + layer[key]["worse"]
        assert layer["first_difference"] is None


@pytest.mark.parametrize("rounding", ["half-up", "floor"])
def test_alone_only_rounding_differs_and_the_operands_say_so(rounding: str) -> None:
    proto = build("residual", rounding)
    found = verify(Model.load(proto), samples(proto, 9), c=False)
    assert found["holds"]["runtime"]
    first = next(x["first_difference"] for x in found["layers"] if x["first_difference"])
    assert first["accumulator"] / 2 ** first["shift"] == first["quotient"]
    down = int(np.floor(first["quotient"] + (0.5 if rounding == "half-up" else 0)))
    assert first["reference"] == max(down, 0) != first["runtime"]
    assert first["runtime"] == max(int(np.rint(first["quotient"])), 0)
    if rounding == "half-up":
        assert first["quotient"] % 1 == 0.5  # only ties
    assert any("first difference" in line for line in lines(found))
    assert found["holds"]["simulation"]
    assert {x["claim"] for x in found["layers"]} == {"runtime", "simulation"}
    for layer in found["layers"]:
        assert layer["simulation"]["exact"] == sum(layer["runtime"].values())
        assert (layer["claim"] == "runtime") == (not layer["first_difference"])
    assert found["simulation"]["equal"] == found["simulation"]["values"] == found["values"]
    assert any("only the simulation is" in line for line in lines(found))


@needs_cc
def test_the_c_is_compared_at_every_layer() -> None:
    proto = build("split_shuffle")
    found = verify(Model.load(proto), samples(proto, 5))
    assert found["holds"] == {"simulation": True, "c": True, "runtime": True}
    assert found["c"]["equal"] == found["c"]["values"] == found["values"]
    assert all(layer["c"]["exact"] == sum(layer["c"].values()) > 0 for layer in found["layers"])


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = build("residual")
    onnx.save(proto, tmp_path / "m.onnx")
    stack = np.concatenate([next(iter(s.values())) for s in samples(proto, 6)])
    np.save(tmp_path / "d.npy", stack)
    arguments = ["verify", str(tmp_path / "m.onnx"), "--data", str(tmp_path / "d.npy")]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "onnxq-verify/1" and found["frames"] == 6
    assert (found["c"] is None) == (compiler() is None)
    assert main([*arguments, "--no-c"]) == 0
    shown = capsys.readouterr().out
    assert "off by one" in shown and "6 frames" in shown


def test_a_wrong_reference_ends_with_code_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnxq.report.verify.agreement as module

    proto = build("gemm")
    onnx.save(proto, tmp_path / "m.onnx")
    np.save(tmp_path / "d.npy", next(iter(samples(proto, 1)[0].values())))
    real = module.execute
    monkeypatch.setattr(module, "execute", lambda *a: real(*a) // 2)
    code = main(["verify", str(tmp_path / "m.onnx"), "--data", str(tmp_path / "d.npy"), "--no-c"])
    assert code == 4 and "off by more than one" in capsys.readouterr().err
