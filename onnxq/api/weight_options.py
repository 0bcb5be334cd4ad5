"""Options of ``quantize`` on how weights are stored, put into the passes of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from onnxq.api.recipe import DOMAINS
from onnxq.errors import OptionError, UnknownNameError
from onnxq.passes.correct.round_weights import RoundWeights
from onnxq.passes.correct.round_weights_second_order import RoundWeightsSecondOrder
from onnxq.passes.emit.store_weights import StoreWeights
from onnxq.passes.equalize.protect_salient_channels import ProtectSalientChannels
from onnxq.passes.plan.exclude_nodes import ExcludeNodes
from onnxq.passes.plan.mix_weight_bits import MixWeightBits
from onnxq.passes.plan.plan_weights import PlanWeights
from onnxq.pipeline import Pass, Recipe, Stage
from onnxq.quant import DType, number_format
from onnxq.report.coverage.cpus import is_cpu
from onnxq.runtime.versions import CPU_LACKS
from onnxq.targets import Target

_TOGETHER = 8
"""Scales that share one; with blocks of 32 that is the super-block of k-quants."""
METHODS = ("rtn", "mse", "hqq", "gptq", "awq", "awq+gptq")
_RANGES = {"rtn": "minmax", "hqq": "hqq"}
_FORMATS = "int16, int8, int4, int2, float8e4m3fn, float8e5m2 or float4e2m1"


@dataclass(frozen=True, kw_only=True)
class WeightOptions:
    """Options of ``quantize`` for weights; None and False leave what the recipe has.

    Attributes:
        weights: format of codes.
        granularity: ``"channel"`` for whole rows, or ``"block:N"``.
        block: values of a block; 0 for whole rows.
        asymmetric: whether each block has a zero point of its own.
        method: how scales and codes are chosen, one of ``METHODS``.
        tables: format of codes of embeddings.
        domains: ``"microsoft"`` for operators of ONNX Runtime that read codes.
        mix_bits: the percentage of weights that may have 8 bits where fewer are asked for.
        double_scales: whether scales of blocks are stored as int8, eight to a scale.
        exclude: patterns of nodes that stay in float.
    """

    weights: str | None = None
    granularity: str | None = None
    block: int | None = None
    asymmetric: bool = False
    method: str | None = None
    tables: str | None = None
    domains: str | None = None
    mix_bits: float | None = None
    double_scales: bool = False
    exclude: tuple[str, ...] = ()


def changed(recipe: Recipe, options: WeightOptions, target: Target) -> Recipe:
    """*recipe* for *target* with *options* put into its passes.

    Raises:
        OptionError: the recipe stores no weights, or an option cannot be met.
        UnknownNameError: there is no such method or format.
    """
    values, passes = _values(options), list(recipe.passes)
    planned = any(isinstance(p, PlanWeights) for p in passes)
    if options.method is not None and planned:
        passes = _with_method(passes, options.method)
    asked = {**values, "weight_method": options.method, "mix_bits": options.mix_bits}
    given = ", ".join(name for name, value in asked.items() if value is not None)
    if given and not planned:
        raise OptionError(f"option {given} has no effect: the recipe has no pass 'plan-weights'")
    for place, one in enumerate(passes):
        known = {f.name for f in fields(one)} if one.name in _TAKES else set()
        own = {k: v for k, v in values.items() if k in known}
        passes[place] = replace(one, **own) if own else one
    _check_integers(passes)
    if options.mix_bits is not None:
        after = [i + 1 for i, p in enumerate(passes) if isinstance(p, PlanWeights)]
        passes.insert(after[0], MixWeightBits(percent=options.mix_bits))
    if options.exclude:
        first = next((i for i, p in enumerate(passes) if p.stage is Stage.PLAN), len(passes))
        passes.insert(first, ExcludeNodes(patterns=options.exclude))
    _refuse_formats(passes, target)
    return Recipe(tuple(passes), recipe.name)


def _refuse_formats(passes: list[Pass], target: Target) -> None:
    """Stop where the runtime of *target* is known not to load what *passes* would write.

    Raises:
        OptionError: names the format or the operators, and what can be done.
    """
    for one in passes:
        microsoft = isinstance(one, StoreWeights) and one.domains == "microsoft"
        if microsoft and "com.microsoft" not in target.domains:
            raise OptionError(
                f"target {target.name} has no operators of ONNX Runtime", hint="--domains standard"
            )
        for kind in (one.weights, one.tables) if isinstance(one, PlanWeights) else ():
            if kind.name in CPU_LACKS and is_cpu(target):
                raise OptionError(
                    f"target {target.name} could not load weights of {kind}",
                    why="ONNX Runtime's CPU provider has no kernel for this format",
                    hint="--target generic writes them for other runtimes",
                )


_TAKES = ("plan-weights", "protect-salient-channels", "store-weights")
"""Passes that are told how weights are stored."""


def _values(options: WeightOptions) -> dict[str, Any]:
    """*options* as those of passes."""
    values: dict[str, Any] = {}
    if options.weights is not None:
        values["weights"] = _format(options.weights)
        if values["weights"].bits == 16:
            values["tables"] = values["weights"]
    if options.tables is not None:
        values["tables"] = _format(options.tables)
    block = options.block if options.granularity is None else _block(options)
    if block is not None:
        values["block"] = block
    if options.double_scales:
        if options.domains == DOMAINS[0]:
            raise OptionError(
                "operators of ONNX Runtime take scales in float32", hint="no --double-scales"
            )
        values["nested"] = _TOGETHER
    if options.domains is not None:
        values["domains"] = options.domains
    if options.asymmetric:
        if any(kind.floating for k in ("weights", "tables") if (kind := values.get(k)) is not None):
            raise OptionError("floating-point formats have no zero points", hint="no --asymmetric")
        if any(
            kind.bits == 16 for k in ("weights", "tables") if (kind := values.get(k)) is not None
        ):
            raise OptionError("16 bits have no use for zero points", hint="no --asymmetric")
        values["symmetric"] = False
    return values


def _with_method(passes: list[Pass], method: str) -> list[Pass]:
    """*passes* with those of *method* in place of what they round weights by."""
    if method not in METHODS:
        raise UnknownNameError("method for weights", method, METHODS)
    if not any(isinstance(p, RoundWeights) for p in passes):
        raise OptionError("option weight_method has no effect: the recipe has no 'round-weights'")
    found: list[Pass] = []
    for one in passes:
        if isinstance(one, RoundWeightsSecondOrder | ProtectSalientChannels):
            continue
        if isinstance(one, RoundWeights):
            found.append(RoundWeights(method=_RANGES.get(method, "mse")))  # type: ignore[arg-type]
            if "gptq" in method:
                found.append(_own(passes, RoundWeightsSecondOrder()))
        else:
            found.append(one)
    if "awq" in method:
        first = next(i for i, p in enumerate(found) if p.stage >= Stage.PLAN)
        plan = next(p for p in found if isinstance(p, PlanWeights))
        given = ProtectSalientChannels(
            weights=plan.weights, block=plan.block, symmetric=plan.symmetric
        )
        found.insert(first, _own(passes, given))
    return found


def _own(passes: list[Pass], default: Pass) -> Pass:
    """The pass as *passes* have it, or *default*."""
    return next((p for p in passes if type(p) is type(default)), default)


def _check_integers(passes: list[Pass]) -> None:
    """Stop where a pass that is for integers would meet floating-point weights."""
    floating = any(isinstance(p, PlanWeights) and p.weights.floating for p in passes)
    for one in passes if floating else ():
        uneven = isinstance(one, RoundWeights) and one.method == "hqq"
        if uneven or isinstance(one, RoundWeightsSecondOrder):
            raise OptionError(
                f"'{one.name}' is for integers, and weights are to be floating-point numbers",
                hint="--weight-method mse or awq",
            )


def _block(options: WeightOptions) -> int:
    """The block size that a granularity names."""
    text = str(options.granularity)
    kind, _, size = text.partition(":")
    if kind == "block" and size.isdecimal() and options.block in (None, int(size)):
        return int(size)
    if text == "channel" and not options.block:
        return 0
    raise OptionError(
        f"weights cannot be stored with granularity '{text}'"
        + (f" and --block {options.block}" if options.block is not None else ""),
        hint="--granularity channel or block:N, or --block N",
    )


def _format(name: str) -> DType:
    found = number_format(name)
    if found.bits not in (2, 4, 8, 16):
        raise OptionError(f"weights cannot be stored as {name}", hint=_FORMATS)
    return found
