"""The float side of all measuring: one graph whose runs give every sum that the report needs.

It holds the float network, the differences to the codes of the quantized model (cumulative errors),
and beside each layer its twin on integers (isolated errors, their sources, statistics).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.errors import OptionError
from onnxq.quant import QParams
from onnxq.quant.measures import ErrorSums
from onnxq.report.cumulative import Arrays, Codes, code_input, copied, hand_out_cumulative
from onnxq.report.grids import evaluate, qparams
from onnxq.report.groups import Group, find_groups
from onnxq.report.parts import parts, shapes_for, trimmed
from onnxq.report.reductions import Reducer
from onnxq.report.statistics import Totals, channel_axis, clipped, describe_tensor, hand_out
from onnxq.report.twins import Through, Twins, moves_only
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session

Feed = Mapping[str, NDArray[Any]]
Arithmetic = Literal["fake-quantized", "kernel"]

#: Bytes that one graph of twins may take: its constants and the tensors of one sample.
BUDGET = 1 << 30


@dataclass(frozen=True)
class _Part:
    """One graph: what it hands out, as *output*, and the tensors whose codes it takes."""

    session: Session
    reducer: Reducer
    output: str | None
    tensors: tuple[str, ...]


class Isolated:
    """Measures the layers of a quantized model, each alone on the values of the float model.

    Args:
        original: the float model.
        quantized: the quantized one in QDQ form, of the same opset.
        matches: by tensor of *quantized*, the tensor of *original* with the same values; None
            where no layer is to be measured alone.
        first: a sample, for its shapes.
        codes: by tensor of *original*, the tensor of codes of *quantized*, and their parameters.
        ends: by node of *quantized*, the tensor of *original* that it hands on, where known.
        through: by tensor of *original*, the function that alone reads it, and its scale.
        arithmetic: ``"fake-quantized"``: what ONNX says, integers exact and never saturating.
            ``"kernel"``: the runtime's own integer kernels; where they saturate, the two differ.
            The sources of noise are told apart in the first alone.
        details: whether to measure the sources of noise and statistics of tensors too.
        budget: bytes that one graph may take; layers are spread over several where need be.

    Raises:
        OptionError: there is no such arithmetic.
        UnsupportedModelError: ONNX Runtime cannot load the graph of twins.
    """

    def __init__(
        self,
        original: onnx.ModelProto,
        quantized: onnx.ModelProto,
        matches: Mapping[str, str] | None,
        first: Feed,
        *,
        codes: Codes | None = None,
        ends: Mapping[str, str] | None = None,
        through: Through | None = None,
        arithmetic: Arithmetic = "fake-quantized",
        details: bool = True,
        providers: Sequence[Provider] = (),
        threads: int | None = None,
        budget: int = BUDGET,
    ) -> None:
        if arithmetic not in ("fake-quantized", "kernel"):
            raise OptionError(
                f"there is no arithmetic '{arithmetic}'", hint="fake-quantized or kernel"
            )
        self.original, self.quantized = original, quantized
        self.codes = codes or {}
        self.through, self.arithmetic, self.details = through or {}, arithmetic, details
        self.providers, self.threads, self.budget = providers, threads, budget
        known = {name for node in original.graph.node for name in node.output}
        known |= {i.name for i in original.graph.input}
        matches = {mine: theirs for mine, theirs in (matches or {}).items() if theirs in known}
        self.groups = find_groups(quantized, matches, ends) if matches else []
        grids = [g.grid for g in self.groups] + [s.grid for g in self.groups for s in g.sources]
        names = [n for grid in grids if grid for n in (grid.scale, grid.zero_point, *grid.bounds)]
        constants = [n for group in self.groups for n in group.constants]
        self.values = evaluate(quantized, [*names, *constants])
        rounded = {g.result: g.grid for g in self.groups}
        self.exact = [g for g in self.groups if moves_only(g, rounded, self.values)]
        exact = {id(g) for g in self.exact}
        self._exact = {g.node for g in self.exact}
        self.noisy = [g for g in self.groups if id(g) not in exact]
        self.qparams: dict[str, QParams] = {}
        for group in self.groups:
            for tensor, grid in (
                *((s.tensor, s.grid) for s in group.sources),
                (group.result, group.grid),
            ):
                found = None if grid is None else qparams(grid, self.values)
                if found is not None:
                    self.qparams[tensor] = found
        self.totals = Totals()
        self._sizes = {name: np.shape(value) for name, value in first.items()}
        self._plain = self._build(first, vary=False)
        self._varied: list[_Part] | None = None

    def run(self, feed: Feed, other: Mapping[str, Any]) -> tuple[dict[Any, Any], Arrays]:
        """What one sample gives, and the float model's outputs; several threads may call it.

        *other* has the codes that the quantized model computes for it.
        """
        chosen = self._plain
        if {name: np.shape(value) for name, value in feed.items()} != self._sizes:
            if self._varied is None:
                self._varied = self._build(feed, vary=True)
            chosen = self._varied
        found: dict[Any, Any] = {}
        outputs: Arrays = {}
        for part in chosen:
            codes = {code_input(t): other[self.codes[t][0]] for t in part.tensors}
            values = part.session.run({**feed, **codes})
            if part.output is not None:
                found |= part.reducer.read(values.pop(part.output))
            outputs |= values
        return found, outputs

    def take(self, found: Mapping[Any, Any]) -> None:
        """Add what ``run`` found on one sample."""
        self.totals.samples += 1
        self.totals.add(found)

    def _build(self, feed: Feed, *, vary: bool) -> list[_Part]:
        """The graphs and their sessions, for inputs shaped as in *feed*."""
        shapes = shapes_for(self.original, feed)
        divided = list(parts(self.noisy, shapes, self.values, self.original, self.budget)) or [[]]
        waiting = dict(self.codes)
        built = []
        for i, groups in enumerate(divided):
            model = copied(self.original)
            if i:
                del model.graph.output[:]
            reducer = Reducer(model, shapes, vary=vary)
            fake = self.arithmetic == "fake-quantized"
            twins = Twins(
                reducer, self.quantized, self.through, shares=self.details and fake,
                values=self.values if fake else {},
            )  # fmt: skip
            last = i == len(divided) - 1
            own = {g.result for g in groups}
            mine = {t: q for t, q in waiting.items() if last or t in own}
            waiting = {t: q for t, q in waiting.items() if t not in mine}
            tensors = tuple(mine)
            self._add(twins, groups, mine)
            output = reducer.finish()
            session = Session(
                trimmed(model), self.providers, threads=self.threads, qdq=not fake,
                plan_memory=False, brief=True,
            )  # fmt: skip
            built.append(_Part(session, reducer, output, tensors))
        return built

    def _add(self, twins: Twins, groups: Sequence[Group], codes: Codes) -> None:
        reducer = twins.reducer
        results = {g.result for g in self.groups}
        done: set[str] = set()
        seen: set[str] = set()
        for group in groups:
            reducer.section()
            errors = twins.add(group)
            if group.result in codes and group.result not in seen:
                seen.add(group.result)  # two layers may hand on the same values
                self._add_cumulative(reducer, group.result)
            reducer.scalar(("signal", group.node), "ReduceSumSquare", errors.reference)
            for kind in ("error", "weights", "inputs", "output"):
                tensor = getattr(errors, kind)
                if tensor is not None:
                    reducer.scalar((kind, group.node), "ReduceSumSquare", tensor)
            if not self.details:
                continue
            tensors = [(group.result, errors.error, channel_axis(group))]
            for source in group.sources:
                if source.tensor not in results and source.grid is not None:
                    noise = twins.rounding(source.tensor, source.grid)
                    tensors.append((source.tensor, noise, 1))
            for tensor, noise, axis in tensors:
                if tensor not in done:
                    done.add(tensor)
                    hand_out(reducer, twins.float, tensor, noise, axis, self.qparams.get(tensor))

        for tensor in codes:
            if tensor not in seen:
                reducer.section()
                self._add_cumulative(reducer, tensor)

    def _add_cumulative(self, reducer: Reducer, tensor: str) -> None:
        hand_out_cumulative(reducer, tensor, self.codes[tensor][1], self.through.get(tensor))

    def layer(self, node: str) -> ErrorSums | None:
        """Signal and noise of the layer *node*; None where it was not measured."""
        if node in self._exact:
            return ErrorSums(signal=1.0)
        signal, noise = self.totals.get("signal", node), self.totals.get("error", node)
        if signal is None or noise is None:
            return None
        return ErrorSums(signal=signal, noise=noise)

    def share(self, node: str) -> dict[str, float] | None:
        """Fractions of the noise of *node* by where it comes from; None where it has none."""
        powers = {k: self.totals.get(k, node) or 0.0 for k in ("weights", "inputs", "output")}
        total = sum(powers.values())
        return {k: v / total for k, v in powers.items()} if total > 0.0 else None

    def tensors(self) -> dict[str, dict[str, Any]]:
        """Statistics of every tensor that was measured, by its name in the float model."""
        names = dict.fromkeys(name for kind, name in self.totals.numbers if kind == "size")
        return {n: describe_tensor(self.totals, n, self.qparams.get(n)) for n in names}

    def clipped(self, tensor: str) -> dict[str, float] | None:
        """Fractions of the values of *tensor* that saturate; None where that is not known."""
        qparams = self.qparams.get(tensor)
        if qparams is None or qparams.axis is not None:
            return None
        return clipped(self.totals, tensor)
