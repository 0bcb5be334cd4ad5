"""The recipe that a call of ``quantize`` asks for: a named one, changed by options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, cast

from onnxq.errors import OptionError, UnknownNameError
from onnxq.passes.correct.restrict_weights import RestrictWeights
from onnxq.passes.emit.io_dtype import IoDtype
from onnxq.passes.emit.store_float16 import StoreFloat16
from onnxq.passes.emit.store_rest import StoreRest
from onnxq.passes.emit.to_qoperator import ToQoperator
from onnxq.passes.emit.to_simulation import ToSimulation
from onnxq.passes.fuse.fuse_focus import FuseFocus
from onnxq.passes.plan.exclude_nodes import ExcludeNodes
from onnxq.passes.plan.keep_faster_float import KeepFasterFloat
from onnxq.passes.plan.keep_sensitive_weights import KeepSensitiveWeights
from onnxq.passes.plan.override_tensors import OverrideTensors, given_encodings
from onnxq.passes.plan.plan_kernels import PlanKernels
from onnxq.passes.plan.plan_weights import PlanWeights
from onnxq.pipeline import Pass, QuantPlan, Recipe, Stage
from onnxq.quant import DType, dtype, number_format
from onnxq.quant.nonuniform import NONUNIFORM
from onnxq.quant.ranges import RANGE_METHODS
from onnxq.targets import Target

FORMATS = ("qdq", "qdq-float", "qoperator", "simulate")
DOMAINS = ("microsoft", "standard")
#: Passes that write a QDQ model in another form; they come last.
FORMS = (ToQoperator, ToSimulation)
GRANULARITIES = ("tensor", "channel", "model")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Options of ``quantize`` that change passes of the recipe; None and () change nothing."""

    calibration: str | None = None
    weights: str | None = None
    activations: str | None = None
    granularity: str | None = None
    format: str = "qdq"
    exclude: tuple[str, ...] = ()
    overrides: str | None = None
    io_dtype: str | None = None
    latency_aware: bool = False
    costs: str = ""
    domains: str | None = None

    def __post_init__(self) -> None:
        methods = (*RANGE_METHODS, "auto")
        if self.calibration is not None and self.calibration not in methods:
            raise UnknownNameError("calibration method", self.calibration, methods)
        for name in (self.weights, self.activations):
            if name is not None and not (name == self.weights and name in NONUNIFORM):
                _check_width(number_format(name))
        if str(self.granularity).startswith("block"):
            raise OptionError(
                f"granularity '{self.granularity}' in mode static",
                why="an integer kernel adds up whole rows, and applies one scale to the sum",
                hint=f"--mode weights --granularity {self.granularity}: layers compute in float",
            )
        if self.granularity not in (None, *GRANULARITIES):
            raise UnknownNameError("granularity", str(self.granularity), GRANULARITIES)
        if self.format not in FORMATS:
            raise UnknownNameError("format", self.format, FORMATS)
        if self.io_dtype not in (None, "uint8", "int8"):
            raise UnknownNameError("input and output type", str(self.io_dtype), ("uint8", "int8"))
        if self.domains not in (None, *DOMAINS):
            raise UnknownNameError("choice of domains", str(self.domains), DOMAINS)
        if self.domains is not None and self.format != "qoperator":
            raise OptionError("--domains has no effect on QDQ models", hint="--format qoperator")


def _check_width(kind: DType) -> None:
    """Stop where no QuantizeLinear makes *kind*.

    Raises:
        OptionError: it has more than 16 bits.
    """
    if kind.bits > 16:
        raise OptionError(f"{kind} for weights or activations", hint="2 to 16 bits")


_ROUNDING_AGAIN = ("round-second-order",)
"""Passes that choose codes of weights anew, on an even grid."""


def change(recipe: Recipe, changes: Changes) -> Recipe:
    """*recipe* with the options of the call put into its passes.

    Raises:
        OptionError: an option needs a pass that the recipe does not have.
    """
    passes = list(recipe.passes)
    kernels = {k: getattr(changes, k) for k in ("weights", "activations", "granularity")}
    if changes.weights in NONUNIFORM:  # values that 8-bit codes hold
        kernels["weights"] = None
        _insert(
            passes, "quantize-weights", 1, RestrictWeights(precision=cast(Any, changes.weights))
        )
        passes = [p for p in passes if p.name not in _ROUNDING_AGAIN]
    _set(passes, "plan-kernels", {k: v for k, v in kernels.items() if v is not None})
    if changes.calibration is not None:
        _set(passes, "choose-ranges", {"method": changes.calibration})
    if changes.format == "qdq-float":
        _set(passes, "insert-qdq", {"float_weights": True})
    if changes.latency_aware:
        _set(passes, "keep-faster-float", {"apply": True})
        if all(p.name != "fuse-focus" for p in passes):
            _insert(passes, "fuse-pad", 1, FuseFocus())
    if changes.costs:
        _set(passes, "keep-faster-float", {"costs": changes.costs})
    if changes.exclude:
        _insert(passes, "plan-kernels", 0, ExcludeNodes(patterns=changes.exclude))
    if changes.overrides is not None:
        _insert(passes, "choose-ranges", 0, OverrideTensors(file=changes.overrides))
        if given_encodings(changes.overrides) is not None:  # of the channels as they are
            passes = [p for p in passes if p.stage is not Stage.EQUALIZE]
    if changes.io_dtype is not None:
        _insert(passes, "insert-qdq", 1, IoDtype(dtype=changes.io_dtype))
    if changes.format in ("qoperator", "simulate"):
        _place(passes, "insert-qdq", f"format {changes.format}")
        qoperator = ToQoperator(domains=changes.domains or DOMAINS[0])
        passes.append(qoperator if changes.format == "qoperator" else ToSimulation())
    return Recipe(tuple(passes), recipe.name)


