"""The recipe of a mode: dynamic (scales computed in each run) or weights (weights alone)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onnxq.api.recipe import DOMAINS
from onnxq.errors import OptionError, UnknownNameError
from onnxq.pipeline import Recipe
from onnxq.pipeline.named import MODES
from onnxq.targets import Target

_ON_DATA = ("min_sqnr", "bench", "require_speedup", "report_data")


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
