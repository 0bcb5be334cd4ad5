"""The recipe of a mode: dynamic (scales computed in each run) or weights (weights alone)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from onnxq.api.recipe import DOMAINS
from onnxq.errors import OptionError, UnknownNameError
from onnxq.passes.plan.exclude_nodes import ExcludeNodes
from onnxq.passes.plan.plan_weights import PlanWeights
from onnxq.pipeline import Pass, Recipe, Stage
from onnxq.pipeline.named import MODES
from onnxq.quant import DType, dtype
from onnxq.targets import Target

_ON_DATA = ("min_sqnr", "bench", "require_speedup", "report_data")


@dataclass(frozen=True, kw_only=True)
class WeightOptions:
    """Options of ``quantize`` for weights; None and False leave what the recipe has.

    Attributes:
        weights: format of codes.
        granularity: ``"channel"`` for whole rows, or ``"block:N"``.
        block: values of a block; 0 for whole rows.
        asymmetric: whether each block has a zero point of its own.
        exclude: patterns of nodes that stay in float.
    """

    weights: str | None = None
    granularity: str | None = None
    block: int | None = None
    asymmetric: bool = False
    exclude: tuple[str, ...] = ()


def recipe_of(mode: str, recipe: str | Recipe) -> str | Recipe:
    """What the name *recipe* stands for in *mode*.

    Raises:
        UnknownNameError: there is no such mode.
    """
    if mode not in MODES:
        raise UnknownNameError("mode", mode, MODES)
    return MODES[mode].get(recipe, recipe) if isinstance(recipe, str) else recipe


def refuse(mode: str, given: Mapping[str, object], target: Target, data: object) -> None:
    """Stop where an option is *given* (name to value) that the *mode* has no use for.

    Raises:
        OptionError: names the option, or what needs *data*; or the *target* computes on integers
            alone, which these modes do not.
    """
    for option, value in given.items():
        needs = option in _ON_DATA and data is None
        if value not in (None, False, ()) and (option not in _ON_DATA or needs):
            why = "no ranges are measured in this mode"
            if mode == "static" or needs:
                why = "it is for --mode weights" if mode == "static" else "it needs samples"
            raise OptionError(
                f"--{option.replace('_', '-')} has no effect with --mode {mode}",
                why=why,
                hint="--data DATA" if needs else "leave it out, or choose another --mode",
            )
    if mode != "static" and target.integer is not None:
        raise OptionError(
            f"--mode {mode} is not for target {target.name}, which computes on integers alone",
            hint="--mode static",
        )


def standard_only(target: Target, domains: str | None) -> Target:
    """*target* with ONNX's own operators only, where *domains* asks for that.

    Raises:
        UnknownNameError: there is no such choice.
    """
    if domains not in (None, *DOMAINS):
        raise UnknownNameError("choice of domains", str(domains), DOMAINS)
    return target if domains in (None, DOMAINS[0]) else replace(target, domains=())


def changed(recipe: Recipe, options: WeightOptions) -> Recipe:
    """*recipe* with *options* put into its passes.

    Raises:
        OptionError: the recipe stores no weights.
    """
    values: dict[str, Any] = {}
    if options.weights is not None:
        values["weights"] = _format(options.weights)
    block = options.block if options.granularity is None else _block(options)
    if block is not None:
        values["block"] = block
    if options.asymmetric:
        values["symmetric"] = False
    passes: list[Pass] = list(recipe.passes)
    place = next((i for i, p in enumerate(passes) if isinstance(p, PlanWeights)), None)
    if values and place is None:
        raise OptionError(
            f"option {', '.join(values)} has no effect: the recipe has no pass 'plan-weights'"
        )
    if place is not None and values:
        assert values.keys() <= {f.name for f in fields(passes[place])}
        passes[place] = replace(passes[place], **values)
    if options.exclude:
        first = next((i for i, p in enumerate(passes) if p.stage is Stage.PLAN), len(passes))
        passes.insert(first, ExcludeNodes(patterns=options.exclude))
    return Recipe(tuple(passes), recipe.name)


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
    found = dtype(name)
    if found.bits not in (2, 4, 8):
        raise OptionError(
            f"weights cannot be stored as {name}", hint="int8, int4 or int2, --asymmetric for more"
        )
    return found
