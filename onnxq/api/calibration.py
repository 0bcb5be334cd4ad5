"""The data of a call: what passes and the report may ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from onnxq.calibrate.digest import model_digest
from onnxq.calibrate.driver import calibrate
from onnxq.calibrate.masks import with_masks
from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.random_data import Ranges, random_data
from onnxq.calibrate.sources import DataSource, Feed, open_data
from onnxq.calibrate.split import Split
from onnxq.calibrate.states import States, stateful
from onnxq.calibrate.statistics import Statistics
from onnxq.calibrate.statistics_file import load_statistics, save_statistics
from onnxq.calibrate.statistics_models import join_models, split_models
from onnxq.calibrate.sufficiency import Sufficiency, sufficiency
from onnxq.errors import DataError
from onnxq.graph import Model
from onnxq.pipeline import Context, TensorFact
from onnxq.pipeline.progress import Progress
from onnxq.runtime.probe import probe
from onnxq.runtime.providers import CPU, Provider
from onnxq.runtime.session import InputInfo, Session

_COMPARED = 2
"""Samples on which the function of the model is compared before and after a stage."""


@dataclass
class Calibration:
    """Samples, and the runs of the model on them.

    Attributes:
        source: the samples.
        report_source: samples of the report, where it has its own.
        random: whether the samples are random numbers.
        statistics: where measured statistics are kept between calls.
        providers: execution providers of ONNX Runtime.
        progress: told of samples done.
        read_only: whether the file of statistics is left as it is.
    """

    source: DataSource
    report_source: DataSource | None
    random: bool
    statistics: Path | None
    providers: Sequence[Provider]
    progress: Progress
    read_only: bool = False
    measured: Statistics = field(default_factory=Statistics)
    _digest: str = ""
    _kept: dict[str, Statistics] = field(default_factory=dict)
    _unsaved: bool = False

    @property
    def split(self) -> Split:
        """The samples in two: for calibration, and held out for the report."""
        return Split(self.source, self.report_source is not None)

    def serve(self, ctx: Context) -> None:
        """Answer what the passes of *ctx* ask."""
        ctx.measure, ctx.probe = self.measure, self.probe

    @property
    def used(self) -> bool:
        """Whether anything was measured on the samples."""
        return bool(self._kept)

    def probe(self, model: Model) -> dict[str, TensorFact]:
        """Type and shape of every tensor of *model* on the first sample."""
        found = probe(model, self.source.first())
        return {name: TensorFact(info.dtype, info.shape) for name, info in found.items()}

    def compare(self, model: Model, *, optimize: bool = True) -> dict[str, NDArray[np.generic]]:
        """Outputs of *model* on the first samples, on the CPU."""
        session = Session(model.to_proto(), (CPU,), optimize=optimize, qdq=False, brief=True)
        return {
            f"{part} (sample {i})": array
            for i, feed in enumerate(islice(iter(self.source), _COMPARED))
            for name, value in session.run(feed).items()
            for part, array in _arrays(name, value)
        }

    def measure(
        self,
        model: Model | ModelProto,
        wanted: Mapping[str, tuple[AnyObserver, ...]],
        samples: int | None = None,
    ) -> Statistics:
        """Measure *wanted* over the samples for calibration, or take it from the file.

        Where only the first *samples* are asked for, what is found is kept for that number; of
        a message, which is something that a pass has made up, nothing is.
        """
        if not isinstance(model, Model):
            return self._run(model, wanted, samples)
        own = self._section(model_digest(model), samples)
        known = self._kept[own]
        missing = known.missing(wanted)
        if missing:
            known = known.merge(self._run(model, missing, samples))
            self._kept[own] = known.lasting()
            self._unsaved = True
        if samples is None:
            self.measured = self._kept[own]
        states = {t: {o: known.states[t][o] for o in observers} for t, observers in wanted.items()}
        return replace(known, states=states)

    def _run(
        self,
        model: Model | ModelProto,
        wanted: Mapping[str, tuple[AnyObserver, ...]],
        samples: int | None,
    ) -> Statistics:
        length = self.source.length
        total = None if length is None else self.split.calibration_samples
        if total is not None and samples is not None:
            total = min(total, samples)
        return calibrate(
            model,
            wanted,
            islice(self.split, samples),
            providers=self.providers,
            progress=lambda done: self.progress.advance(done, total),
        )

    def _section(self, digest: str, samples: int | None) -> str:
        """The part of what is kept that belongs to the model *digest*: "" for the first one.

        Passes that scale a model by what was measured have it measured again. The file belongs to
        the model that was measured first; in it, others have their digest before tensor names.
        """
        if not self._digest:
            self._digest = digest
            if self.statistics is not None and self.statistics.exists():
                stored = load_statistics(self.statistics, digest, self.source.digest())
                self._kept = split_models(stored)
        own = "" if digest == self._digest else digest
        own += "" if samples is None else f"@{samples}"
        self._kept.setdefault(own, Statistics())
        return own

    def finish(self, ctx: Context) -> None:
        """Keep the statistics where asked to; note what the user should know of the data."""
        ctx.journal.warnings.extend(self.source.warnings)
        if self.random:
            ctx.journal.warn("not calibrated: ranges come from random numbers, not from data")
        if self.statistics is not None and self._unsaved and not self.read_only:
            self._unsaved = False
            together = join_models(self._kept)
            save_statistics(together, self.statistics, self._digest, self.source.digest())
        for name, count in self.measured.nonfinite.items():
            ctx.journal.warn(f"tensor '{name}': {count} NaN or Inf left out of its range")
        if self.split.same:
            ctx.journal.warn(
                f"only {self.source.count()} samples: the report is made on those that calibrated"
            )
        if self.verdict is not None and not self.random and not self.verdict.enough:
            ctx.journal.warn(str(self.verdict))

    @cached_property
    def verdict(self) -> Sufficiency | None:
        """Whether the samples were enough; None where nothing was measured. Asked once all was."""
        return sufficiency(self.measured) if self.measured.states else None

    def notes(self) -> list[str]:
        """Whether the samples were enough, where they were (else it is among the warnings)."""
        if self.verdict is None or self.random or not self.verdict.enough:
            return []
        return [str(self.verdict)]

    def report_feeds(self) -> Iterator[Feed]:
        """The samples of the report: its own, else those held out."""
        if self.report_source is not None:
            return iter(self.report_source)
        return self.split.held_out()

    def facts(self) -> dict[str, Any]:
        """The ``data`` part of the report."""
        own = self.report_source
        return {
            "digest": self.source.digest(),
            "calibration_samples": self.split.calibration_samples,
            "report_samples": self.split.report_samples if own is None else own.count(),
            "held_out": not self.split.same,
            "calibrated": not self.random,
            "sufficiency": "" if self.verdict is None else str(self.verdict),
        }


def _arrays(name: str, value: Any) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """The arrays of an output: itself, the elements of a sequence, nothing of an empty optional."""
    if isinstance(value, list):
        for i, element in enumerate(value):
            yield from _arrays(f"{name}[{i}]", element)
    elif isinstance(value, np.ndarray):
        yield name, value


def open_calibration(
    model: Model,
    data: Any,
    *,
    report_data: Any = None,
    preprocess: str | None = None,
    random: bool = False,
    seed: int = 0,
    statistics: Any = None,
    providers: Sequence[Provider] = (),
    progress: Progress,
    ranges: Ranges | None = None,
    states: States | None = None,
) -> Calibration:
    """Open the data of a call and check the first sample against the inputs of *model*.

    *data* that is a ``Calibration`` is returned: with it come the statistics that earlier calls
    measured. With *states* samples are steps of a sequence, see ``calibrate.states``.

    Raises:
        DataError: there is no data, or it does not fit the model.
        UnsupportedModelError: ONNX Runtime cannot load the model.
    """
    if isinstance(data, Calibration):
        return data
    session = Session(model.to_proto(), (CPU,), optimize=bool(states))
    if data is None and not random:
        raise DataError(
            "no calibration data",
            why="the ranges of activations are measured on samples of real input",
            hint="--data FILE.npz, a folder, or module:function; --data-free or --random-data "
            "go on without",
        )

    def opened(given: Any) -> DataSource:
        def plain(inputs: Sequence[InputInfo]) -> DataSource:
            if given is None:
                return random_data(inputs, seed=seed, ranges=ranges)
            return open_data(given, with_masks(inputs, model), preprocess, seed)

        return stateful(plain, session, states) if states else plain(session.inputs)

    source = opened(data)
    own = None if report_data is None else opened(report_data)
    path = None if statistics is None else Path(statistics)
    return Calibration(source, own, data is None, path, providers, progress)
