"""The transformers of models/, in the forms that exporters write, through every mode."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.pipeline import Recipe
from tests.models.test_models import MODELS

GRAPHS = runpy.run_path(str(MODELS / "transformer_graphs.py"))
NETWORKS: dict[str, Callable[[bool], onnx.ModelProto]] = GRAPHS["NETWORKS"]
KINDS = [f"{kind}.{i}" for i in range(GRAPHS["LAYERS"]) for kind in ("key", "value")]
CACHE = {f"past_{kind}": f"present_{kind}" for kind in KINDS}
FORMS = {"primitives": True, "operators": False}


def samples(name: str, count: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Samples of free lengths; one step each for the decoder."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        if name == "vision":
            found.append({"image": random.normal(size=(1, 3, 32, 32)).astype(np.float32)})
        elif name == "decoder":
            found.append({"ids": random.integers(0, GRAPHS["WORDS"], (1, 1))})
        else:
            length = int(random.integers(6, 12))
            mask = np.ones((2, length), np.int64)
            mask[1, length - 3 :] = 0  # the scores of three words are -inf
            found.append({"ids": random.integers(0, GRAPHS["WORDS"], (2, length)), "mask": mask})
    return found


def quantized(name: str, form: str, **options: Any) -> onnxq.Result:
    states = CACHE if name == "decoder" else None
    options = (
        {"report_data": samples(name, 24, 1)} | options if not options.get("mode") else options
    )
    return onnxq.quantize(
        NETWORKS[name](FORMS[form]), data=samples(name, 40, 0), state=states, target="x86-vnni",
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_static(name: str, form: str) -> None:
    result = quantized(name, form, report_detail="layers")
    summary = result.report["summary"]
    assert summary["integer_macs_percent"] > 90
    assert summary["outputs"][0]["sqnr_db"] > 12
    ends = [end for t in result.report["tensors"].values()
            for end in t["range"] or ()]  # fmt: skip
    assert np.abs(ends).max() < 1e4, "a mask stretches no range"
    if name == "decoder":
        assert result.report["states"]["steps"] == 24
        drift = {o["name"]: o["sqnr_db"] for o in result.report["states"]["outputs"]}
        # scores of random weights are so large that a head reads one step: another one at times
        assert drift["logits"] > 5
        assert all(drift[f"present_{kind}"] > 8 for kind in KINDS)


@pytest.mark.parametrize("name", ["vision", "decoder"])
def test_outliers_are_evened_out(name: str) -> None:
    steps = [str(Recipe((p,))) for p in Recipe.resolve("balanced").passes]
    evening = ("equalize-activations", "equalize-entries")
    without = ",".join(s for s in steps if not s.startswith(evening))
    found = [
        quantized(name, "primitives", recipe=recipe, report_detail="basic").report["summary"]
        for recipe in ("balanced", without)
    ]
    with_it, plain = (f["outputs"][0]["sqnr_db"] for f in found)
    assert with_it > plain + 1


@pytest.mark.parametrize("name", NETWORKS)
def test_other_modes(name: str) -> None:
    dynamic = quantized(name, "primitives", mode="dynamic").report
    assert dynamic["summary"]["integer_macs_percent"] > 80
    weights = quantized(name, "operators", mode="weights", weights="int4", block=32).report
    assert weights["summary"]["bytes_quantized"] < 0.3 * weights["summary"]["bytes_float"]
