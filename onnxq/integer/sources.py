"""What operators are told about their inputs while a model is lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import constant_value
from onnxq.integer.pending import Pending
from onnxq.integer.program import Codes, Value
from onnxq.integer.refuse import refused
from onnxq.integer.scales import Grid
from onnxq.quant import Rounding


@dataclass(frozen=True, eq=False)
class Constant:
    """A dequantized constant: codes less zero points, scales, and their axis where several."""

    name: str
    codes: NDArray[np.int64]
    scales: tuple[float, ...]
    axis: int | None


class Sources:
    """Values and constants that tensors stand for.

    Attributes:
        shifts: whether results are shifted alone, so that every scale is a power of two.
    """

    graph: gs.Graph
    shifts: bool
    rounding: Rounding
    values: dict[str, Value]
    constants: dict[str, Codes]
    codes: dict[str, str]
    pending: dict[str, Pending]
    weights: dict[str, Constant]

    def settle(self, tensor: gs.Tensor) -> None:
        """Write the accumulator of a pending *tensor* as it is, in 32 bits."""
        raise refused(tensor.inputs[0], "its accumulator cannot be kept")

    def between(self, pending: Pending, name: str, form: Grid | None = None) -> Value:
        """The value *name* of *pending*, which is no tensor of the model.

        Args:
            pending: one of several steps of a node.
            name: of the value.
            form: its format; that of the first input where *pending* moves codes.
        """
        raise refused(pending.node, "its steps cannot be kept")

    def value(self, tensor: gs.Tensor, node: gs.Node) -> Value:
        """The value that *tensor*, an input of *node*, stands for.

        Raises:
            UnsupportedModelError: it is none: a floating-point tensor or constant.
        """
        if tensor.name in self.pending:
            self.settle(tensor)
        if tensor.name in self.weights:
            return self._constant(self.weights[tensor.name], node)
        if tensor.name not in self.codes:
            what = "constant" if constant_value(tensor) is not None else "tensor"
            raise refused(node, f"its input '{tensor.name}' is a floating-point {what}")
        return self.values[self.codes[tensor.name]]

    def weight(self, node: gs.Node, index: int, axis: int) -> Constant:
        """The constant input *index* of *node*, its scales along *axis* or only one.

        Raises:
            UnsupportedModelError: it is no integer constant, or its scales lie along another axis.
        """
        tensor = node.inputs[index]
        found = self.weights.get(tensor.name)
        if found is None:
            kind = "floating-point" if constant_value(tensor) is not None else "not constant"
            raise refused(node, f"its weight '{tensor.name}' is {kind}")
        if found.axis is not None and found.axis % found.codes.ndim != axis:
            raise refused(node, f"the scales of '{tensor.name}' lie along axis {found.axis}, "
                          f"and its output channels along {axis}")  # fmt: skip
        return found

    def bias(self, node: gs.Node, index: int, scales: tuple[float, ...], size: int
             ) -> NDArray[np.int64]:  # fmt: skip
        """The bias of *node* in units of its accumulators, *scales*.

        Where scales are powers of two, a bias with a coarser one is widened: shifted left,
        exactly. Otherwise it is rounded.

        Raises:
            UnsupportedModelError: it does not fit into those units, or not into 32 bits.
        """
        units = np.broadcast_to(np.array(scales), (size,))
        if len(node.inputs) <= index or not node.inputs[index].name:
            return np.zeros(size, np.int64)
        tensor = node.inputs[index]
        found = self.weights.get(tensor.name)
        stored = constant_value(tensor)
        if found is not None:
            finer = np.broadcast_to(np.array(found.scales), (size,)) / units
            real = np.broadcast_to(found.codes.reshape(-1), size) * finer
        elif stored is not None:
            flat = np.broadcast_to(stored.astype(np.float64).reshape(-1), size)
            real = flat / units
        else:
            raise refused(node, f"its bias '{tensor.name}' is not constant")
        if self.shifts and np.any(real != np.rint(real)):
            raise refused(node, f"its bias '{tensor.name}' is finer than input · weight scale",
                          "the pass 'quantize-biases'")  # fmt: skip
        if np.any(np.abs(real) > (1 << 31) - 1):
            raise refused(node, f"its bias '{tensor.name}' leaves 32 bits",
                          "--granularity tensor")  # fmt: skip
        return np.asarray(np.rint(real), np.int64)

    def frame(self, tensor: gs.Tensor) -> tuple[int, ...]:
        """The shape of one frame of the model's input *tensor*.

        Raises:
            UnsupportedModelError: a dimension other than the first is free, or there is none.
        """
        shape = tensor.shape
        if not shape or any(not isinstance(d, int) or d < 1 for d in shape[1:]):
            raise refused(
                tensor.outputs[0], f"input '{tensor.name}' has the shape {shape}: only its first "
                "dimension may be free", "give the model's input a fixed shape",
            )  # fmt: skip
        if isinstance(shape[0], int) and shape[0] not in (1, -1):
            raise refused(
                tensor.outputs[0], f"input '{tensor.name}' has batches of {shape[0]}",
                "give its first dimension a name, or the size 1",
            )  # fmt: skip
        return (1, *(int(d) for d in shape[1:]))

    def constant(self, name: str, codes: NDArray[Any], scale: float) -> Value:
        """A new constant value of the program."""
        while name in self.values:
            name += "_"
        low, high = int(codes.min()), int(codes.max())
        self.values[name] = Value(name, codes.shape, codes.dtype.name, scale, 0, low, high)
        self.constants[name] = codes
        return self.values[name]

    def _constant(self, constant: Constant, node: gs.Node) -> Value:
        if constant.axis is not None:
            raise refused(node, f"'{constant.name}' has a scale for each channel")
        if constant.name not in self.values:
            low, high = int(constant.codes.min()), int(constant.codes.max())
            fits = ("int8", "uint8", "int16", "int32")
            dtype = next(t for t in fits
                         if np.iinfo(t).min <= low and high <= np.iinfo(t).max)  # fmt: skip
            value = Value(constant.name, constant.codes.shape, dtype, constant.scales[0], 0,
                          low, high)  # fmt: skip
            self.values[constant.name] = value
            self.constants[constant.name] = constant.codes.astype(dtype)
        return self.values[constant.name]
