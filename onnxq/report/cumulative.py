"""The cumulative error at every matching tensor, in one run of both models.

Both models stand in one graph and differences are reduced there. The quantized one runs on its own
values and on the integer kernels that will be deployed: its codes are read off beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.quant import QParams
from onnxq.quant.activations import ACTIVATIONS
from onnxq.quant.measures import ErrorSums
from onnxq.report.boundary import Boundary, taken
from onnxq.report.functions import apply
from onnxq.report.joining import join
from onnxq.report.reductions import Reducer, Shape
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import InputInfo, Session
from onnxq.runtime.taps import tap_arrays

Feed = Mapping[str, NDArray[Any]]
Codes = Mapping[str, tuple[str, QParams]]
Through = Mapping[str, tuple[str, float]]

#: What one sample gives: sums by tensor, and the outputs of both models by name.
Found = tuple[dict[str, ErrorSums], dict[str, Any], dict[str, Any]]


class Joined:
    """Both models in one session; sums leave it, and the outputs."""

    def __init__(
        self,
        original: onnx.ModelProto,
        quantized: onnx.ModelProto,
        codes: Codes,
        boundary: Boundary,
        through: Through,
        shapes: Mapping[str, Shape],
        *,
        providers: Sequence[Provider] = (),
        threads: int | None = None,
    ) -> None:
        model, names = join(original, quantized)
        self.boundary, self.codes = boundary, codes
        self.outputs = {o.name: names[o.name] for o in original.graph.output if o.name in names}
        self.reducer = Reducer(model, shapes, vary=True)
        for tensor, (code, qparams) in codes.items():
            self._reduce(tensor, names[code], qparams, through.get(tensor))
        self.sums = self.reducer.finish() if codes else None
        self.session = Session(model, providers, threads=threads, plan_memory=False)
        # inputs that the quantized model has for itself: codes instead of floats
        self.own = [i for i in self.session.inputs if i.name not in _inputs(original)]
        self.plain = [i for i in self.session.inputs if i.name in _inputs(original)]
        self.old = {new: old for old, new in names.items()}

    def _reduce(
        self, tensor: str, code: str, qparams: QParams, through: tuple[str, float] | None
    ) -> None:
        reducer = self.reducer
        reducer.section()
        if type(qparams) is QParams:
            zero = qparams.zero_point.astype(qparams.dtype.numpy)
            grid = [reducer.constant(qparams.scale), reducer.constant(zero)]
            attributes = {} if qparams.axis is None else {"axis": qparams.axis}
            real = reducer.node("DequantizeLinear", [code, *grid], like=tensor, **attributes)
        else:  # a result in floats, which dequantizes to itself
            real = reducer.node("Cast", [code], like=tensor, to=onnx.TensorProto.FLOAT)
        pair = tensor, real
        if through is not None:
            pair = apply(reducer, tensor, *through), apply(reducer, real, *through)
        one, two = pair
        error = reducer.node("Sub", [two, one], like=tensor)
        reducer.scalar(("signal", tensor), "ReduceSumSquare", one)
        reducer.scalar(("other", tensor), "ReduceSumSquare", two)
        reducer.scalar(("noise", tensor), "ReduceSumSquare", error)
        reducer.scalar(("low", tensor), "ReduceMin", error)
        reducer.scalar(("high", tensor), "ReduceMax", error)
        reducer.size(("count", tensor), tensor)

    def run(self, feed: Feed) -> Found | None:
        """Sums and outputs of both models on *feed*; None where sums are not finite."""
        given = {i.name: feed[i.name] for i in self.plain}
        if self.own:
            old = [InputInfo(self.old[i.name], i.dtype, i.shape) for i in self.own]
            found = taken(feed, old, self.boundary)
            given |= {i.name: found[o.name] for i, o in zip(self.own, old, strict=True)}
        values = self.session.run(given)
        real = {name: values[name] for name in self.outputs}
        other = {name: values[mine] for name, mine in self.outputs.items()}
        if self.sums is None:
            return {}, real, other
        flat = self.reducer.read(values[self.sums])
        if not all(map(np.isfinite, flat.values())):
            return None
        return {tensor: _sums(flat, tensor) for tensor in self.codes}, real, other


def _sums(flat: Mapping[Any, float], tensor: str) -> ErrorSums:
    signal, other, noise = (flat[kind, tensor] for kind in ("signal", "other", "noise"))
    return ErrorSums(
        signal=signal,
        noise=noise,
        other=other,
        cross=(signal + other - noise) / 2,  # (x − y)² = x² + y² − 2xy
        largest=max(-flat["low", tensor], flat["high", tensor]),
        count=int(flat["count", tensor]),
    )


def _inputs(model: onnx.ModelProto) -> set[str]:
    return {i.name for i in model.graph.input}


class Separate:
    """Two sessions whose tensors are compared outside: where the models cannot be joined."""

    def __init__(
        self,
        original: onnx.ModelProto,
        quantized: onnx.ModelProto,
        codes: Codes,
        boundary: Boundary,
        through: Through,
        *,
        providers: Sequence[Provider] = (),
        threads: int | None = None,
    ) -> None:
        self.codes, self.boundary, self.through = codes, boundary, through
        self.outputs = [o.name for o in original.graph.output]
        self.left = Session(tap_arrays(_copy(original), codes), providers, threads=threads)
        seen = [code for code, _ in codes.values()]
        self.right = Session(tap_arrays(_copy(quantized), seen), providers, threads=threads)
        self.inputs = [i.name for i in self.left.inputs], self.right.inputs

    def run(self, feed: Feed) -> Found:
        """Sums and outputs of both models on *feed*; NaN and Inf are left out."""
        real = self.left.run(feed)
        other = self.right.run(taken(feed, self.inputs[1], self.boundary))
        found = {}
        for name, (code, qparams) in self.codes.items():
            pair = real[name], qparams.dequantize(other[code])
            if name in self.through:
                function, scale = ACTIVATIONS[self.through[name][0]], self.through[name][1]
                one, two = (np.asarray(part, np.float32) / np.float32(scale) for part in pair)
                pair = np.float32(scale) * function(one), np.float32(scale) * function(two)
            found[name] = ErrorSums()
            found[name].add(*pair)
        return found, real, {n: other[n] for n in self.outputs if n in other}


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
