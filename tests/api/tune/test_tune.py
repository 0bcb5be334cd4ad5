from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import onnxq
from onnxq.api import calibration
from onnxq.api.tune.evaluate import Evaluator, Run
from onnxq.errors import OptionError, UnknownNameError

MODELS = Path(__file__).parents[3] / "models"
MODEL, DATA = MODELS / "digits_resnet.onnx", MODELS / "digits_calibration.npz"


def tune(**options: Any) -> onnxq.TuneResult:
    given = {"data": DATA, "target": "x86", "recipes": ["fast"], "points": 0} | options
    return onnxq.tune(MODEL, **given)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tune") / "journal.jsonl"


@pytest.fixture(scope="module")
def small(book: Path) -> onnxq.TuneResult:
    """The most accurate model of at most 24 % of the bytes; one calibration serves it."""
    runs = []
    calibrate = calibration.calibrate

    def counted(*given: Any, **options: Any) -> Any:
        runs.append(given)
        return calibrate(*given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "calibrate", counted)
        found = tune(max_size="24%", points=2, journal=book)
    assert len(found.report["tune"]["candidates"]) >= 3
    assert len(runs) == 1
    return found


def test_a_size_is_kept_by_layers_of_4_bits_in_integer_kernels(small: onnxq.TuneResult) -> None:
    summary = small.report["summary"]
    assert small.missed == []
    assert summary["bytes_quantized"] <= 0.24 * summary["bytes_float"]
    assert summary["integer_macs_percent"] == 100.0
    assert set(small.precisions.values()) == {"8", "4"}
    chosen = next(c for c in small.report["tune"]["candidates"] if c["chosen"])
    assert chosen["bytes"] == summary["bytes_quantized"]
    assert chosen["macs"]["4"] + chosen["macs"]["8"] == pytest.approx(100.0)
    # more accurate than the next smaller one, and than 4 bits everywhere by far
    every = next(c for c in small.report["tune"]["candidates"] if c["precisions"] == {"4": 12})
    assert chosen["sqnr_db"] > every["sqnr_db"] + 6


def test_each_layer_is_explained(small: onnxq.TuneResult) -> None:
    layers = small.report["tune"]["layers"]
    assert len(layers) == len(small.precisions)
    for entry in layers:
        text = small.explain(entry["node"])
        assert text.startswith(f"{entry['node']}: {entry['precision']}. ")
        if entry["precision"] == "4":
            assert "at 8 bits noise −" in text and "size +" in text
    with pytest.raises(UnknownNameError):
        small.explain("nowhere")


def test_the_recipe_makes_the_same_file(small: onnxq.TuneResult, tmp_path: Path) -> None:
    small.save(tmp_path / "tuned.onnx")
    again = onnxq.quantize(MODEL, data=DATA, target="x86", recipe=small.recipe)
    again.save(tmp_path / "again.onnx")
    assert (tmp_path / "tuned.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_other_budgets_find_what_was_measured(
    small: onnxq.TuneResult, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    measure = Evaluator.measure

    def counted(self: Evaluator, candidate: Any) -> Any:
        measured.append(candidate.text)
        return measure(self, candidate)

    monkeypatch.setattr(Evaluator, "measure", counted)
    again = tune(max_size="24%", points=2, journal=book)
    assert measured == []
    assert again.precisions == small.precisions
    assert again.report["tune"]["candidates"] == small.report["tune"]["candidates"]
    looser = tune(max_drop=0.3, journal=book)
    known = len(small.report["tune"]["candidates"])
    assert looser.missed == [] and len(measured) <= 12
    assert len(book.read_text().splitlines()) == known + 2 + len(measured)
    chosen = next(c for c in looser.report["tune"]["candidates"] if c["chosen"])
    assert chosen["drop"] <= 0.3
    assert chosen["drop"] == pytest.approx(100 * 10 ** (-chosen["sqnr_db"] / 10))


def accuracy(run: Run) -> float:
    """Percent of right answers."""
    images = np.load(MODELS / "digits_evaluation.npz")
    (name,) = images.files
    labels = np.load(MODELS / "digits_evaluation_labels.npy")[:100]
    logits = run({name: images[name][:100]})["logits"]
    return 100.0 * float((logits.argmax(1) == labels).mean())


def test_a_metric_of_the_user() -> None:
    found = tune(max_drop=1.0, metric=accuracy, max_macs=["float=0", "16=0"])
    section = found.report["tune"]
    chosen = next(c for c in section["candidates"] if c["chosen"])
    assert section["drop"] == "metric" and section["metric_float"] > 90
    assert chosen["drop"] == pytest.approx(section["metric_float"] - chosen["metric"])
    assert chosen["drop"] <= 1.0 and "4" in chosen["precisions"]
    assert not {"float", "16"} & chosen["macs"].keys()


def test_accuracy_beyond_integers_keeps_layers_in_float(book: Path) -> None:
    found = tune(min_sqnr=45, journal=book)
    chosen = next(c for c in found.report["tune"]["candidates"] if c["chosen"])
    base = next(c for c in found.report["tune"]["candidates"] if not c["precisions"])
    assert found.missed == [] and chosen["sqnr_db"] >= 45 > base["sqnr_db"]
    assert chosen["macs"].keys() & {"float", "16"}
    assert found.report["summary"]["outputs"][0]["sqnr_db"] >= 45


def test_budgets_that_cannot_be_met_are_named(book: Path) -> None:
    found = tune(max_size="5%", precisions=["8", "4"], journal=book)
    assert len(found.missed) == 1 and "above" in found.missed[0]
    weighty = [e for e in found.report["tune"]["layers"] if e["bytes_float"] > 4000]
    assert {e["precision"] for e in weighty} == {"4"}  # the nearest
    assert "not among" in found.report["tune"]["lacks"]["float"]


def broken(run: Run) -> float:
    raise RuntimeError("no labels")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, "nothing to keep to"),
        ({"max_drop": 1, "metric": broken}, "the metric failed"),
        ({"max_drop": 1, "precisions": ["4"]}, "8 bits have to be"),
        ({"max_drop": 1, "precisions": ["float"], "target": "fpga-pow2"}, "no floating point"),
        ({"max_drop": 1, "max_macs": ["5=3"]}, "precision in max_macs"),
    ],
)
def test_refusals(options: Mapping[str, Any], part: str) -> None:
    with pytest.raises(OptionError, match=part):
        tune(**options)


@pytest.mark.slow
def test_processes_find_the_same(small: onnxq.TuneResult) -> None:
    found = tune(max_size="24%", jobs=2)
    assert found.precisions == small.precisions


def test_data_in_memory() -> None:
    arrays = np.load(DATA)
    feeds: dict[str, NDArray[Any]] = {name: arrays[name][:30] for name in arrays.files}
    (value,) = feeds.values()
    found = tune(data=value, max_size="24%", jobs=2)
    assert found.missed == []
    assert any("--jobs 1" in text for text in found.report["tune"]["notes"])
