"""Error of a quantized model against its float original, tensor by tensor, on real samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.quant import QParams
from onnxq.quant.activations import ACTIVATIONS
from onnxq.quant.measures import ErrorSums
from onnxq.report.boundary import Boundary, taken
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.runtime.taps import tap_arrays

Feed = Mapping[str, NDArray[Any]]


@dataclass
class Errors:
    """Accumulated errors.

    Attributes:
        tensors: by tensor name of the float model.
        outputs: by output name.
        samples: how many samples were run.
        agree, decided: how many rows of the outputs have the same largest entry, of how many.
    """

    tensors: dict[str, ErrorSums] = field(default_factory=dict)
    outputs: dict[str, ErrorSums] = field(default_factory=dict)
    samples: int = 0
    agree: dict[str, int] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)


def measure(
    original: Model,
    quantized: Model,
    codes: Mapping[str, tuple[str, QParams]],
    feeds: Iterable[Feed],
    *,
    boundary: Boundary | None = None,
    through: Mapping[str, tuple[str, float]] | None = None,
    providers: Sequence[Provider] = (),
) -> Errors:
    """Run both models on *feeds* and add up the error at every matching tensor.

    *codes* maps a tensor of *original* to the tensor of *quantized* that holds its integer codes
    and their parameters: integers are read off, so that the groups that the runtime fuses stay
    whole and the very kernels that will be deployed are measured. The quantized model runs on its
    own inputs throughout: errors are cumulative. Where it takes or gives integer codes (see
    ``io-dtype``), *boundary* has their parameters by the names of its inputs and outputs.
    Where an activation function is all that reads a tensor, *through* has its name and
    the s of s · f(x / s) by the tensor's: what counts, and is measured, is the error behind it.
    """
    boundary, through = boundary or {}, through or {}
    outputs = [t.name for t in original.graph.outputs]
    left = Session(tap_arrays(original.to_proto(), codes), providers)
    seen = [code for code, _ in codes.values()]
    right = Session(tap_arrays(quantized.to_proto(), seen), providers)
    errors = Errors()
    for feed in feeds:
        reference, found = left.run(feed), right.run(taken(feed, right.inputs, boundary))
        errors.samples += 1
        for name, (code, qparams) in codes.items():
            sums = errors.tensors.setdefault(name, ErrorSums())
            pair = reference[name], qparams.dequantize(found[code])
            if name in through:
                function, scale = ACTIVATIONS[through[name][0]], np.float32(through[name][1])
                one, two = (np.asarray(part, np.float32) / scale for part in pair)
                pair = scale * function(one), scale * function(two)
            sums.add(*pair)
        for name in outputs:
            real: Any = reference[name]
            other: Any = found[name]
            if not isinstance(real, np.ndarray):  # a sequence, or an optional that is empty
                continue
            if name in boundary and other.dtype == boundary[name].dtype.numpy:
                other = boundary[name].dequantize(other)
            if real.dtype.kind != "f" or real.shape != other.shape:
                continue
            errors.outputs.setdefault(name, ErrorSums()).add(real, other.astype(np.float32))
            if real.ndim >= 2 and real.shape[-1] > 1:
                same = real.argmax(-1) == other.argmax(-1)
                errors.agree[name] = errors.agree.get(name, 0) + int(same.sum())
                errors.decided[name] = errors.decided.get(name, 0) + same.size
    return errors
