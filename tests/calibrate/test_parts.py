"""A model in parts gives the values that it gives whole."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.calibrate.parts import PartedRuns, Parts
from onnxq.graph import Model
from onnxq.runtime.session import Session
from onnxq.runtime.taps import tap_arrays
from onnxq.testing import random_feeds
from tests.passes.golden import parse

TEXT = """g (float[N,64] x, bool c) => (float[N,16] y)
    <float[64,64] u, float[64,64] v, float[64,64] w, float[64,16] o, float[64] b>
    { [one] p = MatMul (x, u)  [two] q = MatMul (p, v)  [add] r = Add (q, p)
      [which] s = If (c) <
          then_branch = t () => (float[N,64] m) { m = MatMul (r, w) },
          else_branch = e () => (float[N,64] n) { n = Add (r, b) }>
      [last] y = MatMul (s, o) }"""
TENSORS = ("p", "q", "r", "s", "y")


def runs(size: int) -> tuple[PartedRuns, list[dict[str, np.ndarray]], int]:
    source = parse(TEXT)
    feeds = [{**f, "c": np.array(i % 2 == 0)} for i, f in enumerate(random_feeds(source, 3))]
    whole = Session(tap_arrays(parse(TEXT), TENSORS))
    expected = [{**whole.run(f), "x": f["x"]} for f in feeds]
    model = Model.load(source)
    return PartedRuns(model, lambda: feeds, size=size), expected, len(Parts(model, size).parts)


@pytest.mark.parametrize(("size", "parts"), [(1, 5), (40_000, 2), (1 << 20, 1)])
def test_values_are_those_of_the_whole_model(size: int, parts: int) -> None:
    parted, expected, count = runs(size)
    assert abs(count - parts) <= 1
    for names in ([*TENSORS, "x"], ["x"], ["q"], ["p", "r"], ["s"], ["q", "y"]):  # back, too
        seen: dict[str, list[int]] = {n: [] for n in names}
        for sample, arrays in parted.values(names):
            for name, value in arrays.items():
                np.testing.assert_allclose(value, expected[sample][name], rtol=2e-5, atol=1e-4)
                seen[name].append(sample)
        assert seen == {n: [0, 1, 2] for n in names}
