from __future__ import annotations

import numpy as np

from onnxq.calibrate.driver import calibrate
from onnxq.calibrate.patch_samples import PatchSamples
from onnxq.quant.patches import Columns, finite_patches
from tests.passes.golden import parse

MODEL = "g (float[2,3] x) => (float[2,3] y) { m = Relu(x)  y = Neg(m) }"
FEEDS = [{"x": np.full((2, 3), i + 1, np.float32)} for i in range(40)]


def test_only_the_first_samples_are_kept() -> None:
    """However they come: all at once, in shards, in a run that goes on for others."""
    some, all_ = PatchSamples(Columns(), first=18), PatchSamples(Columns())
    model = parse(MODEL)
    found = calibrate(model, {"m": (some, all_)}, FEEDS).states["m"]
    assert [sample for sample, _ in found[some]] == [*range(18)]
    assert len(found[all_]) == 40
    for (_, one), (_, other) in zip(found[some], found[all_], strict=False):
        np.testing.assert_array_equal(one, other)
    shards = [
        calibrate(model, {"m": (some,)}, feeds, first_sample=i).get("m", some)
        for i, feeds in ((0, FEEDS[:10]), (10, FEEDS[10:]))
    ]
    assert [sample for sample, _ in some.merge(*shards)] == [*range(18)]
    alone = calibrate(model, {"m": (some,)}, FEEDS)
    assert alone.samples == 32, "asked every 16 samples, and stopped"


def test_patches_with_values_that_are_not_finite_are_left_out() -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(finite_patches(Columns(), x, 9), x[None])
    x[1, 2], x[3, 0] = np.nan, np.inf
    np.testing.assert_array_equal(finite_patches(Columns(), x, 9), x[None, [0, 2]])
