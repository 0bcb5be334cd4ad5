"""A few values far from the others do not rule; weights count as copies do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.quant.robust import typical, weighted_median

VALUES = st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 4)), min_size=1, max_size=12)


@given(VALUES)
def test_weights_count_as_copies_do(rows: list[tuple[int, int]]) -> None:
    values, weights = (np.array(part, float)[:, None] for part in zip(*rows, strict=True))
    copies = np.repeat(values, weights[:, 0].astype(int), axis=0)
    if len(copies):
        assert weighted_median(values, weights)[0] == np.median(copies)
        one, all_ = typical(values, weights), typical(copies, np.ones_like(copies))
        np.testing.assert_allclose(one, all_, rtol=1e-9, atol=1e-9)
    else:
        assert typical(values, weights) == (0, 0)


def test_far_values_count_up_to_a_limit() -> None:
    values = np.array([[1.0], [2.0], [3.0], [4.0], [1e9]])
    mean, variance = typical(values, np.ones_like(values))
    assert mean[0] == pytest.approx((1 + 2 + 3 + 4 + 5) / 5)
    assert variance[0] == pytest.approx(2.0)
