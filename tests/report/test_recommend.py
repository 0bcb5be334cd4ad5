from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.api.recipe import excluded_by
from onnxq.graph import Model
from onnxq.report.advise import Effort
from onnxq.report.compare import compare
from onnxq.report.headline import recommended_text
from onnxq.report.recommend import certain
from onnxq.report.terminal import render
from tests.api.support import network, samples
from tests.report.foreign import MODELS, by_onnxruntime, float_model
from tests.report.foreign import samples as images


def quantized(name: str, **options: Any) -> onnxq.Result:
    return onnxq.quantize(
        MODELS / f"{name}.onnx", data=MODELS / "digits_calibration.npz", target="x86",
        recipe="fast", report_detail="full", **options,
    )  # fmt: skip


def sqnr(report: dict[str, Any]) -> float:
    (output,) = report["summary"]["outputs"]
    return float(output["sqnr_db"])


def applied(result: onnxq.Result, folder: Path, again: Any) -> onnxq.Result:
    """Quantized again by *again*, without what the report on *result* recommends."""
    path = folder / "report.json"
    path.write_text(json.dumps(result.report), "utf-8")
    return again(exclude_from=path)  # type: ignore[no-any-return]


def wrong(result: onnxq.Result, node: str, factor: float, folder: Path) -> Path:
    """Overrides that give what *node* hands on a range *factor* times as wide as it should be."""
    entry = next(e for e in result.report["layers"] if e["node"] == node)
    low, high = result.report["tensors"][entry["result"]]["range"]
    path = folder / "overrides.toml"
    path.write_text(f'["{entry["result"]}"]\nrange = [{factor * low}, {factor * high}]\n', "utf-8")
    return path


@pytest.mark.parametrize(("name", "factor"), [("digits_resnet", 100), ("digits_mobilenet", 0.03)])
def test_a_ruined_tensor_is_named_first_and_mended(
    name: str, factor: float, tmp_path: Path
) -> None:
    sound = quantized(name)
    order = sorted(sound.report["layers"], key=lambda e: e["depth"])
    node = next(e["node"] for e in order[3:] if e["op_type"] == "Conv" and len(e["after"]) == 1)
    overrides = wrong(sound, node, factor, tmp_path)
    ruined = quantized(name, overrides=overrides)
    assert sqnr(ruined.report) < sqnr(sound.report) - 6
    found = ruined.report["recommendation"]
    first = [found[0]["node"], *found[0]["together"]]
    assert node in first, "what writes the tensor, with what reads it"
    mended = applied(ruined, tmp_path, lambda **o: quantized(name, overrides=overrides, **o))
    assert {e["node"] for e in mended.report["kept_float"]} >= {e["node"] for e in found}
    assert sqnr(mended.report) == pytest.approx(found[-1]["predicted_sqnr_db"], abs=1.0)
    assert sqnr(mended.report) > sqnr(sound.report) - 1


def spoilt() -> onnx.ModelProto:
    """The small network; one weight of its second layer is a thousand times too large."""
    proto = network()
    for i, tensor in enumerate(proto.graph.initializer):
        if tensor.name == "w2":
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[0] *= 1e-3
            values[0, 0, 0, 0] *= 3e5
            proto.graph.initializer[i].CopyFrom(onnx.numpy_helper.from_array(values, "w2"))
    return proto


def small(**options: Any) -> onnxq.Result:
    return onnxq.quantize(
        spoilt(), data=samples(40), report_data=samples(12, seed=4), target="x86", recipe="fast",
        report_detail="full", granularity="tensor", weights="int4", **options,
    )  # fmt: skip


def test_spoilt_weights_are_named_first_and_mended(tmp_path: Path) -> None:
    ruined = small()
    first, *_ = found = ruined.report["recommendation"]
    assert first["node"] == "conv2"
    assert first["action"] == "float"
    assert sum("8 bits alone" in note for note in ruined.report["notes"]) == 1
    assert first["macs_percent"] == pytest.approx(100 * 9 / 11)
    mended = applied(ruined, tmp_path, small)
    assert sqnr(mended.report) > sqnr(ruined.report) + 3
    assert sqnr(mended.report) == pytest.approx(found[-1]["predicted_sqnr_db"], abs=1.0)


