"""Values that are computed when they are written, and stored tensors read without being kept.

A model larger than memory is quantized tensor after tensor: scales are few and are kept, codes are
computed from the stored floats at the moment at which they go to the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnxq.graph.dtypes import PACKED_BITS, to_onnx
from onnxq.graph.values import StoredValues


class Deferred(LazyValues):  # type: ignore[misc]
    """The value of a constant as a function, called anew for each use.

    Attributes:
        shape, dtype: of the value.
        compute: makes the value; always the same.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], compute: Callable[[], NDArray[Any]]
    ) -> None:
        self.shape, self.dtype, self.compute = shape, np.dtype(dtype), compute

    @property
    def nbytes(self) -> int:
        """Bytes of the value in a file."""
        bits = PACKED_BITS.get(to_onnx(self.dtype), 8 * self.dtype.itemsize)
        return -(-math.prod(self.shape) * bits // 8)

    def load(self) -> NDArray[Any]:
        """The value."""
        return self.compute()


def peek(constant: gs.Constant) -> NDArray[Any]:
    """The value of *constant*, read for this call alone: it is not kept in the model.

    Raises:
        ModelFileError: the stored data is damaged, or its external file is gone.
    """
    values = constant._values
    if isinstance(values, StoredValues) and values.array is None:
        return values.read()
    return values.load() if isinstance(values, LazyValues) else np.asarray(values)
