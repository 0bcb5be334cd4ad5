"""Types and shapes of every intermediate tensor, measured on one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxq.graph import Model
from onnxq.runtime.session import Session
from onnxq.runtime.taps import PREFIX, computed, drop_outputs
from onnxq.runtime.types import element_types, inferred

_NO_SHAPE = (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2)


@dataclass(frozen=True)
class TensorInfo:
    """A measured tensor.

    Attributes:
        dtype: ONNX element type, a value of ``onnx.TensorProto.DataType``.
        shape: its shape on the sample.
    """

    dtype: int
    shape: tuple[int, ...]


def probe(model: Model, feed: Mapping[str, NDArray[Any]]) -> dict[str, TensorInfo]:
    """Type and shape of each tensor of the main graph, by name, from one run on *feed*.

    Inputs are included, constants are not. Shapes are taken inside the run (operator Shape), so
    that no value leaves it. What is no tensor (sequences, optionals, maps) is left out, and so are
    codes of float8, of which ONNX Runtime knows no shapes.

    Raises:
        UnsupportedModelError, DataError: ONNX Runtime cannot load the model, or run the sample.
    """
    proto = model.to_proto()
    names = list(computed(proto))
    not_tensors = {n for n, t in inferred(proto).items() if t.WhichOneof("value") != "tensor_type"}
    names = [n for n in names if n not in not_tensors]
    kinds = element_types(proto, names)
    names = [n for n in names if kinds[n] and kinds[n] not in _NO_SHAPE]
    taps = {n: f"{PREFIX}shape__{n}" for n in names}
    for name, tap in taps.items():
        proto.graph.node.append(helper.make_node("Shape", [name], [tap], tap))
        proto.graph.output.append(helper.make_tensor_value_info(tap, TensorProto.INT64, [None]))
    session = Session(drop_outputs(proto, list(taps.values())), optimize=False)
    found = session.run(feed, list(taps.values()))
    facts = {
        name: TensorInfo(_kind(np.asarray(value)), tuple(np.shape(value)))
        for name, value in feed.items()
    }
    for name, tap in taps.items():
        facts[name] = TensorInfo(kinds[name], tuple(int(d) for d in found[tap]))
    return facts


def _kind(value: NDArray[Any]) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(value.dtype))
