"""Errors of a quantized model against its float original on real samples, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.quant import QParams
from onnxq.quant.measures import ErrorSums
from onnxq.report.boundary import Boundary
from onnxq.report.cumulative import Found, Joined, Separate
from onnxq.report.isolated import Arithmetic, Isolated
from onnxq.report.joining import joinable
from onnxq.report.parts import shapes_for
from onnxq.runtime.providers import Provider
from onnxq.runtime.workers import in_order, shares

Feed = Mapping[str, NDArray[Any]]
Through = Mapping[str, tuple[str, float]]


@dataclass
class Errors:
    """Accumulated errors.

    Attributes:
        tensors: cumulative, by tensor name of the float model.
        outputs: by output name.
        samples: how many samples were run.
        agree, decided: how many rows of the outputs have the same largest entry, of how many.
        isolated: errors of single layers and statistics of tensors; None where not measured.
    """

    tensors: dict[str, ErrorSums] = field(default_factory=dict)
    outputs: dict[str, ErrorSums] = field(default_factory=dict)
    samples: int = 0
    agree: dict[str, int] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    isolated: Isolated | None = None

    def add(self, found: Found, boundary: Boundary) -> None:
        """Take in one sample."""
        sums, real, other = found
        self.samples += 1
        for name, more in sums.items():
            held = self.tensors.get(name)
            self.tensors[name] = more if held is None else held.merge(more)
        for name in real:
            if name in other:
                self._output(name, real[name], other[name], boundary)

    def _output(self, name: str, real: Any, other: Any, boundary: Boundary) -> None:
        if not isinstance(real, np.ndarray):  # a sequence, or an optional that is empty
            return
        if name in boundary and other.dtype == boundary[name].dtype.numpy:
            other = boundary[name].dequantize(other)
        if real.dtype.kind != "f" or real.shape != other.shape:
            return
        self.outputs.setdefault(name, ErrorSums()).add(real, other.astype(np.float32))
        if real.ndim >= 2 and real.shape[-1] > 1:
            same = real.argmax(-1) == other.argmax(-1)
            self.agree[name] = self.agree.get(name, 0) + int(same.sum())
            self.decided[name] = self.decided.get(name, 0) + same.size


def measure(
    original: Model,
    quantized: Model,
    codes: Mapping[str, tuple[str, QParams]],
    feeds: Iterable[Feed],
    *,
    boundary: Boundary | None = None,
    through: Through | None = None,
    providers: Sequence[Provider] = (),
    matches: Mapping[str, str] | None = None,
    arithmetic: Arithmetic = "fake-quantized",
) -> Errors:
    """Run both models on *feeds* and add up the error at every matching tensor.

    *codes* maps a tensor of *original* to the tensor of *quantized* that holds its integer codes
    and their parameters: integers are read off, so that the groups that the runtime fuses stay
    whole and the very kernels that will be deployed are measured. The quantized model runs on its
    own inputs throughout: errors are cumulative. Where it takes or gives integer codes (see
    ``io-dtype``), *boundary* has their parameters by the names of its inputs and outputs.
    Where an activation function is all that reads a tensor, *through* has its name and
    the s of s · f(x / s) by the tensor's: what counts, and is measured, is the error behind it.

    Where *matches* maps tensors of *quantized* to those of *original* with the same values, the
    isolated error of each layer is measured too, in the given *arithmetic* (see ``Isolated``).
    Memory does not depend on the number of samples.
    """
    samples = iter(feeds)
    first = next(samples, None)
    errors = Errors()
    if first is None:
        return errors
    workers, threads = shares(providers)
    run = _Run(
        original.to_proto(), quantized.to_proto(), codes, boundary or {}, through or {},
        first, tuple(providers), threads,
    )  # fmt: skip
    if matches is not None:
        errors.isolated = Isolated(
            run.original, run.quantized, matches, first, through=through, arithmetic=arithmetic,
            providers=providers, threads=threads,
        )  # fmt: skip
    twins = errors.isolated

    def work(feed: Feed) -> tuple[Found, Any]:
        return run.found(feed), None if twins is None else twins.run(feed)

    for found, apart in in_order(work, chain([first], samples), workers):
        errors.add(found, run.boundary)
        if twins is not None:
            twins.take(apart)
    return errors


@dataclass
class _Run:
    """The sessions that cumulative errors need, made where they are needed first."""

    original: onnx.ModelProto
    quantized: onnx.ModelProto
    codes: Mapping[str, tuple[str, QParams]]
    boundary: Boundary
    through: Through
    first: Feed
    providers: tuple[Provider, ...]
    threads: int | None

    def __post_init__(self) -> None:
        self.joined = self._joined()

    def found(self, feed: Feed) -> Found:
        """Sums and outputs on *feed*, NaN and Inf left out."""
        found = None if self.joined is None else self.joined.run(feed)
        return self.separate.run(feed) if found is None else found

    def _joined(self) -> Joined | None:
        if not joinable(self.original, self.quantized):
            return None
        return Joined(
            self.original, self.quantized, self.codes, self.boundary, self.through,
            shapes_for(self.original, self.first),
            providers=self.providers, threads=self.threads,
        )  # fmt: skip

    @cached_property
    def separate(self) -> Separate:
        return Separate(
            self.original, self.quantized, self.codes, self.boundary, self.through,
            providers=self.providers, threads=self.threads,
        )  # fmt: skip
