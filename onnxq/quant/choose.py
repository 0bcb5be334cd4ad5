"""From one real range to the parameters of one tensor."""

from __future__ import annotations

import numpy as np

from onnxq.errors import OptionError
from onnxq.quant.affine import affine
from onnxq.quant.qparams import QParams
from onnxq.quant.spec import PerTensor, QuantSpec
from onnxq.quant.weights import weight_codes, weight_qparams

__all__ = ["qparams_from_range", "weight_codes", "weight_qparams"]


def qparams_from_range(low: float, high: float, spec: QuantSpec) -> QParams:
    """Scale and zero point (both rank 0) that cover ``low … high`` as *spec* says.

    Zero is always a code; ``spec.limits`` bound the range; a range without extent gets scale 1.

    Raises:
        OptionError: the range is not finite, or *spec* wants more than one scale.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise OptionError(f"no range: {low} … {high}", why="both ends must be finite, in order")
    if not isinstance(spec.granularity, PerTensor):
        raise OptionError(
            f"one range cannot give {type(spec.granularity).__name__} parameters",
            hint="granularity 'tensor' for activations",
        )
    scale, zero = affine(np.array(low), np.array(high), spec)
    return QParams(scale, zero, spec.dtype, None, spec.narrow_range)
