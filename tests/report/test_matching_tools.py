"""Models that other tools quantized, matched and reported on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.report.compare import compare
from tests.report.foreign import (
    FIXTURES,
    by_onnxruntime,
    float_model,
    layers_of,
    multiplying,
    renamed,
    ruin,
    samples,
)

NETWORKS = ("digits_mobilenet", "digits_resnet", "lenet_mnist")
KINDS = ("qdq", "qoperator", "dynamic", "folded qdq", "folded qoperator")
FILES = sorted(path.name for path in FIXTURES.glob("*.onnx"))


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], onnx.ModelProto]:
    """Every network in every form that ONNX Runtime's quantizer writes."""
    folder = tmp_path_factory.mktemp("foreign")
    return {
        (name, kind): by_onnxruntime(
            float_model(name), samples(name, 32, evaluation=False), folder, kind
        )
        for name in NETWORKS
        for kind in KINDS
    }


def check(original: onnx.ModelProto, found: onnx.ModelProto, feeds, least: float = 5.0) -> None:
    """Every layer that multiplies is there under the float model's name, and plausible."""
    layers = list(multiplying(layers_of(original, found, feeds[0])))
    nodes = {n.name: n for n in original.graph.node}
    assert [e.reason for e in layers if e.tensor is None] == []
    origins = [str(e.origin) for e in layers]
    assert len(set(origins)) == len(origins)
    expected = {n for n, node in nodes.items() if node.op_type in ("Conv", "Gemm", "MatMul")}
    assert len(set(origins) & expected) >= 0.95 * len(layers)
    report = compare(Model.load(original), Model.load(found), feeds)
    assert report["unmatched"] == []
    assert report["warnings"] == []
    measured = {e["node"]: e["cumulative_sqnr_db"] for e in report["layers"]}
    assert set(origins) <= measured.keys()
    assert all(db is not None and db > least for db in measured.values()), measured


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime(quantized, name: str, kind: str) -> None:
    # without scales for each channel, the depthwise layers lose nearly everything
    least = 1.0 if kind == "dynamic" and name == "digits_mobilenet" else 5.0
    check(float_model(name), quantized[name, kind], samples(name), least)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_nodes_are_the_right_ones(quantized, name: str, kind: str) -> None:
    """ONNX Runtime's quantizer keeps node names, so that the answer is known."""
    layers = layers_of(float_model(name), quantized[name, kind], samples(name)[0])
    assert len(layers) >= 4
    for layer in layers:
        assert layer.node.name.removesuffix("_quant").removesuffix("_MatMul") == layer.origin


@pytest.mark.parametrize("recipe", ["fast", "balanced"])
@pytest.mark.parametrize("name", NETWORKS)
def test_own_models_without_their_names(name: str, recipe: str) -> None:
    original, feeds = float_model(name), samples(name, 32, evaluation=False)
    model = onnxq.quantize(original, data=feeds, target="x86-vnni", recipe=recipe).model.to_proto()
    one = compare(Model.load(original), Model.load(model), samples(name, 2))
    two = compare(Model.load(original), Model.load(renamed(model)), samples(name, 2))
    same_but_for_names(one, two)


def same_but_for_names(one: dict[str, Any], two: dict[str, Any]) -> None:
    for report in (one, two):
        report["summary"].pop("bytes_quantized")
        for entry in report["layers"]:
            entry.pop("quantized_node")
    assert len(one["layers"]) >= 4
    assert two == one


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_names_do_not_matter(quantized, name: str, kind: str) -> None:
    original, found = Model.load(float_model(name)), quantized[name, kind]
    one = compare(original, Model.load(found), samples(name, 2))
    two = compare(original, Model.load(renamed(found)), samples(name, 2))
    same_but_for_names(one, two)


@pytest.mark.parametrize("file", FILES)
def test_nncf_and_onnxsim(file: str) -> None:
    name = file.partition(".")[0]
    check(float_model(name), onnx.load(FIXTURES / file), samples(name))


@pytest.mark.parametrize("file", FILES)
def test_fixtures_without_their_names(file: str) -> None:
    name = file.partition(".")[0]
    check(float_model(name), renamed(onnx.load(FIXTURES / file)), samples(name))


