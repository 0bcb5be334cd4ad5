"""Floating-point formats of few bits in mode static: who can hold them, and what they leave out."""

from __future__ import annotations

from dataclasses import replace

from onnxq.errors import OptionError
from onnxq.passes.plan.plan_kernels import PlanKernels
from onnxq.pipeline import Context, Pass, Recipe
from onnxq.quant import QParams, number_format
from onnxq.targets import TARGETS, Target

_EVEN = ("round-second-order",)
"""Passes that choose codes of weights on a grid of even steps."""


def with_floats(
    recipe: Recipe,
    target: Target,
    format: str,  # noqa: A002 (the name is fixed)
    keep_scales: bool = False,
) -> Recipe:
    """*recipe*, whose weights have the format of activations where those are floats of few bits.

    Raises:
        OptionError: *target* cannot hold the format that the recipe asks for, *format* has no
            operators for it, or scales of training are to be kept, which are of even steps.
    """
    plan = next((p for p in recipe.passes if isinstance(p, PlanKernels)), None)
    if plan is None:
        return recipe
    asked = {k: number_format(v) for k in ("weights", "activations") if (v := getattr(plan, k))}
    floats = {k: kind for k, kind in asked.items() if kind.floating}
    if not floats:
        return recipe
    for what, kind in floats.items():
        if kind.name not in target.floats:
            raise OptionError(
                f"{what} in {kind} are not for target {target.name}",
                why="it has no layers that compute with them",
                hint=_who(kind.name) + "; --mode weights stores weights so",
            )
    if format == "qoperator":
        raise OptionError(
            "format qoperator has no operators on floating-point codes", hint="--format qdq"
        )
    if keep_scales:
        raise OptionError(
            "--keep-scales keeps the codes of training, which floating-point formats do not have",
            hint="leave out --activations and --weights",
        )
    weights = plan.weights or plan.activations
    left = _EVEN if number_format(str(weights)).floating else ()
    passes: list[Pass] = [p for p in recipe.passes if p.name not in left]
    new = replace(plan, weights=weights)
    return Recipe(tuple(new if p is plan else p for p in passes), recipe.name)


def warn_of_floats(ctx: Context) -> None:
    """Note what ONNX Runtime's CPU provider makes of a result with such codes."""
    found = {q.dtype.name for q in ctx.qparams.values() if _floating(q)}
    if found:
        ctx.journal.warn(
            f"ONNX Runtime's CPU provider computes around {', '.join(sorted(found))} in float, and "
            "has to be told to optimize no more than 'basic': beyond that, its fusions make "
            "invalid nodes or leave out a Relu. The result is for other runtimes"
        )


def _floating(qparams: QParams) -> bool:
    return qparams.dtype.floating


def _who(name: str) -> str:
    names = [t.name for t in TARGETS.values() if name in t.floats]
    return f"--target {' or '.join(names)}" if names else "--weights float8"
