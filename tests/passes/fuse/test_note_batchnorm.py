from __future__ import annotations

import numpy as np

from tests.passes.stages import run

TEXT = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w, float[2] s, float[2] o, float[2] m, float[2] var>
    { [conv] c = Conv (x, w)  [bn] b = BatchNormalization <epsilon = 0.0> (c, s, o, m, var)
      [relu] y = Relu (b) }"""
WEIGHTS = {
    "s": np.array([2, -3], np.float32),
    "o": np.array([1, 0], np.float32),
    "m": np.array([5, 6], np.float32),
    "var": np.array([4, 0.25], np.float32),
}


def test_what_it_reads_and_what_it_writes() -> None:
    _, ctx = run(TEXT, "note-batchnorm,fuse-batchnorm", weights=WEIGHTS)
    assert ctx.moments.keys() == {"c", "b"}
    np.testing.assert_allclose(ctx.moments["b"], [[1, 0], [2, 3]])
    np.testing.assert_allclose(ctx.moments["c"], [[5, 6], [2, 0.5]])


def test_an_input_that_is_not_normal_is_left() -> None:
    text = TEXT.replace("c = Conv (x, w)", "c = Relu (x)")
    _, ctx = run(text, "note-batchnorm", weights=WEIGHTS)
    assert ctx.moments.keys() == {"b"}


def test_declines() -> None:
    text = TEXT.replace("<epsilon = 0.0>", "<spatial = 0>")
    _, ctx = run(text, "note-batchnorm", weights=WEIGHTS, opset=7)
    assert not ctx.moments
    assert "spatial=0" in ctx.journal.declines[0].reason
