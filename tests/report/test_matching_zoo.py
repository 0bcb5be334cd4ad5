"""Real networks that ONNX Runtime's quantizer quantized."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from onnxq.graph import Model
from onnxq.report.compare import compare
from tests.report.foreign import by_onnxruntime, layers_of, multiplying, renamed
from tests.zoo import model, needs_zoo, zoo


@needs_zoo
@pytest.mark.parametrize("kind", ["folded qdq", "folded qoperator", "dynamic"])
@pytest.mark.parametrize(
    "name", ["cifar_resnet20", "squeezenet1.1", pytest.param("mobilenetv2", marks=pytest.mark.slow)]
)
def test_every_layer_is_found_without_its_name(name: str, kind: str, tmp_path: Path) -> None:
    original = onnx.load(model(name))
    feeds = list(zoo().calibration(name, 4))
    quantized = by_onnxruntime(original, feeds, tmp_path, kind)
    known = [e.origin for e in multiplying(layers_of(original, quantized, feeds[0]))]
    layers = list(multiplying(layers_of(original, renamed(quantized), feeds[0])))
    assert len(layers) >= 20
    assert sum(e.tensor is not None for e in layers) >= 0.95 * len(layers)
    assert [e.origin for e in layers] == known
    report = compare(Model.load(original), Model.load(renamed(quantized)), feeds)
    assert all(e["cumulative_sqnr_db"] > 5 for e in report["layers"])
    measured = [e for e in report["layers"] if e["isolated_sqnr_db"] is not None]
    assert len(measured) >= 0.9 * len(report["layers"])
    assert all(e["isolated_sqnr_db"] > 10 for e in measured)
