"""The PyTorch models that the onnx package ships (opset 6 to 9), through every rewriting pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import numpy_helper

from onnxq.graph import Model
from onnxq.pipeline import PassRecord
from onnxq.pipeline.registry import get
from tests.passes.golden import context, outputs
from tests.passes.test_zoo import CANONICAL, FUSE

DATA = Path(onnx.backend.test.__file__).parent / "data"
MODELS = sorted(p.relative_to(DATA).as_posix() for p in DATA.glob("pytorch-*/*/model.onnx"))


@pytest.mark.parametrize("path", MODELS)
def test_outputs_stay(path: str) -> None:
    source = onnx.load(DATA / path)
    feed = dict(zip([i.name for i in source.graph.input], _values(path, "input"), strict=False))
    model, ctx = Model.load(source), context()
    for name in (*CANONICAL, *FUSE):
        ctx.journal.records.append(PassRecord(name))
        get(name)().run(model, ctx)
    assert model.opset >= 13
    result = model.to_proto()
    onnx.checker.check_model(result, full_check=True)
    for a, b in zip(_values(path, "output"), outputs(result, feed), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)


def _values(path: str, kind: str) -> list[Any]:
    folder = (DATA / path).parent / "test_data_set_0"
    files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda f: int(f.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(f)) for f in files]
