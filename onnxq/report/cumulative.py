"""The cumulative error: the quantized model on its own values, against the float one.

The quantized model runs as it will be deployed, and hands out the codes of its layers. The float
model takes them as inputs and reduces the differences where its own tensors are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from onnxq.quant import QParams
from onnxq.quant.activations import ACTIVATIONS
from onnxq.quant.measures import ErrorSums
from onnxq.report.boundary import Boundary, taken
from onnxq.report.functions import apply
from onnxq.report.reductions import PREFIX, Reducer
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.runtime.taps import tap_arrays

Feed = Mapping[str, NDArray[Any]]
Codes = Mapping[str, tuple[str, QParams]]
Through = Mapping[str, tuple[str, float]]
Arrays = dict[str, Any]


class Deployed:
    """The quantized model, with the codes of its layers as further outputs."""

    def __init__(
        self,
        quantized: onnx.ModelProto,
        codes: Codes,
        boundary: Boundary,
        providers: Sequence[Provider],
        threads: int | None,
    ) -> None:
        self.boundary = boundary
        seen = [code for code, _ in codes.values()]
        self.session = Session(tap_arrays(copied(quantized), seen), providers, threads=threads)
        self.inputs = self.session.inputs

    def run(self, feed: Feed) -> Arrays:
        """Outputs and codes for a sample of the float model."""
        return self.session.run(taken(feed, self.inputs, self.boundary))


def code_input(tensor: str) -> str:
    """The input of the float model's graph that takes the codes of *tensor*."""
    return f"{PREFIX}codes__{tensor}"


def hand_out_cumulative(
    reducer: Reducer, tensor: str, qparams: QParams, through: tuple[str, float] | None
) -> None:
    """Reduce the error of the codes that are fed for *tensor*, behind what alone reads it."""
    code = code_input(tensor)
    known = type(qparams) is QParams
    kind = (
        helper.np_dtype_to_tensor_dtype(np.dtype(qparams.dtype.numpy))
        if known
        else onnx.TensorProto.FLOAT
    )
    reducer.model.graph.input.append(helper.make_tensor_value_info(code, kind, None))
    real = code  # a result in floats dequantizes to itself
    if known:
        zero = qparams.zero_point.astype(qparams.dtype.numpy)
        grid = [reducer.constant(qparams.scale), reducer.constant(zero)]
        attributes = {} if qparams.axis is None else {"axis": qparams.axis}
        real = reducer.node("DequantizeLinear", [code, *grid], like=tensor, **attributes)
    one, two = tensor, real
    if through is not None:
        one, two = apply(reducer, tensor, *through), apply(reducer, real, *through)
    error = reducer.node("Sub", [two, one], like=tensor)
    reducer.scalar(("cumulative signal", tensor), "ReduceSumSquare", one)
    reducer.scalar(("cumulative other", tensor), "ReduceSumSquare", two)
    reducer.scalar(("cumulative noise", tensor), "ReduceSumSquare", error)
    reducer.size(("size", tensor), tensor)


def sums_of(found: Mapping[Any, Any], tensor: str) -> ErrorSums | None:
    """The sums at *tensor* that a run has handed out; None where they are not finite.

    The largest error is not among them (NaN).
    """
    kinds = ("signal", "other", "noise")
    signal, other, noise = (float(found[f"cumulative {kind}", tensor]) for kind in kinds)
    if not np.isfinite(signal + other + noise):
        return None
    return ErrorSums(
        signal=signal,
        noise=noise,
        other=other,
        cross=(signal + other - noise) / 2,  # (x − y)² = x² + y² − 2xy
        largest=np.nan,
        count=int(found["size", tensor]),
    )


class Whole:
    """The float model with whole tensors as outputs: for samples whose sums are not finite."""

    def __init__(
        self,
        original: onnx.ModelProto,
        codes: Codes,
        through: Through,
        providers: Sequence[Provider],
        threads: int | None,
    ) -> None:
        self.codes, self.through = codes, through
        self.session = Session(
            tap_arrays(copied(original), codes), providers, threads=threads, qdq=False
        )

    def sums(self, feed: Feed, other: Mapping[str, NDArray[Any]]) -> dict[str, ErrorSums]:
        """Sums by tensor against the codes *other*; NaN and Inf are left out."""
        real = self.session.run(feed)
        found = {}
        for name, (code, qparams) in self.codes.items():
            pair = real[name], qparams.dequantize(other[code])
            if name in self.through:
                function, scale = ACTIVATIONS[self.through[name][0]], self.through[name][1]
                one, two = (np.asarray(part, np.float32) / np.float32(scale) for part in pair)
                pair = np.float32(scale) * function(one), np.float32(scale) * function(two)
            found[name] = ErrorSums()
            found[name].add(*pair)
        return found


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of *model*, to be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
