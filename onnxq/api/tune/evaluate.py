"""Candidates made and measured for real, on statistics that are measured once."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from numpy.typing import NDArray

from onnxq.api.calibration import open_calibration
from onnxq.api.finish import versions
from onnxq.api.quantize import quantize
from onnxq.api.quantized import refuse_quantized
from onnxq.api.recipe import Changes, change
from onnxq.api.result import Result
from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.calibrate.digest import model_digest
from onnxq.calibrate.functions import load_function
from onnxq.errors import DataError, OptionError
from onnxq.graph import Model
from onnxq.passes.canonical.raise_opset import RaiseOpset
from onnxq.pipeline import Recipe
from onnxq.pipeline.macs import macs
from onnxq.pipeline.progress import Progress, Silent
from onnxq.report.coverage.cpus import is_cpu
from onnxq.report.entries import finite
from onnxq.runtime.providers import parse_providers
from onnxq.runtime.session import Session
from onnxq.targets import get_target

#: The opset that brought integers of 4 bits.
FOUR_BITS = 21
#: Runs a model on one feed, arrays by input name: arrays by output name.
Run: TypeAlias = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
#: A user's metric of a model, on data of its own. Higher is better.
Metric: TypeAlias = Callable[[Run], float]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all candidates share; see ``tune`` for the attributes."""

    model: Any
    data: Any
    target: str = "auto"
    report_data: Any = None
    preprocess: str | None = None
    exclude: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    metric: str | Metric | None = None
    statistics: Path | None = None
    seed: int = 0
    costs: str = ""
    threads: int | None = None

    @property
    def portable(self) -> bool:
        """Whether another process can open the same."""
        names = (self.model, self.data, self.report_data, self.metric)
        return all(value is None or isinstance(value, str | Path) for value in names)


@dataclass
class Evaluator:
    """Makes candidates and measures them.

    Raises:
        UserError, UnsupportedModelError: as ``quantize``.
    """

    setup: Setup
    progress: Progress = field(default_factory=Silent)

    def __post_init__(self) -> None:
        given = self.setup.model
        self.model = given.clone() if isinstance(given, Model) else Model.load(given)
        refuse_quantized(self.model)
        self.target = get_target(self.setup.target)
        self.providers = parse_providers(self.setup.providers)
        self.calibration = open_calibration(
            self.model, self.setup.data, report_data=self.setup.report_data,
            preprocess=self.setup.preprocess, seed=self.setup.seed,
            statistics=self.setup.statistics, providers=self.providers, progress=self.progress,
        )  # fmt: skip
        metric = self.setup.metric
        self.metric = load_function(metric, "metric") if isinstance(metric, str) else metric
        self.bytes_float = self.model.message_bytes()

    def recipe(self, candidate: Candidate) -> Recipe:
        """The recipe that makes *candidate*."""
        base = change(
            Recipe.resolve(candidate.recipe),
            Changes(exclude=self.setup.exclude, costs=self.setup.costs),
        )
        return candidate.put_into(base)

    def make(self, recipe: Recipe, detail: Any = "basic") -> Result:
        """The model quantized by *recipe*; its statistics are measured where they are not known."""
        return quantize(
            self.model, data=self.calibration, target=self.target, recipe=recipe,
            providers=self.setup.providers, report_detail=detail, progress=self.progress,
        )  # fmt: skip

    def trial(self, candidate: Candidate) -> Result:
        """*candidate* at the opset that weights of 4 bits need, where the target has them.

        Statistics belong to a model with its opset: so all candidates share them.
        """
        recipe = self.recipe(candidate)
        if "4" not in self.target.lacks:
            passes = (
                replace(p, opset=max(p.opset, FOUR_BITS)) if isinstance(p, RaiseOpset) else p
                for p in recipe.passes
            )
            recipe = Recipe(tuple(passes), recipe.name)
        return self.make(recipe)

    def measure(self, candidate: Candidate) -> Measured:
        """What *candidate* really is."""
        start = perf_counter()
        result = self.trial(candidate)
        summary = result.report["summary"]
        outputs = summary["outputs"]
        ratios = [o["noise_to_signal"] for o in outputs if o["noise_to_signal"] is not None]
        known = [o["sqnr_db"] for o in outputs if o["sqnr_db"] is not None]
        agreement = [o["top1_agreement"] for o in outputs if o["top1_agreement"] is not None]
        noise = sum(ratios) / len(ratios) if ratios else 0.0
        metric = None if self.metric is None else self.score(result.model)
        return Measured(
            noise=noise,
            sqnr_db=min(known, default=finite(float("inf")) or 0.0),
            drop=100.0 * noise if metric is None else self.ideal - metric,
            bytes=int(summary["bytes_quantized"]),
            macs=macs_by_precision(result),
            seconds=perf_counter() - start,
            metric=metric,
            agreement=min(agreement, default=None),
        )

    @cached_property
    def ideal(self) -> float:
        """The metric of the float model."""
        return self.score(self.model)

    def score(self, model: Model) -> float:
        """The user's metric of *model*.

        Raises:
            OptionError: the metric fails, or gives no number.
        """
        assert self.metric is not None
        session = Session(model, self.providers)
        try:
            return float(self.metric(session.run))
        except DataError:
            raise
        except Exception as error:  # whatever the user's function raises
            raise OptionError(
                "the metric failed",
                why=f"{type(error).__name__}: {error}",
                hint="it takes a function that runs the model, run({input: array}) → "
                "{output: array}, and returns a number: higher is better",
            ) from error

    def digest(self) -> str:
        """Of all that a measurement depends on beside the candidate; hexadecimal."""
        own = self.calibration.report_source
        metric = self.metric
        known: dict[str, Any] = {
            "model": model_digest(self.model),
            "data": self.calibration.source.digest(),
            "report_data": None if own is None else own.digest(),
            "target": repr(self.target),
            "exclude": self.setup.exclude,
            "providers": self.setup.providers,
            "metric": None if metric is None else _source(metric),
            "versions": versions(),
            **({} if self.setup.threads is None else {"threads": self.setup.threads}),
        }
        text = json.dumps(known, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def macs_by_precision(result: Result) -> dict[str, float]:
    """By precision, percent of the multiply-accumulates that really run so.

    On a CPU, what did not become an integer kernel computes in float.
    """
    plan, ctx = result.ctx.plan, result.ctx
    if not plan.nodes:
        return {"float": 100.0}
    cpu = is_cpu(ctx.target)
    fused = {e["node"] for e in result.report["layers"] if e["kernel"] or not cpu}
    sums: dict[str, float] = {}
    for node in result.original.nodes():
        cost = macs(node, ctx) if node.outputs else 0
        if not cost:
            continue
        precision = "16" if plan.precisions.get(node.name) == "16" else "float"
        if node.name in fused:
            codes = [ctx.qparams[t.name].dtype.bits for t in node.inputs if t.name in ctx.qparams]
            precision = "4" if min(codes, default=8) <= 4 else "8"
        sums[precision] = sums.get(precision, 0.0) + cost
    total = sum(sums.values())
    return {p: 100.0 * v / total for p, v in sorted(sums.items())} if total else {}


def _source(metric: Metric) -> str:
    """The text of *metric*, so that another one is not taken for it."""
    try:
        module = inspect.getmodule(metric)
        return inspect.getsource(metric if module is None else module)
    except (OSError, TypeError):
        return repr(metric)
