"""What passes share while a recipe runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import ModelProto

from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.statistics import Statistics
from onnxq.errors import OnnxqError
from onnxq.graph import Model, is_constant
from onnxq.pipeline.groups import Group
from onnxq.pipeline.journal import Decline, Journal
from onnxq.pipeline.plan import QuantPlan
from onnxq.pipeline.range_choice import RangeChoice
from onnxq.pipeline.trained import Trained
from onnxq.quant import QParams
from onnxq.quant.blocks import Blocks
from onnxq.targets import Target

Probe = Callable[[Model], dict[str, "TensorFact"]]
Wanted = Mapping[str, tuple[AnyObserver, ...]]
Moments = tuple[NDArray[np.float64], NDArray[np.float64]]


class Observe(Protocol):
    """Measures what is wanted of a model on the calibration samples, or on the first of them."""

    def __call__(
        self, model: Model | ModelProto, wanted: Wanted, samples: int | None = None, /
    ) -> Statistics:
        """States by tensor and observer."""
        ...


@dataclass(frozen=True)
class TensorFact:
    """Type and shape of a tensor, as measured on a sample or inferred.

    Attributes:
        dtype: the ONNX element type, a value of ``onnx.TensorProto.DataType``.
        shape: its dimensions; None for one that is not known, None as a whole where the rank
            is not known.
    """

    dtype: int
    shape: tuple[int | None, ...] | None


@dataclass
class Context:
    """State of one run of a recipe over one model.

    Attributes:
        target: the hardware profile.
        plan: what is to be quantized, and how.
        statistics: what observers measured, by tensor name.
        qparams: scales and zero points chosen so far, by tensor name.
        choices: why a range was chosen, by tensor name, where methods were compared.
        blocks: scales and zero points of weights in blocks, by tensor name.
        integers: integer weights and biases chosen so far, by tensor name.
        biases: corrected biases, in float, by tensor name.
        facts: types and shapes by tensor name.
        moments: by tensor name, mean and standard deviation of each channel (axis 1), as
            batch-norms state them.
        trained: grids that training has chosen, where the model came with fake quantization.
        groups: nodes that were recognised as one function, such as a Gelu in primitives.
        added: nodes that move data for the sake of kernels, by name; they are no layers of it.
        journal: edits, declines, warnings.
        measure: runs the model on the calibration data; set by the caller, since passes never
            import a runtime.
        probe: measures types and shapes on one sample; set by the caller likewise.
        keeps_statistics: whether what is measured is kept for other choices, which then should
            not need another run.
        estimated: whether ``measure`` answers from moments, without samples.
        statistics_only: whether passes run the model for nothing but statistics that can be kept.
    """

    target: Target
    plan: QuantPlan = field(default_factory=QuantPlan)
    statistics: Statistics = field(default_factory=Statistics)
    qparams: dict[str, QParams] = field(default_factory=dict)
    choices: dict[str, RangeChoice] = field(default_factory=dict)
    blocks: dict[str, Blocks] = field(default_factory=dict)
    integers: dict[str, object] = field(default_factory=dict)
    biases: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    facts: dict[str, TensorFact] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    trained: Trained = field(default_factory=Trained)
    groups: list[Group] = field(default_factory=list)
    added: set[str] = field(default_factory=set)
    journal: Journal = field(default_factory=Journal)
    measure: Observe | None = None
    probe: Probe | None = None
    keeps_statistics: bool = False
    statistics_only: bool = False
    estimated: bool = False

    def observe(self, model: Model, wanted: Wanted) -> Statistics:
        """Run *model* on the calibration data for what of *wanted* is not yet measured.

        Raises:
            OnnxqError: statistics are needed and there is no calibration data.
        """
        missing = self.statistics.missing(wanted)
        if missing:
            self.statistics = self.statistics.merge(self.observe_apart(model, missing))
        return self.statistics

    def observe_apart(
        self, model: Model | ModelProto, wanted: Wanted, samples: int | None = None
    ) -> Statistics:
        """Run another *model* on the first *samples* of the calibration data (all: None).

        What is found is not put beside the statistics of the model that the passes work on; of
        a message, which is run as it is, nothing is kept.

        Raises:
            OnnxqError: there is no calibration data.
        """
        if self.measure is None:
            raise OnnxqError(
                f"statistics of {len(wanted)} tensors are needed, and there is no data",
                hint="give calibration data (--data)",
            )
        return self.measure(model, wanted, samples)

    def learn(self, model: Model) -> list[str]:
        """Measure types and shapes where some are unknown; names of those that stay unknown."""
        unknown = [n for n, t in model.tensors().items() if not is_constant(t)]
        unknown = [n for n in unknown if n not in self.facts]
        if unknown and self.probe is not None:
            self.facts.update(self.probe(model))
            unknown = [n for n in unknown if n not in self.facts]
        return unknown

    def decline(self, node: gs.Node | str, reason: str) -> None:
        """Note that the running pass left *node* as it is, and why."""
        name = node if isinstance(node, str) else (node.name or node.op)
        record = self.journal.records[-1]
        record.declines.append(Decline(record.name, name, reason))

    def shape(self, tensor: gs.Tensor) -> tuple[int | None, ...] | None:
        """Shape of *tensor*: measured, else stated in the graph; None where not known."""
        if isinstance(tensor, gs.Constant):
            return tuple(int(d) for d in tensor.shape)
        fact = self.facts.get(tensor.name)
        if fact is not None and fact.shape is not None:
            return fact.shape
        if tensor.shape is None:
            return None
        return tuple(d if isinstance(d, int) else None for d in tensor.shape)

    def rank(self, tensor: gs.Tensor) -> int | None:
        """Rank of *tensor*, None where not known."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)
