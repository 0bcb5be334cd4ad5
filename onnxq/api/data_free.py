"""A call without data: moments of activations in place of measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from onnxq.api.synthetic import Synthetic
from onnxq.calibrate.datafree.observe import from_histogram, observe, of_input
from onnxq.calibrate.datafree.points import Points
from onnxq.calibrate.datafree.propagate import Propagation
from onnxq.calibrate.datafree.rules import LAYERS
from onnxq.calibrate.driver import calibrate
from onnxq.calibrate.histogram import Histogram
from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.random_data import Ranges
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model
from onnxq.pipeline import Context
from onnxq.pipeline.context import Moments
from onnxq.pipeline.scaled import scale_factors

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_SAMPLES = 4
"""Synthetic samples on which tensors are measured that no rule tells."""


@dataclass
class DataFree(Synthetic):
    """What passes ask of data, answered from batch-norms and weights; ``source`` is synthetic.

    Attributes:
        ranges: by name of an input, its smallest and largest value, where the user gave them.
        moments: what batch-norms state, of the context that is served.
        assumed: inputs whose values were assumed to be standard normal.
        unstated: layers without a batch-norm behind them, of all layers.
        unruled: how often each operator that no rule tells was measured on synthetic input.
    """

    ranges: Ranges = field(default_factory=dict)
    moments: Mapping[str, Moments] = field(default_factory=dict)
    assumed: dict[str, None] = field(default_factory=dict)
    unstated: tuple[int, int] = (0, 0)
    unruled: Counter[str] = field(default_factory=Counter)

    def serve(self, ctx: Context) -> None:
        """Answer what the passes of *ctx* ask."""
        super().serve(ctx)
        self.moments, ctx.estimated = ctx.moments, True

    def measure(
        self,
        model: Model | ModelProto,
        wanted: Mapping[str, tuple[AnyObserver, ...]],
        samples: int | None = None,
    ) -> Statistics:
        """States as they would be measured of values with the moments that are known."""
        model = model if isinstance(model, Model) else Model.load(model)
        facts = self.probe(model)
        known = {n: f for n, f in facts.items() if f.shape is not None}
        shapes = {n: tuple(d or 0 for d in f.shape or ()) for n, f in known.items()}
        floats = {n for n, f in known.items() if f.dtype in _FLOATS}
        given = [i.name for i in model.graph.inputs if i.name in floats]
        self.assumed.update(dict.fromkeys(n for n in given if n not in self.ranges))
        moments = self._scaled(model)
        walk = Propagation(
            model.to_proto(),
            shapes,
            floats,
            {n: of_input(self.ranges.get(n), len(shapes[n]), n) for n in given},
            moments,
            lambda names: self._points(model, names, shapes),
        )
        states = {
            t: observe(wanted[t], p, shapes[t], alike=t in walk.rough) for t, p in walk.run(wanted)
        }
        layers = [n for n in model.graph.nodes if n.op in LAYERS and n.name in walk.visited]
        unstated = sum(n.outputs[0].name not in moments for n in layers)
        self.unstated = max(self.unstated, (unstated, len(layers)))
        writers = {o.name: n.op for n in model.graph.nodes for o in n.outputs}
        self.unruled |= Counter(writers[t] for t in walk.measured)
        return Statistics(states, 1)

    def _scaled(self, model: Model) -> dict[str, Moments]:
        """Moments of the tensors of *model*, whose channels may have been scaled since."""
        factors = scale_factors(model)
        return {
            name: (mean * factors[name], deviation * np.abs(factors[name]))
            if name in factors
            else (mean, deviation)
            for name, (mean, deviation) in self.moments.items()
        }

    def _points(
        self, model: Model, names: Collection[str], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Points]:
        feeds = islice(iter(self.source), _SAMPLES)
        found = calibrate(model, {n: (Histogram(),) for n in names}, feeds)
        return {n: from_histogram(found.get(n, Histogram()), len(shapes[n]), n) for n in names}

    def finish(self, ctx: Context) -> None:
        """Note what the user should know of a result without data."""
        text = "data-free: ranges come from batch-norm statistics and weights, not from data"
        if self.report_source is None:
            text += "; errors in this report are those on synthetic input"
        ctx.journal.warn(text)
        without, layers = self.unstated
        if without:
            ctx.journal.warn(
                f"data-free: {without} of {layers} layers have no batch-norm behind them: their "
                "moments follow from weights and from what is assumed of the input, and are rough"
            )
        if self.assumed:
            names = ", ".join(f"'{name}'" for name in self.assumed)
            ctx.journal.warn(
                f"data-free: values of {names} are assumed to be standard normal; "
                "--input-range NAME=LOW:HIGH says what they are"
            )
        if self.unruled:
            ops = ", ".join(f"{n} × {op}" for op, n in sorted(self.unruled.items()))
            ctx.journal.warn(f"data-free: measured on synthetic input, for want of a rule: {ops}")

    def facts(self) -> dict[str, Any]:
        """The ``data`` part of the report."""
        return super().facts() | {"data_free": True}


def open_data_free(
    model: Model, data: None, *, ranges: Ranges | None = None, **given: Any
) -> DataFree:
    """What ``Synthetic.opened`` opens, for ranges that follow from batch-norms and weights."""
    found = DataFree.opened(model, data, ranges=ranges, **given)
    found.ranges = ranges or {}
    return found
