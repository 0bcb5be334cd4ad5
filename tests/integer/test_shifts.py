"""Requantization by shift, against exact fractions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.integer.shifts import shift_right
from onnxq.quant import Rounding
from onnxq.quant.rounding import round_to_integer

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


@pytest.mark.parametrize("rounding", Rounding)
@given(INT32, st.integers(-20, 31))
def test_is_the_rounded_quotient(rounding: Rounding, acc: int, n: int) -> None:
    exact = round_to_integer(np.array(acc / 2.0**n), rounding)  # float64 holds both exactly
    assert int(shift_right(np.array(acc), np.array(n), rounding)) == int(exact)


@given(INT32, st.integers(1, 31))
def test_half_up_adds_half_before_the_shift(acc: int, n: int) -> None:
    found = int(shift_right(np.array(acc), np.array(n), Rounding.HALF_UP))
    assert found == (acc + (1 << (n - 1))) >> n


@given(INT32, st.integers(0, 31))
def test_floor_is_the_plain_shift(acc: int, n: int) -> None:
    assert int(shift_right(np.array(acc), np.array(n), Rounding.FLOOR)) == acc >> n
