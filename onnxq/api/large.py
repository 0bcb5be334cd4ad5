"""The data of a call for models that are too large to be run whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto, helper

from onnxq.api.calibration import Calibration, open_calibration
from onnxq.calibrate.driver import Waiting, look_at
from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.parts import PART, PartedRuns
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model
from onnxq.pipeline import TensorFact


@dataclass
class LargeCalibration(Calibration):
    """Samples, and runs of the model on them a few layers at a time.

    Nothing that was measured is kept between calls, and the function of the model is not compared.
    """

    _runs: dict[int | None, tuple[list[Any], PartedRuns]] = field(default_factory=dict)

    def probe(self, model: Model) -> dict[str, TensorFact]:
        """Type and shape of every tensor of *model* on the first sample."""
        feed = self.source.first()
        runs = PartedRuns(model, lambda: [feed], self.providers, PART)
        found = {name: _fact(np.asarray(value)) for name, value in feed.items()}
        for _, arrays in runs.values(runs.computed):
            found |= {name: _fact(value) for name, value in arrays.items()}
        return found

    def compare(self, model: Model, *, optimize: bool = True) -> dict[str, NDArray[np.generic]]:
        """Nothing: *model* is not run whole."""
        return {}

    def measure(
        self,
        model: Model | ModelProto,
        wanted: Mapping[str, tuple[AnyObserver, ...]],
        samples: int | None = None,
    ) -> Statistics:
        """Measure *wanted* over the first *samples*; requests in the graph's order go on."""
        if not isinstance(model, Model):
            return super().measure(model, wanted, samples)
        waiting, nonfinite, count = Waiting(wanted), dict.fromkeys(wanted, 0), 0
        for sample, arrays in self._parted(model, samples).values(wanted):
            count = max(count, sample + 1)
            for tensor, values in arrays.items():
                looks, left_out = look_at(wanted[tensor], values)
                nonfinite[tensor] += left_out
                for observer, seen in looks.items():
                    waiting.add(tensor, observer, sample, seen)
        bad = {name: n for name, n in nonfinite.items() if n}
        return Statistics(waiting.states(), count, bad)

    def _parted(self, model: Model, samples: int | None) -> PartedRuns:
        """Runs of *model* as it is now on the first *samples*."""
        now: list[Any] = [model, *(t._values for t in model._constants())]
        known = self._runs.get(samples)
        if known is not None and [*map(id, known[0])] == [*map(id, now)]:
            return known[1]
        runs = PartedRuns(model, lambda: islice(self.split, samples), self.providers, PART)
        self._runs[samples] = now, runs
        return runs


def open_large(model: Model, data: Any, **options: Any) -> Calibration:
    """As ``open_calibration``, for a *model* that is not to be loaded whole."""
    found = open_calibration(Model.load(_ends(model)), data, **options)
    own = {f.name: getattr(found, f.name) for f in fields(Calibration) if f.init}
    return found if found is data else LargeCalibration(**own)


def _ends(model: Model) -> ModelProto:
    """A message with the inputs of *model*, each handed on, and without its weights."""
    whole = model.outline()
    stored = {t.name for t in whole.graph.initializer}
    found = ModelProto(ir_version=whole.ir_version, opset_import=whole.opset_import)
    graph = found.graph
    graph.name = whole.graph.name
    for source in whole.graph.input:
        if source.name not in stored:
            graph.input.append(source)
            again = f"{source.name}__again"
            graph.node.append(helper.make_node("Identity", [source.name], [again], again))
            graph.output.append(ValueInfoProto(name=again, type=source.type))
    return found


def _fact(value: NDArray[Any]) -> TensorFact:
    return TensorFact(int(helper.np_dtype_to_tensor_dtype(value.dtype)), value.shape)
