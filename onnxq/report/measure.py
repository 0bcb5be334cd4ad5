"""Errors of a quantized model against its float original on real samples, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.quant import QParams
from onnxq.quant.measures import ErrorSums, softmax_divergence
from onnxq.report.ahead import SAMPLES, AsTheyAre, Run, some
from onnxq.report.boundary import Boundary
from onnxq.report.cumulative import Deployed, Whole, sums_of
from onnxq.report.isolated import BUDGET, Arithmetic, Isolated
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.runtime.workers import shares
from onnxq.threads import in_order

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
        divergence: by output, the sum over these rows of the divergence of their softmax (nats).
        isolated: errors of single layers and statistics of tensors; None where not measured.
    """

    tensors: dict[str, ErrorSums] = field(default_factory=dict)
    outputs: dict[str, ErrorSums] = field(default_factory=dict)
    samples: int = 0
    agree: dict[str, int] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    divergence: dict[str, float] = field(default_factory=dict)
    isolated: Isolated | None = None

    def add(self, name: str, more: ErrorSums) -> None:
        """Take in the sums of one sample at the tensor *name*."""
        held = self.tensors.get(name)
        self.tensors[name] = more if held is None else held.merge(more)

    def add_output(self, name: str, real: Any, other: Any, boundary: Boundary) -> None:
        """Take in the output *name* of both models on one sample."""
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
            more = softmax_divergence(real, other)
            self.divergence[name] = self.divergence.get(name, 0.0) + more


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
    ends: Mapping[str, str] | None = None,
    arithmetic: Arithmetic = "fake-quantized",
    given: Model | None = None,
    deployed: Model | None = None,
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
    isolated error of each layer is measured too, in the given *arithmetic* (see ``Isolated``, also
    for *ends*).
    Outputs are compared with those of *given* where it is not None: the user's model, of which
    *original* is an equalized form that may cut differently what calibration did not see.
    Where *deployed* is not None, it is *quantized* in the form that runs, with the same codes.
    Memory does not depend on the number of samples.
    """
    samples = iter(feeds)
    first = next(samples, None)
    errors = Errors()
    if first is None:
        return errors
    samples = chain([first], samples)
    workers, threads = shares(providers)
    boundary, through = boundary or {}, through or {}
    right = quantized.to_proto()
    runs = right if deployed is None or deployed is quantized else deployed.to_proto()

    def load() -> AsTheyAre:
        user = None if given is None else Session(given, providers, threads=threads, qdq=False)
        return AsTheyAre(Deployed(runs, codes, boundary, providers, threads), user)

    enough = Event()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load)
        early = some(samples, SAMPLES if workers > 1 else 0)
        running = pool.submit(lambda: loading.result().ahead(early, enough))
        try:
            left = original.to_proto()
            sums = Isolated(
                left, right, matches, first, codes=codes, ends=ends, through=through,
                arithmetic=arithmetic, providers=providers, threads=threads, budget=BUDGET,
            )  # fmt: skip
        finally:
            enough.set()
        models, ahead = loading.result(), running.result()
    errors.isolated = None if matches is None else sums
    whole: list[Whole] = []

    def work(item: Feed | Run) -> tuple[Run, Any, Any]:
        run = item if isinstance(item, Run) else models.run(item)
        return run, *sums.run(run.feed, run.other)

    items: Iterator[Feed | Run] = chain(ahead, early[len(ahead) :], samples)
    for run, found, own in in_order(work, items, workers):
        other, real = run.other, own if run.user is None else run.user
        for name in codes:
            more = sums_of(found, name)
            if more is None:  # NaN or Inf, which only arrays can leave out
                whole = whole or [Whole(left, codes, through, providers, threads)]
                more = whole[0].sums(run.feed, other)[name]
            errors.add(name, more)
        errors.samples += 1
        for name, value in real.items():
            if name in other:
                errors.add_output(name, value, other[name], boundary)
        sums.take({key: v for key, v in found.items() if not key[0].startswith("cumulative")})
    return errors
