"""Passes from planning on: a model, the passes before, and data for what they measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray

from onnxq.calibrate.driver import calibrate
from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, PassManager, Recipe, TensorFact, Verify
from onnxq.runtime.probe import probe
from onnxq.targets import Target, get_target
from onnxq.testing import random_feeds
from tests.passes.golden import parse

Samples = Iterable[Mapping[str, NDArray[Any]]]


def run(
    text: str,
    recipe: str | Sequence[Pass],
    *,
    target: str | Target = "x86",
    weights: Mapping[str, NDArray[Any]] | None = None,
    data: Samples | None = None,
    opset: int = 13,
) -> tuple[Model, Context]:
    """*text* after the passes of *recipe*, and the context that they leave."""
    proto = parse(text, weights, opset=opset)
    feeds = list(data) if data is not None else random_feeds(proto)
    model = Model.load(onnx.shape_inference.infer_shapes(proto))

    def facts(model: Model) -> dict[str, TensorFact]:
        return {n: TensorFact(i.dtype, i.shape) for n, i in probe(model, feeds[0]).items()}

    ctx = Context(
        target=get_target(target),
        measure=lambda model, wanted, samples=None: calibrate(model, wanted, feeds[:samples]),
        probe=facts,
    )
    passes = Recipe.parse(recipe).passes if isinstance(recipe, str) else recipe
    PassManager(passes, verify=Verify.FULL).run(model, ctx)
    return model, ctx
