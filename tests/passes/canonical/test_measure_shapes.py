from __future__ import annotations

from onnx import TensorProto

from onnxq.passes.canonical.measure_shapes import MeasureShapes
from onnxq.pipeline import TensorFact
from tests.passes.golden import check, context

TEXT = "g (float[N,2] x) => (float[N,2] y) { a = Relu(x)  y = Neg(a) }"


def test_learns_from_one_run() -> None:
    ctx = context()
    fact = TensorFact(TensorProto.FLOAT, (3, 2))
    ctx.probe = lambda model: dict.fromkeys(model.tensors(), fact)
    check(MeasureShapes(), TEXT, ctx=ctx)
    assert ctx.facts == {"x": fact, "a": fact, "y": fact}


def test_known_shapes_need_no_run() -> None:
    ctx = context()
    ctx.facts = dict.fromkeys(["x", "a", "y"], TensorFact(TensorProto.FLOAT, (1, 2)))
    ctx.probe = lambda model: {"never": TensorFact(TensorProto.FLOAT, ())}
    check(MeasureShapes(), TEXT, ctx=ctx)
    assert "never" not in ctx.facts


def test_without_data_declines() -> None:
    check(MeasureShapes(), TEXT, declines=[("model", "no data: 3 tensors")])
