from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import OptionError
from onnxq.quant import PerAxis, QuantSpec, number_format, weight_qparams
from onnxq.quant.half_quadratic import POWER

HEAVY = np.random.default_rng(0).standard_t(4, size=(500, 32)).astype(np.float32)


def errors(bits: str, method: str) -> np.ndarray:
    """Σ |error|^p of each row."""
    spec = QuantSpec(dtype=number_format(bits), symmetric=bits[0] == "i", granularity=PerAxis(0))
    found = weight_qparams(HEAVY, spec, 0, method=method)
    assert np.isin(found.zero_point, np.arange(found.qmin, found.qmax + 1)).all()
    return np.power(np.abs(found.fake(HEAVY) - HEAVY), POWER).sum(axis=1)


@pytest.mark.parametrize(("bits", "share"), [("uint4", 0.995), ("int4", 0.995), ("uint2", 0.98)])
def test_the_sum_of_powers_falls(bits: str, share: float) -> None:
    start, found = errors(bits, "mse"), errors(bits, "hqq")
    assert (found <= start * 1.0001).all(), "no row gets worse"
    assert found.sum() < share * start.sum()


def test_rows_of_zeros_and_formats_without_a_line() -> None:
    spec = QuantSpec(dtype=number_format("uint4"), granularity=PerAxis(0))
    rows = np.stack([np.zeros(8, np.float32), np.arange(8, dtype=np.float32)])
    found = weight_qparams(rows, spec, 0, method="hqq")
    assert (found.scale > 0).all() and np.abs(found.fake(rows) - rows).max() < 0.3
    floats = QuantSpec(dtype=number_format("float8"), symmetric=True, granularity=PerAxis(0))
    with pytest.raises(OptionError, match="integers"):
        weight_qparams(rows, floats, 0, method="hqq")
