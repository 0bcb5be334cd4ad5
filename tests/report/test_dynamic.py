"""Layers whose scales are chosen in each run, each alone on the float model's values."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxq.graph import Model
from onnxq.report.advise import Effort
from onnxq.report.compare import compare
from tests.report.foreign import by_onnxruntime, float_model, renamed, samples

NETWORKS = ("digits_mobilenet", "digits_resnet", "lenet_mnist")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rename", [False, True])
def test_every_layer_is_measured_alone(name: str, rename: bool, tmp_path: Path) -> None:
    original = float_model(name)
    proto = by_onnxruntime(original, samples(name, 8, evaluation=False), tmp_path, "dynamic")
    found = Model.load(renamed(proto) if rename else proto)
    report = compare(Model.load(original), found, samples(name, 12), effort=Effort(budget_s=1e9))
    layers = report["layers"]
    count = sum(n.op_type in ("ConvInteger", "MatMulInteger") for n in proto.graph.node)
    assert len(layers) == count
    assert all(e["isolated_sqnr_db"] is not None for e in layers)
    # nothing comes before the first layer
    first = min(layers, key=lambda e: e["depth"])
    assert first["isolated_sqnr_db"] == pytest.approx(first["cumulative_sqnr_db"], abs=0.01)
    # all twins together are the quantized model
    (output,) = report["summary"]["outputs"]
    assert report["sensitivity"]["sqnr_db"] == pytest.approx(output["sqnr_db"], abs=0.01)
    assert all(e["effect"] is not None for e in layers)
