from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.correct import round_weights_second_order
from tests.passes.golden import outputs, parse
from tests.passes.stages import run

TEXT = """g (float[32,48] x) => (float[32,6] y) <float[48,6] w> { [mm] y = MatMul (x, w) }"""
GEMM = """g (float[32,48] x) => (float[32,6] y) <float[6,48] w>
    { [mm] y = Gemm <transB = 1> (x, w) }"""
CONV = """g (float[4,4,6,6] x) => (float[4,6,4,4] y) <float[6,4,3,3] w> { [mm] y = Conv (x, w) }"""
RECIPE = "plan-weights{weights=%s,block=%d,symmetric=%s,min_values=1},round-weights{method=mse}%s"


def samples(text: str, count: int = 24) -> list[dict[str, np.ndarray]]:
    """Values that vary together, as those behind a layer do."""
    rng = np.random.default_rng(0)
    shape = [d.dim_value for d in parse(text).graph.input[0].type.tensor_type.shape.dim]
    axis = 1
    mix = rng.normal(size=(shape[axis], shape[axis])) @ np.diag(1 / (1 + np.arange(shape[axis])))
    found = []
    for _ in range(count):
        x = np.moveaxis(rng.normal(size=shape), axis, -1) @ mix.T
        found.append({"x": np.ascontiguousarray(np.moveaxis(x, -1, axis), np.float32)})
    return found


def error(text: str, options: tuple[object, ...], second: bool) -> float:
    """Squared error of the outputs on samples that were not measured."""
    *fit, test = samples(text)
    extra = ",round-weights-second-order,store-weights" if second else ",store-weights"
    model, _ = run(text, RECIPE % (*options, extra), data=fit, opset=21)
    (real,), (found,) = outputs(parse(text, opset=21), test), outputs(model.to_proto(), test)
    return float(np.square(found - real).sum())


@pytest.mark.parametrize("text", [TEXT, GEMM, CONV])
@pytest.mark.parametrize("options", [("int4", 16, "true"), ("int4", 0, "false")])
def test_the_error_of_the_output_falls(text: str, options: tuple[object, ...]) -> None:
    assert error(text, options, second=True) < 0.6 * error(text, options, second=False)


def test_pairs_of_bytes_keep_their_limit() -> None:
    recipe = "plan-dynamic{min_values=1},round-weights{method=mse},round-weights-second-order"
    _, ctx = run(TEXT, recipe, data=samples(TEXT), target="x86-avx2")
    codes = np.asarray(ctx.integers["w"]).astype(int)
    assert (
        np.abs(codes[0::2] + codes[1::2])[np.sign(codes[0::2]) == np.sign(codes[1::2])].max() <= 128
    )


def test_what_is_not_observed_is_left() -> None:
    text = """g (float[4,48] x, bool c) => (float[4,6] y, float[4,6] z)
        <float[48,6] w, float[48,6] v>
        { [if] y = If (c) <then_branch = left () => (float[4,6] p) { [in] p = MatMul (x, v) },
                           else_branch = right () => (float[4,6] q) { [neg] q0 = MatMul (x, w)
                                                                     [to] q = Neg (q0) }>
          [wide] z = MatMul (x, w) }"""
    recipe = RECIPE % ("int4", 16, "true", ",round-weights-second-order{columns=40}")
    _, ctx = run(text, recipe, opset=21)
    reasons = {d.node: d.reason for d in ctx.journal.declines}
    assert "sub-graphs" in reasons["in"]
    assert "shared" in reasons["wide"]
    assert not ctx.integers
    _, ctx = run(TEXT, RECIPE % ("int4", 16, "true", ",round-weights-second-order{columns=40}"),
                 opset=21)  # fmt: skip
    assert "48 values" in ctx.journal.declines[0].reason


@pytest.mark.parametrize("text", [TEXT, GEMM, CONV])
def test_channels_may_come_in_parts(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("int4", 16, "true")
    whole, nearest = (error(text, options, second=second) for second in (True, False))
    monkeypatch.setattr(round_weights_second_order, "_PART", 100)
    assert error(text, options, second=True) < min(1.3 * whole, 0.6 * nearest)
