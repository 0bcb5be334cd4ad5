from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.cli.failures import run
from onnxq.testing import random_feeds
from tests.contract.models import build


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model and data to work on: residual.onnx, samples.npz."""
    proto = build("residual")
    onnx.save(proto, tmp_path / "residual.onnx")
    feeds = random_feeds(proto, 20)
    np.savez(tmp_path / "samples.npz", x=np.concatenate([f["x"] for f in feeds]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


BASE = ["quantize", "residual.onnx", "-o", "out.onnx", "--data", "samples.npz", "--recipe", "fast"]


def err(capsys) -> str:
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_it_writes_model_and_report_and_shows_both(folder, capsys) -> None:
    assert run([*BASE, "--report", "r.json"]) == 0
    shown = capsys.readouterr()
    assert "dB SQNR" in shown.out
    assert "conv1" in shown.out
    assert "out.onnx" in shown.out
    report = json.loads((folder / "r.json").read_text("utf-8"))
    assert report["schema"] == "onnxq-report/1"
    ops = [n.op_type for n in onnx.load(folder / "out.onnx").graph.node]
    assert "QuantizeLinear" in ops
    assert (
        run(["report", "residual.onnx", "out.onnx", "--data", "samples.npz", "-o", "c.json"]) == 0
    )
    assert "dB SQNR" in capsys.readouterr().out
    assert json.loads((folder / "c.json").read_text("utf-8"))["layers"]


def test_json_is_all_of_standard_output(folder, capsys) -> None:
    assert run([*BASE, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["summary"]["outputs"][0]["sqnr_db"] > 15
    assert captured.err == ""
    assert run([*BASE, "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_two_runs_write_the_same_bytes(folder) -> None:
    assert run([*BASE, "--quiet"]) == 0
    first = (folder / "out.onnx").read_bytes()
    assert run([*BASE, "--quiet"]) == 0
    assert (folder / "out.onnx").read_bytes() == first


def test_options_reach_their_place(folder, capsys) -> None:
    options = ["--exclude", "conv2", "--target", "x86-vnni", "--format", "qdq-float", "--json"]
    assert run([*BASE, *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["target"] == "x86-vnni"
    kept = {e["node"]: e["reason"] for e in report["kept_float"]}
    assert "conv2" in kept["conv2"]
    stored = onnx.load(folder / "out.onnx").graph.initializer
    assert {t.data_type for t in stored if len(t.dims) == 4} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        (["--exclude", "con9"], 2, "conv1"),
        (["--min-sqnr", "90"], 4, "90"),
        (["--require-coverage", "90", "--exclude", "conv2"], 4, "excluded by 'conv2'"),
        (["--calibration", "minmx"], 2, "minmax"),
        (["--weights", "int99"], 2, "int"),
        (["--granularity", "row"], 2, "channel"),
        (["--providers", "CUDDA"], 2, "CPUExecutionProvider"),
        (["--io-dtype", "int4"], 2, "int8"),
        (["--data", "nothing.npz"], 2, "nothing.npz"),
        (["--data", "residual.onnx"], 2, "unknown kind of data"),
        (["--exclude-from", "nothing.json"], 2, "nothing.json"),
        (["--overrides", "nothing.toml"], 2, "nothing.toml"),
    ],
)
def test_wrong_options_leave_nothing_behind(folder, capsys, options, code, part) -> None:
    before = sorted(p.name for p in Path().iterdir())
    assert run([*BASE, *options]) == code
    assert part in err(capsys)
    assert sorted(p.name for p in Path().iterdir()) == before


def test_what_does_not_fuse_can_be_kept(folder, capsys) -> None:
    asked = [*BASE, "--activations", "int8", "--target", "x86", "--json"]
    assert run(asked) == 0
    found = json.loads(capsys.readouterr().out)
    back = [e["reason"] for e in found["kept_float"] if "did not fuse" in e["reason"]]
    assert any("int8" in reason for reason in back)
    assert run([*asked, "--keep-unfused"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert not any("did not fuse" in e["reason"] for e in kept["kept_float"])
    assert kept["summary"]["coverage"]["unfused"] > 0
    assert len(kept["layers"]) > len(found["layers"])
    assert any("slower than float" in w for w in kept["warnings"])


def test_bad_models_and_samples(folder, capsys) -> None:
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "text.onnx").write_text("hello", "utf-8")
    whole = (folder / "residual.onnx").read_bytes()
    (folder / "half.onnx").write_bytes(whole[: len(whole) // 2])
    x = np.load(folder / "samples.npz")["x"]
    x[3, 0, 0, 0] = np.nan
    np.savez(folder / "nan.npz", x=x)
    np.savez(folder / "name.npz", image=x)
    np.save(folder / "pickle.npy", np.array([{}], object), allow_pickle=True)
    files = sorted(p.name for p in Path().iterdir())
    for model, data, part in (
        ("none.onnx", "samples.npz", "none.onnx"),
        ("empty.onnx", "samples.npz", "empty"),
        ("text.onnx", "samples.npz", "not an ONNX model"),
        ("half.onnx", "samples.npz", "half.onnx"),
        ("residual.onnx", "nan.npz", "NaN"),
        ("residual.onnx", "name.npz", "'x'"),
        ("residual.onnx", "pickle.npy", "pickle"),
    ):
        code = run(["quantize", model, "-o", "out.onnx", "--data", data, "--recipe", "fast"])
        message = err(capsys)
        assert code == 2, message
        assert part in message
        assert sorted(p.name for p in Path().iterdir()) == files


def test_already_quantized(folder, capsys) -> None:
    assert run([*BASE, "--quiet"]) == 0
    again = ["quantize", "out.onnx", "-o", "twice.onnx", "--data", "samples.npz"]
    assert run(again) == 3
    assert "quantized" in err(capsys)
    assert not Path("twice.onnx").exists()


def test_without_data(folder, capsys) -> None:
    bare = ["quantize", "residual.onnx", "-o", "out.onnx", "--recipe", "fast"]
    assert run(bare) == 2
    assert "--random-data" in err(capsys)
    assert run([*bare, "--random-data", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert any("not calibrated" in w for w in report["warnings"])


def test_nothing_to_quantize(folder, capsys) -> None:
    text = '<ir_version: 8, opset_import: ["" : 13]> g (float[1, 4] x) => (float[1, 4] y)'
    onnx.save(onnx.parser.parse_model(text + "{ [neg] y = Neg(x) }"), "neg.onnx")
    np.savez("four.npz", x=np.ones((12, 4), np.float32))
    bare = ["quantize", "neg.onnx", "-o", "out.onnx", "--data", "four.npz", "--recipe", "fast"]
    assert run([*bare, "--require-quantized"]) == 5
    assert not Path("out.onnx").exists()
    capsys.readouterr()
    assert run(bare) == 0
    assert "nothing was quantized" in " ".join(capsys.readouterr().out.split())
    assert [n.op_type for n in onnx.load("out.onnx").graph.node] == ["Neg"]


def test_a_report_with_a_metric_of_the_user(folder, capsys) -> None:
    assert run([*BASE, "--quiet"]) == 0
    (folder / "mine.py").write_text(
        "def worst(real, other):\n    return max(abs(real[n] - other[n]).max() for n in real)\n"
    )
    base = ["report", "residual.onnx", "out.onnx", "--data", "samples.npz", "--json"]
    assert run([*base, "--metric", "mine:worst"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = report["sensitivity"]
    assert found["metric"]["name"] == "worst"
    assert found["metric"]["float"] == 0
    assert 0 < found["metric"]["quantized"] <= report["summary"]["outputs"][0]["max_error"] * 1.01
    assert found["layers_measured"] == found["layers"] > 0
    assert run([*base, "--budget", "0"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sensitivity"]["approximated"]
    assert report["sensitivity"]["layers_measured"] == 0
    assert run([*base, "--metric", "mine:none"]) == 2
    assert "metric function 'mine:none' cannot be imported" in err(capsys)
