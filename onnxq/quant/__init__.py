"""Numerics without graphs: formats, parameters, rounding, ranges, error measures."""

from onnxq.quant.choose import qparams_from_range, weight_qparams
from onnxq.quant.dtypes import DTYPES, INT8, INT32, UINT8, DType, dtype, in_bytes, number_format
from onnxq.quant.qparams import QParams
from onnxq.quant.ranges import RANGE_METHODS, RangeOptions, choose_range
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
    "DTYPES", "INT8", "INT32", "RANGE_METHODS", "UINT8", "DType", "Derived", "Fixed", "Float",
    "Granularity", "PerAxis", "PerBlock", "PerTensor", "QParams", "QuantSpec", "RangeOptions",
    "Rounding", "ScaleRule", "Shared", "TensorPlan", "choose_range", "dtype", "in_bytes",
    "number_format",     "qparams_from_range", "weight_qparams",
]  # fmt: skip
