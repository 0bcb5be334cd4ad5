"""``onnxq check``: the table for people, and JSON for machines."""

from __future__ import annotations

import json
import runpy

import numpy as np
import onnx
import pytest

from onnxq.cli.failures import run
from tests.models.test_models import MODELS
from tests.report.coverage.broken import HAZARDOUS, READ_X, conv
from tests.report.foreign import FIXTURES

MOBILENET = str(FIXTURES / "digits_mobilenet.nncf.onnx")


def shown(capsys, *arguments: str) -> str:
    assert run(["check", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return " ".join(captured.out.replace("│", " ").split())


def test_for_people(capsys) -> None:
    text = shown(capsys, MOBILENET, "--target", "x86")
    for part in (
        "digits_mobilenet.nncf.onnx · x86",
        "integer 28.3 % of multiply-accumulates, 8 of 34 nodes",
        "between Q/DQ 71.7 %",
        "52 to codes or back",
        "QLinearConv 5 511 k integer",
        "Between Q and DQ, but not fused 15 nodes",
        "int8-on-x86: Its input is int8;",
        "Try: quantize activations to uint8",
        "block1.project (Conv), block2.add (Add), block3.project (Conv) …",
        "May saturate on x86 without VNNI 4 layers",
        "block4.project QLinearConv 37 of 40 243",
    ):
        assert part in text, part


def test_for_machines(capsys) -> None:
    assert run(["check", MOBILENET, "--target", "x86", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "onnxq-check/1"
    assert found["target"] == "x86"
    assert found["summary"]["unfused"] == len(found["unfused"]) == 15
    assert found["saturation"][0].keys() == {
        "node", "op_type", "channels", "of", "worst", "body",
    }  # fmt: skip
    kinds = {n["kind"] for n in found["nodes"]}
    assert kinds == {"integer", "around", "float", "conversion"}


def test_another_cpu(capsys, tmp_path) -> None:
    onnx.save(conv(x="s, i", y="t, i", **READ_X), tmp_path / "signed.onnx")
    signed = str(tmp_path / "signed.onnx")
    assert "QLinearConv 1 576 integer" in shown(capsys, signed, "--target", "arm")
    assert "int8-on-x86" in shown(capsys, signed, "--target", "x86")


def test_long_lists_are_shortened(capsys, tmp_path) -> None:
    names = [f"n{i}" for i in range(30)]
    nodes, last = [], "x"
    for i, op in enumerate(names):
        kind = ["Tanh", "Erf", "Sin", "Cos", "Exp", "Abs", "Neg", "Ceil", "Floor", "Sqrt"][i % 10]
        nodes.append(onnx.helper.make_node(kind, [last], [op], op))
        last = op
    info = [onnx.helper.make_tensor_value_info(n, 1, [2]) for n in ("x", last)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "g", info[:1], info[1:]),
        ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)],
    )  # fmt: skip
    onnx.save(model, tmp_path / "m.onnx")
    assert "… and 2 more operators" in shown(capsys, str(tmp_path / "m.onnx"))


def test_hazards(capsys, tmp_path) -> None:
    onnx.save(HAZARDOUS[2][1], tmp_path / "wrong.onnx")
    text = shown(capsys, str(tmp_path / "wrong.onnx"), "--target", "x86")
    assert "computes something else than the graph says" in text
    assert "weight-axis: Its weight has scales along axis 1" in text
    onnx.save(conv(), tmp_path / "right.onnx")
    assert "something else" not in shown(capsys, str(tmp_path / "right.onnx"), "--target", "x86")


def test_bodies(capsys, tmp_path) -> None:
    path = str(tmp_path / "loop.onnx")
    make = runpy.run_path(str(MODELS / "control_flow_graphs.py"))["NETWORKS"]["loop"]
    onnx.save(make(), path)
    np.savez(tmp_path / "data.npz", x=np.ones((3, 2, 32), np.float32), steps=np.full((3,), 2))
    text = shown(capsys, path, "--target", "x86", "--data", str(tmp_path / "data.npz"))
    assert "float 100 % of multiply-accumulates, 9 of 9 nodes" in text
    assert "bodies 8 nodes in 1, counted as one step of each" in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((MOBILENET, "--target", "none"), 2),
        (("none.onnx",), 2),
        ((MOBILENET, "--providers", "x"), 2),
    ],
)
def test_wrong_input(capsys, arguments, code) -> None:
    assert run(["check", *arguments]) == code
    assert "Error" in capsys.readouterr().err


def test_a_model_that_does_not_load(capsys, tmp_path) -> None:
    text = (
        '<ir_version: 8, opset_import: ["other": 1]> g (float x) => (float y) { y = other.No (x) }'
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    assert run(["check", str(tmp_path / "m.onnx")]) == 3
    assert "ONNX Runtime cannot load the model" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["tensorrt", "openvino", "qnn"])
def test_other_runtimes(capsys, target) -> None:
    text = shown(capsys, MOBILENET, "--target", target)
    assert "documentation" in text
    assert "Try: " in text
    assert run(["check", MOBILENET, "--target", target, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["target"] == target
    assert found["problems"][0].keys() >= {"node", "rule", "effect", "why", "remedy"}


def test_a_model_that_keeps_all_rules(capsys, tmp_path) -> None:
    onnx.save(conv(), tmp_path / "m.onnx")
    text = shown(capsys, str(tmp_path / "m.onnx"), "--target", "openvino")
    assert "nothing breaks its documented rules" in text
