import decimal

import numpy as np
import pytest

from onnxq.quant import INT8, QParams, Rounding
from onnxq.quant.rounding import quantize, round_to_integer

DECIMAL = {
    Rounding.NEAREST_EVEN: decimal.ROUND_HALF_EVEN,
    Rounding.HALF_AWAY: decimal.ROUND_HALF_UP,
    Rounding.FLOOR: decimal.ROUND_FLOOR,
    Rounding.CEIL: decimal.ROUND_CEILING,
    Rounding.TOWARD_ZERO: decimal.ROUND_DOWN,
}
JUST_BELOW = float(np.nextafter(np.float32(0.5), np.float32(0)))
VALUES = [0.0, 0.3, 0.5, 0.7, 1.5, 2.5, 3.49, 126.5, JUST_BELOW, 8388609.0, 4194303.75]
X = np.array([s * v for v in VALUES for s in (1, -1)], np.float32)


@pytest.mark.parametrize("mode", DECIMAL, ids=str)
def test_modes_agree_with_decimal_arithmetic(mode):
    expected = [
        float(decimal.Decimal(float(v)).quantize(decimal.Decimal(1), DECIMAL[mode])) for v in X
    ]
    np.testing.assert_array_equal(round_to_integer(X, mode), expected)


def test_half_up_and_half_down_differ_on_ties_alone():
    x = np.array([-1.5, -0.5, 0.5, 1.5, 0.4, 0.6], np.float32)
    assert round_to_integer(x, Rounding.HALF_UP).tolist() == [-1, 0, 1, 2, 0, 1]
    assert round_to_integer(x, Rounding.HALF_DOWN).tolist() == [-2, -1, 0, 1, 0, 1]


def test_codes_are_rounded_before_the_zero_point_is_added():
    qparams = QParams(np.array(1.0, np.float32), np.array(1), INT8)
    x = np.array([0.5, 1.5, -0.5, 200.0], np.float32)
    assert quantize(x, qparams, Rounding.NEAREST_EVEN).tolist() == [1, 3, 1, 127]
    assert quantize(x, qparams, Rounding.HALF_UP).tolist() == [2, 3, 1, 127]
