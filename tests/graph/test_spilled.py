from __future__ import annotations

import ml_dtypes
import numpy as np

from onnxq.graph.spilled import LARGE, Spill, Spilled


def test_large_arrays_come_back_from_one_file() -> None:
    spill = Spill()
    codes = (np.arange(LARGE + 8) % 15 - 7).astype(ml_dtypes.int4).reshape(8, -1).T
    floats = np.arange(LARGE, dtype=np.float32)
    kept = [spill.keep(codes), spill.keep(floats)]
    assert all(isinstance(k, Spilled) for k in kept)
    for one, other in zip(kept, (codes, floats), strict=True):
        found = np.asarray(one)
        assert found.dtype == other.dtype
        np.testing.assert_array_equal(found.astype(np.float32), other.astype(np.float32))
    small = np.zeros(3)
    assert spill.keep(small) is small
