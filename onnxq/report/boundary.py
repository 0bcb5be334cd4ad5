"""Inputs and outputs of a model that are integer codes instead of floats (see ``io-dtype``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.quant import QParams, dtype
from onnxq.runtime.session import InputInfo

Feed = Mapping[str, NDArray[Any]]
Boundary = Mapping[str, QParams]

_NOTE = re.compile(r"scale=(?P<scale>[^,]+),zero_point=(?P<zero>-?\d+)")


def boundary_of(model: Model) -> dict[str, QParams]:
    """Parameters of the inputs and outputs of *model* that are codes, by name.

    They are in its metadata, as ``onnxq.input.NAME`` and ``onnxq.output.NAME``.
    """
    found = {}
    for kind, tensors in (("input", model.graph.inputs), ("output", model.graph.outputs)):
        for tensor in tensors:
            note = _NOTE.fullmatch(model.metadata.get(f"onnxq.{kind}.{tensor.name}", ""))
            if note is not None:
                found[tensor.name] = QParams(
                    np.array(note["scale"], np.float32),
                    np.array(int(note["zero"]), np.int64),
                    dtype(str(np.dtype(tensor.dtype))),
                )
    return found


def taken(feed: Feed, inputs: Sequence[InputInfo], boundary: Boundary) -> dict[str, NDArray[Any]]:
    """What a model of these *inputs* takes of *feed*: codes, where it wants codes."""
    found = {i.name: feed[i.name] for i in inputs}
    for info in inputs:
        qparams = boundary.get(info.name)
        given = found[info.name]
        if qparams is not None and info.dtype == qparams.dtype.numpy and given.dtype.kind == "f":
            found[info.name] = qparams.quantize(given)
    return found
