"""Load and save without an edit keep every field, on every model that the onnx package ships."""

from pathlib import Path

import onnx
import pytest
from onnx.backend.test.loader import load_model_tests

from onnxq.graph import Model

ROOT = Path(onnx.__file__).parent
SHIPPED = sorted(ROOT.glob("**/*.onnx"))


def content(proto):
    return proto.SerializeToString(deterministic=True)


def test_the_package_ships_models():
    assert len(SHIPPED) > 100


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_shipped_model(path, tmp_path):
    original = onnx.load(path, load_external_data=False)
    model = Model.load(path)
    assert content(model.to_proto(embed=False)) == content(original)
    assert content(model.clone().to_proto(embed=False)) == content(original)
    for constant in model._constants():
        constant.load() if hasattr(constant, "load") else constant.values
    assert content(model.to_proto(embed=False)) == content(original)
    model.save(tmp_path / "out.onnx")
    assert content(onnx.load(tmp_path / "out.onnx")) == content(model.to_proto())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_generated_node_tests():
    cases = load_model_tests(kind="node")
    assert len(cases) > 1000
    changed = []
    for case in cases:
        if case.model_dir is not None:
            original = onnx.load(Path(case.model_dir) / "model.onnx", load_external_data=False)
        else:
            original = case.model
        if content(Model.load(original).to_proto()) != content(original):
            changed.append(case.name)
    assert changed == []
