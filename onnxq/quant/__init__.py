"""Numerics without graphs: formats, parameters, rounding, ranges, error measures."""

from onnxq.quant.dtypes import DTYPES, INT8, INT32, UINT8, DType, dtype
from onnxq.quant.qparams import QParams
from onnxq.quant.spec import (
    Derived,
    Fixed,
    Float,
    Granularity,
    PerAxis,
    PerBlock,
    PerTensor,
    QuantSpec,
    Rounding,
    ScaleRule,
    Shared,
    TensorPlan,
)

__all__ = [
    "DTYPES", "INT8", "INT32", "UINT8", "DType", "Derived", "Fixed", "Float", "Granularity",
    "PerAxis", "PerBlock", "PerTensor", "QParams", "QuantSpec", "Rounding", "ScaleRule", "Shared",
    "TensorPlan", "dtype",
]  # fmt: skip
