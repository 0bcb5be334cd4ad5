"""Golden test of equalize-exits."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph import Model, constant_value
from onnxq.runtime.session import Session
from tests.passes.golden import parse
from tests.passes.plan.borders import DATA, EMIT, PLAN, TEXT, WEIGHTS, C, noise
from tests.passes.stages import run


def node_of(model: Model, name: str):
    return next(n for n in model.nodes() if n.name == name)


def test_match() -> None:
    model, ctx = run(TEXT, f"{PLAN},equalize-exits", weights=WEIGHTS, data=DATA)
    added = [n for n in model.nodes() if n.op == "Mul"]
    assert added[0].inputs[0].inputs[0].name == "first"
    k = constant_value(added[0].inputs[1])
    assert k is not None and k.shape == (1, C, 1, 1)
    np.testing.assert_allclose(
        constant_value(node_of(model, "first").inputs[1]),
        WEIGHTS["w"] / k.reshape(-1, 1, 1, 1), rtol=1e-5,
    )  # fmt: skip
    a = added[0].inputs[0].name
    assert a in ctx.plan.tensors and added[0].outputs[0].name not in ctx.plan.tensors
    feed = DATA[0]
    one = Session(parse(TEXT, WEIGHTS)).run(feed)["y"]
    two = Session(model.to_proto()).run(feed)["y"]
    np.testing.assert_allclose(two, one, atol=1e-4 * np.abs(one).max())


def test_channels_have_steps_of_their_own() -> None:
    """Narrow channels that count are no longer lost, and no node more runs."""
    wanted = Session(parse(TEXT, WEIGHTS)).run(DATA[0])
    plain, _ = run(TEXT, f"{PLAN},{EMIT}", weights=WEIGHTS, data=DATA)
    even, _ = run(TEXT, f"{PLAN},equalize-exits,{EMIT}", weights=WEIGHTS, data=DATA)
    before, after = (noise(Session(m.to_proto()).run(DATA[0]), wanted) for m in (plain, even))
    assert after < before / 10
    assert "Mul" not in {n.op for n in even.nodes()}


@pytest.mark.parametrize(
    ("change", "target", "reason"),
    [
        (("Tanh (a)", "Tanh (x)"), "openvino", None),
        (("[float2] r = Add (a, h)", "[float2] r = Conv (a, v)"), "x86", None),
        (("a = Conv (x, w, b)", "q = Conv (x, w, b)  a = Clip (q, low, high)"), "x86", "end at"),
        (
            ("h = Tanh (a)  [float2] r = Add (a, h)", "h = GlobalAveragePool (a) r = Add (x, h)"),
            "x86",
            "averages of 256",
        ),
        (("r = Add (a, h)", "s = Mul (a, k)  r = Add (s, h)"), "x86", "there already"),
    ],
    ids=["other runtime", "integers read it", "clip", "averages", "a factor"],
)
def test_declines(change: tuple[str, str], target: str, reason: str | None) -> None:
    more = "<float low = {-1}, float high = {6}, float[1,8,1,1] k, float[8,8,1,1] w,"
    text = TEXT.replace(*change).replace("<float[8,8,1,1] w,", more)
    given = {**WEIGHTS, "k": np.full((1, C, 1, 1), 2, np.float32)}
    _, ctx = run(text, f"{PLAN},equalize-exits", weights=given, data=DATA, target=target)
    assert not any(name.startswith("a__") for name in ctx.plan.tensors)
    assert reason is None or any(
        d.node == "first" and reason in d.reason for d in ctx.journal.declines
    )


def test_even_channels_decline() -> None:
    even = {**WEIGHTS, "w": np.ones_like(WEIGHTS["w"]), "b": np.zeros(C, np.float32)}
    _, ctx = run(TEXT, f"{PLAN},equalize-exits", weights=even, data=DATA)
    assert any(d.node == "first" and "within 1.25:1" in d.reason for d in ctx.journal.declines)
