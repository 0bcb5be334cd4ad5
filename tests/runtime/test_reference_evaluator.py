"""The files that onnxq writes in the reference evaluator of the onnx package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.version_converter import convert_version

import onnxq
from onnxq.runtime.session import Session
from tests.report.foreign import by_onnxruntime, float_model, samples

NAME = "digits_mobilenet"


def evaluated(proto: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The first output; the evaluator has QuantizeLinear from opset 19 on."""
    session = ReferenceEvaluator(convert_version(proto, 19))
    return np.stack([session.run(None, feed)[0] for feed in feeds])


@pytest.mark.parametrize("target", ["x86", "openvino", "generic"])
def test_the_reference_evaluator_computes_what_onnxruntime_does(target: str) -> None:
    feeds = samples(NAME, 8)
    result = onnxq.quantize(float_model(NAME), data=feeds, target=target, recipe="fast")
    close(result.model.to_proto(), feeds[:3])


def test_a_model_of_onnxruntimes_quantizer(tmp_path) -> None:
    feeds = samples(NAME, 3)
    close(by_onnxruntime(float_model(NAME), feeds, tmp_path, "folded qdq"), feeds)


def close(proto: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> None:
    """Assert that both answer alike: codes may be one off where a value lies between two."""
    exact = evaluated(proto, feeds)
    session = Session(proto)
    found = np.stack([next(iter(session.run(feed).values())) for feed in feeds])
    assert (found.argmax(-1) == exact.argmax(-1)).all()
    assert 10 * np.log10(np.square(exact).sum() / max(np.square(found - exact).sum(), 1e-12)) > 20