@pytest.mark.parametrize("kind", ["qdq", "qoperator"])
@pytest.mark.parametrize("rename", [False, True])
def test_a_ruined_layer_is_found(quantized, kind: str, rename: bool) -> None:
    name, node = "digits_mobilenet", "block3.project"
    model = quantized[name, kind]
    names = [n.name for n in model.graph.node]
    target = next(n for n in names if n.startswith(node))
    spoiled = ruin(model, target)
    if rename:
        spoiled = renamed(spoiled)
    good = compare(Model.load(float_model(name)), Model.load(model), samples(name))
    bad = compare(Model.load(float_model(name)), Model.load(spoiled), samples(name))
    before = {e["node"]: e["cumulative_sqnr_db"] for e in good["layers"]}
    after = {e["node"]: e["cumulative_sqnr_db"] for e in bad["layers"]}
    assert after.keys() == before.keys()
    order = [n.name for n in float_model(name).graph.node if n.name in before]
    fallen = [n for n in order if after[n] < before[n] - 3]
    assert fallen[0] == node
    assert after[node] < 5


@pytest.mark.parametrize(
    ("file", "node"),
    [
        ("digits_mobilenet.nncf", "block4.project"),
        ("digits_mobilenet.onnxsim", "block3.expand"),
        ("digits_resnet.nncf", "block3.sum.conv2"),
    ],
)
@pytest.mark.parametrize("rename", [False, True])
def test_a_ruined_layer_of_another_tool_comes_first(file: str, node: str, rename: bool) -> None:
    name = file.partition(".")[0]
    spoiled = ruin(onnx.load(FIXTURES / f"{file}.onnx"), node)
    found = Model.load(renamed(spoiled) if rename else spoiled)
    report = compare(Model.load(float_model(name)), found, samples(name))
    first, second = report["layers"][:2]
    assert first["node"] == node
    assert first["isolated_sqnr_db"] < 3 < second["isolated_sqnr_db"]
    assert report["unmatched"] == []


def test_channels_that_another_tool_scaled(tmp_path: Path) -> None:
    """Cross-layer equalization done by hand on the quantized side; its float model is known."""
    name = "digits_mobilenet"
    original = float_model(name)
    equal = float_model(name)
    weights = {t.name: t for t in equal.graph.initializer}
    conv = next(n for n in equal.graph.node if n.name == "stem")
    after = next(n for n in equal.graph.node if n.name == "block1.expand")
    channels = weights[conv.input[1]].dims[0]
    factor = np.exp(np.random.default_rng(0).uniform(-1, 1, channels)).astype(np.float32)

    def scale(tensor: str, by: np.ndarray) -> None:
        values = onnx.numpy_helper.to_array(weights[tensor]) * by
        weights[tensor].CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor))

    scale(conv.input[1], factor[:, None, None, None])
    scale(conv.input[2], factor)
    scale(after.input[1], 1 / factor[None, :, None, None])
    for clip in (*equal.graph.node, *original.graph.node):  # a clip at 6 does not commute
        if clip.name == "stem_relu":
            clip.input[:] = clip.input[:2]
    found = by_onnxruntime(equal, samples(name, 32, evaluation=False), tmp_path, "qdq")
    layers = {e.node.name: e for e in layers_of(original, found, samples(name, 1)[0])}
    assert "estimated" in layers["stem"].scaled
    assert [n for n, e in layers.items() if e.tensor is None] == []
    assert [n for n, e in layers.items() if e.scaled] == ["stem"]
    feeds = samples(name, 16)
    known = compare(Model.load(equal), Model.load(found), feeds)
    report = compare(Model.load(original), Model.load(found), feeds)
    expected, measured = (
        {e["node"]: e["isolated_sqnr_db"] for e in r["layers"]} for r in (known, report)
    )
    assert measured["stem"] == pytest.approx(expected["stem"], abs=0.5)
    assert measured["block1.expand"] == pytest.approx(expected["block1.expand"], abs=0.5)
    assert report["recommendation"] or any("no layer" in note for note in report["notes"])