def first_plan(recipe: Recipe, excluded: Mapping[str, str]) -> QuantPlan:
    """The plan that *recipe* begins with: nodes *excluded*, by name why, and formats.

    Passes in front of ``plan-kernels`` look at the granularity that it will ask for.
    """
    kernels = next((p for p in recipe.passes if isinstance(p, PlanKernels)), PlanKernels())
    faster = any(isinstance(p, KeepFasterFloat) and p.apply for p in recipe.passes)
    return QuantPlan(
        excluded=dict(excluded),
        latency_aware=faster,
        weights=kernels.weights,
        activations=kernels.activations,
        granularity=kernels.granularity,
    )


def excluded_by(report: str | PathLike[str] | None) -> tuple[str, ...]:
    """The nodes that the recommendation of an earlier report keeps in float; none is an answer too.

    Raises:
        OptionError: the file is no report, or effects on the outputs were not measured for it.
    """
    if report is None:
        return ()
    try:
        found = json.loads(Path(report).read_text(encoding="utf-8"))
        advice = found["recommendation"]
        names = tuple(str(e["node"]) for e in advice if e.get("action", "float") == "float")
    except OSError as error:
        raise OptionError(f"report '{report}' cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(f"'{report}' is no report of onnxq", why=str(error)) from error
    if not names and not found.get("sensitivity"):
        raise OptionError(
            f"report '{report}' recommends nothing: effects on the outputs were not measured",
            hint="make it with --report REPORT.json",
        )
    return names


RESTS = ("fp16", "int16", "int8", "float32")
_LINEAR = ("MatMul", "Gemm", "LSTM")


def with_rest(recipe: Recipe, rest: str | None, target: Target, mode: str) -> Recipe:
    """*recipe* of *mode* storing what stays in float as *rest* says.

    None leaves the recipe's choice. In mode dynamic linear layers that are too small for integers
    are stored as int8 whatever *rest* is, unless it is int16.

    Raises:
        UnknownNameError: there is no such type.
        OptionError: nothing stays in float on *target*, or *mode* has no use for it.
    """
    passes = list(recipe.passes)
    if rest is None:
        halves = target.folds_casts or mode != "dynamic" or not recipe.name
        kept = passes if halves else [p for p in passes if not isinstance(p, StoreFloat16)]
        return Recipe(tuple(kept), recipe.name)
    if rest not in RESTS:
        raise UnknownNameError("type of what stays in float", rest, RESTS)
    if target.integer is not None:
        raise OptionError(f"--rest has no effect: nothing stays in float on {target.name}")
    if rest in ("int8", "int16"):
        if mode != "dynamic":
            raise OptionError(f"--rest {rest} has no effect with --mode {mode}", hint="--rest fp16")
        kept = [p for p in passes if not isinstance(p, KeepSensitiveWeights)]
        if rest == "int16":
            kept = [_in_16_bits(p) for p in kept if not isinstance(p, StoreFloat16)]
        return Recipe(tuple(kept), recipe.name)
    forms = [p for p in passes if isinstance(p, FORMS)]
    others = [p for p in passes if not isinstance(p, (*FORMS, StoreFloat16))]
    if mode == "dynamic":
        others = [replace(p, ops=_LINEAR) if isinstance(p, PlanWeights) else p for p in others]
    if rest == "fp16":
        others.append(StoreFloat16())
    else:
        others = [p for p in others if not isinstance(p, StoreRest)]
    return Recipe((*others, *forms), recipe.name)


def _in_16_bits(one: Pass) -> Pass:
    return (
        replace(one, weights=dtype("int16"), tables=dtype("int16"))
        if isinstance(one, PlanWeights)
        else one
    )


def _place(passes: list[Pass], name: str, what: str) -> int:
    for index, one in enumerate(passes):
        if one.name == name:
            return index
    raise OptionError(
        f"{what} has no effect: the recipe has no pass '{name}'", hint=f"add '{name}'"
    )


def _set(passes: list[Pass], name: str, values: dict[str, Any]) -> None:
    if values:
        index = _place(passes, name, f"option {', '.join(values)}")
        known = {f.name for f in fields(passes[index])}
        assert values.keys() <= known, (name, values)
        passes[index] = replace(passes[index], **values)


def _insert(passes: list[Pass], name: str, offset: int, new: Pass) -> None:
    passes.insert(_place(passes, name, f"pass '{new.name}'") + offset, new)
