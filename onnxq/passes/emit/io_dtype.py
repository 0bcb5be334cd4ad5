"""io-dtype: let the model take and give integer codes instead of floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import OptionError
from onnxq.graph import Model, consumers, producer, remove_node
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import dtype


@dataclass(frozen=True, kw_only=True)
class IoDtype(Pass):
    """Take the quantization off the model's boundary.

    What it does
        Where a graph input is read by one QuantizeLinear alone, that node is removed and the input
        becomes an integer tensor; where a graph output is written by a DequantizeLinear, likewise.
        Scale and zero point go into the model's metadata as ``onnxq.input.NAME`` and
        ``onnxq.output.NAME``.

    Why
        On a device the sensor gives bytes and the next stage reads bytes; converting to floats and
        back costs time and needs a floating-point unit.

    Example
        ``io-dtype{dtype=uint8}``

    When it declines
        An input or output that is not quantized to this format keeps its float type.

    Numerics
        None: the same codes, handed over directly.

    Source
        Requests by users of onnxruntime's quantizer, which has no such option.

    Attributes:
        dtype: ``uint8`` or ``int8``.
    """

    name: ClassVar[str] = "io-dtype"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None
    changes_interface: ClassVar[bool] = True

    dtype: str = "uint8"

    def run(self, model: Model, ctx: Context) -> None:
        wanted = dtype(self.dtype)
        if wanted.name not in ("uint8", "int8"):
            raise OptionError(f"io-dtype: {wanted} is not possible", hint="uint8 or int8")
        for index, tensor in enumerate(model.graph.inputs):
            users = [node for node, _ in consumers(tensor)]
            if len(users) != 1 or users[0].op != "QuantizeLinear" or model.is_output(tensor):
                ctx.decline(tensor.name, "input is not read by one QuantizeLinear alone")
                continue
            if not self._fits(users[0], wanted.numpy, tensor.name, ctx):
                continue
            codes = users[0].outputs[0]
            _note(model, f"onnxq.input.{tensor.name}", users[0])
            remove_node(model, users[0])
            shape, name = tensor.shape, tensor.name
            codes.name, codes.dtype, codes.shape = name, np.dtype(wanted.numpy), shape
            model.graph.inputs[index] = codes
        for index, tensor in enumerate(model.graph.outputs):
            above = producer(tensor)
            if above is None or above.op != "DequantizeLinear" or consumers(tensor):
                ctx.decline(tensor.name, "output is not written by a DequantizeLinear")
                continue
            if not self._fits(above, wanted.numpy, tensor.name, ctx):
                continue
            codes, shape, name = above.inputs[0], tensor.shape, tensor.name
            _note(model, f"onnxq.output.{name}", above)
            remove_node(model, above)
            codes.name, codes.dtype, codes.shape = name, np.dtype(wanted.numpy), shape
            model.graph.outputs[index] = codes

    def _fits(self, node: gs.Node, wanted: np.dtype[np.generic], name: str, ctx: Context) -> bool:
        found = np.dtype(node.inputs[2].dtype)
        if found != wanted:
            ctx.decline(name, f"its codes are {found}, not {wanted}")
        return bool(found == wanted)


def _note(model: Model, key: str, node: gs.Node) -> None:
    """Write the scale and zero point of *node* into the metadata."""
    scale, zero = (float(np.asarray(t.values).reshape(())) for t in node.inputs[1:3])
    model.metadata[key] = f"scale={np.float32(scale)!s},zero_point={int(zero)}"
