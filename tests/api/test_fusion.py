"""Every node that is planned becomes an integer kernel in ONNX Runtime's optimized graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.runtime.coverage import kernels
from onnxq.testing import random_feeds
from tests.api.fusion_models import MODELS
from tests.passes.golden import outputs, parse


@pytest.mark.parametrize("target", ["x86", "x86-vnni"])
@pytest.mark.parametrize("name", MODELS)
def test_fused(name: str, target: str) -> None:
    text, expected = MODELS[name]
    source = parse(text)
    onnx.checker.check_model(source, full_check=True)
    data = random_feeds(source, 12)
    result = onnxq.quantize(source, data=data, target=target)
    found = kernels(result.model)
    planned = result.ctx.plan.nodes
    loose = [n for n in planned if n not in found]
    assert not loose, (loose, found)
    assert found.items() >= expected.items()
    proto = result.model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    noise: dict[int, float] = {}
    signal: dict[int, float] = {}
    for feed in data:
        pairs = zip(outputs(source, feed), outputs(proto, feed), strict=True)
        for i, (real, other) in enumerate(pairs):
            noise[i] = noise.get(i, 0) + float(np.square(other - real).sum())
            signal[i] = signal.get(i, 0) + float(np.square(real).sum())
    for i, total in signal.items():
        assert noise[i] < 0.03 * total, f"output {i}: {10 * np.log10(total / noise[i]):.1f} dB"