def test_nothing_is_recommended_where_the_outputs_are_close() -> None:
    result = onnxq.quantize(
        network(), data=samples(40), target="generic", weights="int16", activations="int16",
        report_detail="full",
    )  # fmt: skip
    assert sqnr(result.report) > 40
    assert result.report["recommendation"] == []
    assert any("no layer is recommended" in note for note in result.report["notes"])


def test_predictions_never_fall_and_shares_are_small() -> None:
    report = quantized("digits_mobilenet").report
    steps = report["recommendation"]
    predicted = [sqnr(report), *(e["predicted_sqnr_db"] for e in steps)]
    assert predicted == sorted(predicted)
    assert not any("gain -" in e["reason"] for e in steps)
    assert len(steps) <= 8
    known = {e["node"] for e in report["layers"]}
    assert all(e["node"] in known for e in steps)


def integers(target: str, **options: Any) -> onnxq.Result:
    data = MODELS / "digits_calibration.npz"
    return onnxq.quantize(MODELS / "digits_resnet.onnx", data=data, target=target, recipe="fast",
                          **options)  # fmt: skip


def test_hardware_without_floating_point_is_told_to_take_16_bits(tmp_path: Path) -> None:
    report = integers("fpga-pow2", report_detail="full").report
    found = report["recommendation"]
    assert found and {e["action"] for e in found} == {"int16"}
    assert not any("-0." in e["reason"] or "gain 0.0" in e["reason"] for e in found)
    names = dict.fromkeys(t for e in found for t in e["tensors"])
    overrides = tmp_path / "wider.toml"
    overrides.write_text("".join(f'["{n}"]\ndtype = "int16"\n' for n in names), "utf-8")
    wider = integers("fpga-pow2", overrides=overrides).report
    assert sqnr(wider) == pytest.approx(found[-1]["predicted_sqnr_db"], abs=1.5)
    assert sqnr(wider) > sqnr(report) + 3
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report), "utf-8")
    assert excluded_by(path) == ()
    text = recommended_text(found[0])
    assert "raise" in text and "16 bits" in text


def test_hardware_of_8_bits_has_nothing_to_gain() -> None:
    report = onnxq.quantize(spoilt(), data=samples(40), target="dpu", recipe="fast",
                            report_detail="full").report  # fmt: skip
    assert report["recommendation"] == []
    assert any("codes of 8 bits at most" in note for note in report["notes"])


def test_the_report_on_models_of_other_tools(tmp_path: Path) -> None:
    model = float_model("digits_resnet")
    feeds = images("digits_resnet", 8)
    for kind in ("qdq", "qoperator"):
        other = by_onnxruntime(model, feeds, tmp_path, kind)
        report = compare(
            Model.load(model), Model.load(other), images("digits_resnet", 16),
            effort=Effort(budget_s=1e9),
        )  # fmt: skip
        found = report["sensitivity"]
        assert found["layers_measured"] == found["layers"] > 5
        assert found["sqnr_db"] == pytest.approx(sqnr(report), abs=0.5)
        assert all(e["effect"]["alone_sqnr_db"] > 10 for e in report["layers"] if e["effect"])
        names = {n.name for n in model.graph.node}
        assert all(e["node"] in names for e in report["recommendation"])


def test_samples_have_to_agree() -> None:
    before = np.full(8, 1.0)
    assert certain(before, before * 0.8)
    assert not certain(before, before)
    assert not certain(before, before * 1.2)
    chance = np.array([0.1, 3.0] * 4)
    assert not certain(before, chance)
    assert certain([1.0], [0.5])


def test_it_shows_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    report = small().report
    console = Console(width=160, record=True)
    render(report, console)
    text = console.export_text()
    assert "conv2" in text.split("Recommended")[1]
    assert "in float" in text


def test_layers_that_are_most_of_the_work_are_not_listed_where_the_outputs_are_fair() -> None:
    result = onnxq.quantize(
        network(), data=samples(40), target="x86", recipe="fast", report_detail="full"
    )
    assert 20 < sqnr(result.report) < 40
    assert sum(e["macs_percent"] for e in result.report["recommendation"]) <= 10
