"""What is said of OpenVINO is what it does, where it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.report.lint.run import lint
from onnxq.report.lint.runtimes import OPENVINO
from onnxq.runtime.session import Session
from onnxq.testing import random_feeds
from tests.passes.golden import parse
from tests.report.coverage.broken import BROKEN, HAZARDOUS, conv
from tests.report.foreign import FIXTURES, by_onnxruntime, float_model, samples
from tests.report.lint.cases import CASES

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")

MULTIPLY = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
STEP = 0.21
"""The coarsest step of these models, 0.2, and what float32 adds to it."""

MODELS = [m for _, first, second in (*BROKEN, *HAZARDOUS) for m in (first, second) if m is not None]
MODELS += [
    conv("(wu, s, z0)"),
    *(m for runtime, _, *pair in CASES if runtime == "openvino" for m in pair),
]


@dataclass(frozen=True)
class Compiled:
    """What OpenVINO makes of a model: how each product runs, ``i8`` or ``f32``, and the outputs."""

    precisions: list[str]
    outputs: list[dict[str, np.ndarray]]


def compiled(
    proto: onnx.ModelProto, folder: Path, feeds: list[dict[str, np.ndarray]] | None = None
) -> Compiled:
    """*proto* in OpenVINO.

    Raises:
        RuntimeError: OpenVINO refuses the model.
    """
    onnx.save(proto, folder / "m.onnx")
    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(folder / "m.onnx"), "CPU", options)
    found = []
    for op in model.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if info["layerType"].astype(str) in MULTIPLY:
            found.append(info["primitiveType"].astype(str).split("_")[-1].lower())
    names = [o.name for o in proto.graph.output]
    results = [model(feed) for feed in feeds or []]
    return Compiled(found, [{n: np.array(r[n]) for n in names} for r in results])


BY_PROCESSOR = {"int8-zero-point"}
"""Rules that hold on some processors: on others, with AVX-512, these layers run on int8."""


def computes_the_same(proto: onnx.ModelProto, found: Compiled, feeds: list) -> bool:
    """Whether the outputs differ by a step at most from those of ONNX Runtime, nothing fused."""
    session = Session(proto, optimize=False)
    for feed, other in zip(feeds, found.outputs, strict=True):
        for name, value in session.run(feed).items():
            if np.abs(value.astype(np.float64) - other[name]).max() > STEP:
                return False
    return True


@pytest.mark.parametrize("proto", MODELS)
def test_models_run_as_said(proto: onnx.ModelProto, tmp_path: Path) -> None:
    problems = lint(Model.load(proto), OPENVINO)
    fatal = {p.effect for p in problems} & {"refused", "wrong"}
    if any(n.domain == "mine" for n in proto.graph.node):
        feeds = [{"x": np.zeros(1, np.float32)}]
    else:
        feeds = random_feeds(proto, 3)
    try:
        found = compiled(proto, tmp_path, feeds)
    except RuntimeError:
        assert fatal, problems
        return
    assert computes_the_same(proto, found, feeds) is not bool(fatal), problems
    if found.precisions and not fatal:
        (precision,) = found.precisions
        by_processor = bool(problems) and {p.rule for p in problems} <= BY_PROCESSOR
        assert by_processor or (precision == "f32") is bool(problems), problems


SHORTCUT = """g (float[N,4,8,8] x) => (float[N,6,4,4] y) <
    float[4,4,3,3] w, float[6,4,3,3] v, float[6,6,1,1] u,
    int64[2] axes = {2, 3}, int64[2] zeros = {0, 0}, int64[2] alls = {99, 99},
    int64[2] two = {2, 2},
    int64[8] pads = {0, 1, 0, 0, 0, 1, 0, 0}> {
    a = Conv <pads = [1,1,1,1]> (x, w)  b = Relu (a)
    c = Conv <pads = [1,1,1,1], strides = [2,2]> (b, v)
    d = Slice (b, zeros, alls, axes, two)  e = Pad (d, pads)
    f = Add (c, e)  g = Relu (f)  y = Conv (g, u) }"""
"""A residual block whose shortcut pads channels."""


@pytest.mark.parametrize("target", ["openvino", "generic"])
@pytest.mark.parametrize("name", ["digits_resnet", "shortcut"])
def test_what_onnxq_makes_is_accurate(name: str, target: str, tmp_path: Path) -> None:
    proto = parse(SHORTCUT) if name == "shortcut" else float_model(name)
    feeds = random_feeds(proto, 8) if name == "shortcut" else samples(name, 8)
    result = onnxq.quantize(proto, data=feeds, target=target, recipe="fast")
    effects = {p.effect for p in lint(result.model, OPENVINO)}
    assert effects == ({"float"} if target == "generic" else set())
    found = compiled(result.model.to_proto(), tmp_path, feeds)
    wanted = [Session(proto).run(feed) for feed in feeds]
    same = [Session(result.model).run(feed) for feed in feeds]
    here, there = ratio(wanted, same), ratio(wanted, found.outputs)
    assert there > max(20, here - 2)


def ratio(wanted: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]]) -> float:
    """SQNR of all outputs, dB."""
    signal = sum(float(np.square(v).sum()) for one in wanted for v in one.values())
    noise = sum(
        float(np.square(v - b[k]).sum())
        for a, b in zip(wanted, found, strict=True)
        for k, v in a.items()
    )
    return 10 * np.log10(signal / noise)


@pytest.mark.parametrize("kind", ["qoperator", "dynamic", "folded qdq"])
def test_forms_of_models(kind: str, tmp_path: Path) -> None:
    model = by_onnxruntime(
        float_model("digits_resnet"), samples("digits_resnet", 2), tmp_path, kind
    )
    effects = {p.effect for p in lint(Model.load(model), OPENVINO)}
    if kind == "qoperator":
        assert "refused" in effects
        with pytest.raises(RuntimeError, match="QLinear"):
            compiled(model, tmp_path)
    else:
        assert effects == ({"float"} if kind == "dynamic" else set())
        assert ("f32" in compiled(model, tmp_path).precisions) is (kind == "dynamic")


def test_nncf_per_channel_activations_of_depthwise_layers(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "digits_mobilenet.nncf.onnx")
    said = [p for p in lint(Model.load(model), OPENVINO) if p.effect == "float"]
    found = compiled(model, tmp_path).precisions
    assert len({p.node for p in said}) == 8 and {p.rule for p in said} == BY_PROCESSOR
    assert found.count("f32") in (0, 8)
