"""What each layer does to the outputs: quantized alone, and kept in float alone.

Measured on the switchable graph, on a few samples, layers with the largest noise of their own
first, until a time budget is used up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise, product
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.errors import OptionError
from onnxq.quant.measures import ErrorSums
from onnxq.report.groups import Group
from onnxq.report.outcome import Effect, Outcome, noise_of
from onnxq.report.parts import shapes_for
from onnxq.report.segments import Chain, Segments
from onnxq.report.switches import switchable
from onnxq.runtime.providers import Provider
from onnxq.runtime.types import inferred
from onnxq.runtime.workers import shares
from onnxq.threads import in_order

Feed = Mapping[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]
#: A user's measure: the float model's outputs on one sample and the quantized one's, by name.
Metric = Callable[[Outputs, Outputs], float]
Switches = NDArray[np.bool_]
Clock = Callable[[], float]

#: Multiply-accumulates below which a network is not cut: a run takes less than what cutting costs.
_SMALL = 5_000_000


class Sensitivity:
    """The switchable graph of a quantized model, ready to be measured on *samples*.

    Args:
        original: the float model.
        groups: the groups of the quantized model.
        values: constants of the quantized model, see ``switchable``.
        samples: what to measure on.
        macs: by node, its multiply-accumulates, as far as they are known.
        metric: a measure of the user's.

    Attributes:
        groups: the layers that can be switched, in the graph's order.
        fixed: those that cannot.
        index: by node, the position of its layer in *groups*.
        whole: the outcome with all layers quantized.

    Raises:
        UnsupportedModelError, DataError: ONNX Runtime cannot load or run the graph.
        OptionError: the metric fails.
    """

    def __init__(
        self,
        original: onnx.ModelProto,
        groups: Sequence[Group],
        values: Mapping[str, NDArray[Any]],
        samples: Sequence[Feed],
        macs: Mapping[str, float],
        *,
        metric: Metric | None = None,
        providers: Sequence[Provider] = (),
    ) -> None:
        graph = switchable(original, groups, values)
        self.groups, self.fixed = graph.groups, graph.fixed
        self.index = {g.node: k for k, g in enumerate(self.groups)}
        self.samples, self.metric = samples, metric
        self.workers, threads = shares(providers)
        first = samples[0]
        sizes = [{k: np.shape(v) for k, v in s.items()} for s in samples]
        shapes = shapes_for(original, first)
        self.costs = [
            max(macs.get(g.node, 0), prod(shapes.get(g.result, (1,)))) for g in self.groups
        ]
        kinds = {
            n: k.tensor_type.elem_type for n, k in inferred(original).items()
            if k.WhichOneof("value") == "tensor_type" and k.tensor_type.elem_type
        }  # fmt: skip
        self.segments = Segments(
            graph, self.costs, shapes if all(s == sizes[0] for s in sizes) else {}, kinds,
            most=8 if sum(self.costs) > _SMALL else 1, providers=providers, threads=threads,
        )  # fmt: skip
        off, on = np.zeros((2, len(self.groups)), bool)
        on[:] = True
        self.off, self.on = off, on

        self._ideal: float | None = None

        def chains(feed: Feed) -> tuple[Chain, Chain]:
            return self.segments.chain(feed, off), self.segments.chain(feed, on)

        self._chains = list(in_order(chains, samples, self.workers))
        if metric is not None:
            pairs = [(c[0].outputs, c[0].outputs) for c in self._chains]
            self._ideal = float(np.mean([self._metric(*pair) for pair in pairs]))
        (self.whole,) = self.outcomes([on])

    def outcomes(self, settings: Iterable[Switches]) -> Iterator[Outcome]:
        """The outcome of each of *settings*, in order; samples run side by side."""
        jobs = product_of(settings, range(len(self.samples)))
        found = in_order(lambda job: self._outputs(*job), jobs, self.workers)
        for part in found:
            outcome = Outcome(ideal=self._ideal)
            metrics: list[float] = []
            parts = chain([part], (next(found) for _ in range(len(self.samples) - 1)))
            for real, other in parts:
                sums = {n: ErrorSums() for n, v in real.items() if _comparable(v, other.get(n))}
                for name, more in sums.items():
                    more.add(real[name], other[name])
                    outcome.sums[name] = outcome.sums.get(name, ErrorSums()).merge(more)
                outcome.losses.append(noise_of(sums))
                if self.metric is not None:
                    metrics.append(self._metric(real, other))
                    outcome.losses[-1] = abs(metrics[-1] - (self._ideal or 0.0))
            outcome.metric = float(np.mean(metrics)) if metrics else None
            yield outcome

    def effects(self, nodes: Sequence[str], deadline: float, clock: Clock) -> dict[str, Effect]:
        """What each of *nodes* does, in their order, as many as begin before *deadline*."""

        def settings() -> Iterator[Switches]:
            for node in nodes:
                if clock() >= deadline:
                    return
                yield self.only(node)
                yield self.without((node,))

        outcomes = self.outcomes(settings())
        return {
            node: Effect(alone, without)
            for node, alone, without in zip(nodes, outcomes, outcomes, strict=False)
        }

    def forecast(
        self, noise: Mapping[str, float], deadline: float, clock: Clock, blocks: int = 24
    ) -> dict[str, float]:
        """About how much noise of the outputs each layer alone makes, from few runs.

        *noise* has the noise-to-signal power ratio of each layer's own result. Of neighbouring
        layers as many as make one of *blocks* are quantized together; each is taken to pass on the
        same share of its own noise to the outputs. Empty where the time does not suffice.
        """
        ends = np.linspace(0, len(self.groups), blocks + 1).astype(int)
        parts = [range(a, b) for a, b in pairwise(ends.tolist()) if b > a]

        def settings() -> Iterator[Switches]:
            for part in parts:
                if clock() >= deadline:
                    return
                on = self.off.copy()
                on[list(part)] = True
                yield on

        found: dict[str, float] = {}
        outcomes = list(self.outcomes(settings()))
        if len(outcomes) < len(parts):
            return {}
        for part, outcome in zip(parts, outcomes, strict=True):
            own = {n: noise.get(n, 0.0) for n in (self.groups[k].node for k in part)}
            total = math.fsum(own.values())
            found |= {n: outcome.loss * v / total if total else 0.0 for n, v in own.items()}
        return found

    def only(self, node: str) -> Switches:
        """The layer of *node* alone is quantized."""
        on = self.off.copy()
        on[self.index[node]] = True
        return on

    def without(self, nodes: Iterable[str]) -> Switches:
        """All layers but those of *nodes* are quantized."""
        on = self.on.copy()
        on[[self.index[node] for node in nodes]] = False
        return on

    def _metric(self, real: Outputs, other: Outputs) -> float:
        assert self.metric is not None
        try:
            return float(self.metric(real, other))
        except Exception as error:  # whatever the user's function raises
            raise OptionError(
                "the metric failed on a sample",
                why=f"{type(error).__name__}: {error}",
                hint="it takes the float and the quantized outputs, arrays by name, and returns "
                "a number",
            ) from error

    def _outputs(self, on: Switches, sample: int) -> tuple[Outputs, Outputs]:
        chains = self._chains[sample]
        return chains[0].outputs, self.segments.run(on, chains)


def product_of(settings: Iterable[Switches], samples: range) -> Iterator[tuple[Switches, int]]:
    """Each of *settings* with each sample; settings are taken one by one."""
    for on in settings:
        yield from product((on,), samples)


def _comparable(real: Any, other: Any) -> bool:
    return (
        isinstance(real, np.ndarray)
        and isinstance(other, np.ndarray)
        and real.dtype.kind == "f"
        and real.shape == other.shape
    )
