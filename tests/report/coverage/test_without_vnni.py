"""Integers on a processor without VNNI: this one, with its later instructions hidden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.report.coverage import check
from onnxq.runtime.session import Session
from onnxq.targets import detect
from tests.bench.without_vnni import hiding
from tests.passes.golden import parse
from tests.report.foreign import MODELS, by_onnxruntime, float_model, samples
from tests.zoo import model as zoo_model
from tests.zoo import needs_zoo, zoo

CHILD = """
import sys
import numpy as np, onnxruntime as ort
model, feeds, out = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
np.save(out, np.stack([session.run(None, {name: x})[0] for x in np.load(feeds)]))
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What hides the instructions from a program; skips where that is not possible."""
    found = hiding(tmp_path_factory.mktemp("hide"))
    if found is None:
        pytest.skip("hiding instructions needs Linux, a C compiler and objdump")
    return found


def hidden(
    model: Model, feeds: list[np.ndarray], environment: dict[str, str], folder: Path
) -> np.ndarray:
    """The first output for *feeds*, run where there is no VNNI."""
    model.save(folder / "m.onnx")
    np.save(folder / "x.npy", np.stack(feeds))
    subprocess.run(
        [sys.executable, "-c", CHILD, folder / "m.onnx", folder / "x.npy", folder / "y.npy"],
        env=os.environ | environment, check=True, timeout=300,
    )  # fmt: skip
    return np.load(folder / "y.npy")


def here(model: Model, feeds: list[np.ndarray], *, optimize: bool) -> np.ndarray:
    """The first output for *feeds* on this processor."""
    session = Session(model, optimize=optimize)
    (name,) = (i.name for i in session.inputs)
    return np.stack([next(iter(session.run({name: x}).values())) for x in feeds])


SATURATING = """g (float[1,16,6,6] x) => (float[1,4,6,6] y)
    <float[8,16,3,3] w, float[4,8,1,1] v> {
    [first] a = Conv <pads = [1,1,1,1]> (x, w)  b = Relu (a)  [last] y = Conv (b, v) }"""


def test_a_model_made_to_saturate(environment: dict[str, str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    heavy = rng.uniform(0.9, 1.0, (8, 16, 3, 3)).astype(np.float32)
    heavy[::2, ::2] *= -1  # in half of the channels products cancel, in the others they add up
    proto = parse(SATURATING, {"w": heavy})
    feeds = [rng.uniform(0.5, 1, (1, 16, 6, 6)).astype(np.float32) for _ in range(6)]
    data = [{"x": x} for x in feeds]
    for target, safe in (("x86", True), ("x86-avx2", True), ("x86-vnni", False)):
        result = onnxq.quantize(proto, data=data, target=target, recipe="fast")
        exact = here(result.model, feeds, optimize=False)
        found = hidden(result.model, feeds, environment, tmp_path)
        worst = np.abs(found - exact).max() / np.abs(exact).max()
        assert bool(check(result.model).exposed) is not safe
        assert worst < 0.01 if safe else worst > 0.1, (target, worst)


@pytest.mark.parametrize("reduce_range", [False, True])
def test_a_model_of_onnxruntimes_quantizer(
    reduce_range: bool, environment: dict[str, str], tmp_path: Path
) -> None:
    feeds = samples("digits_resnet", 16)
    proto = by_onnxruntime(
        float_model("digits_resnet"), feeds, tmp_path, "folded qdq", reduce_range=reduce_range
    )
    model = Model.load(proto)
    exposed = check(model).exposed
    assert bool(exposed) is not reduce_range
    images = [feed["input"] for feed in feeds]
    exact, found = here(model, images, optimize=False), hidden(model, images, environment, tmp_path)
    ratio = 10 * np.log10(np.square(exact).sum() / max(np.square(found - exact).sum(), 1e-12))
    assert ratio < 25 if exposed else ratio > 30, ratio


def same_integers(
    model: Model, feeds: list[np.ndarray], environment: dict[str, str], folder: Path
) -> None:
    """Assert that *model* answers the same without VNNI as with it, or as unfused."""
    found = hidden(model, feeds, environment, folder)
    if detect()[0] == "x86-vnni":
        np.testing.assert_array_equal(found, here(model, feeds, optimize=True))
    exact = here(model, feeds, optimize=False)
    assert (found.argmax(-1) == exact.argmax(-1)).all()
    assert 10 * np.log10(np.square(exact).sum() / max(np.square(found - exact).sum(), 1e-12)) > 15


def test_a_network_of_depthwise_layers(environment: dict[str, str], tmp_path: Path) -> None:
    path = MODELS / "digits_mobilenet.onnx"
    given = samples("digits_mobilenet", 8)
    result = onnxq.quantize(path, data=given, target="x86", recipe="fast")
    same_integers(result.model, [f["input"] for f in given], environment, tmp_path)


@needs_zoo
def test_mobilenetv2_loses_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    feeds = list(zoo().calibration("mobilenetv2", 16))
    result = onnxq.quantize(zoo_model("mobilenetv2"), data=feeds, target="x86", recipe="fast")
    assert not check(result.model).exposed
    images = [next(iter(f.values())) for f in feeds[:8]]
    same_integers(result.model, images, environment, tmp_path)
