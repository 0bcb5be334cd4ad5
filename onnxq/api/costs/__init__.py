"""What kernels cost: the table of a target, or measured on this machine."""

from __future__ import annotations

from onnxq.api.costs import cache
from onnxq.api.costs.kernels import measure
from onnxq.errors import OptionError, UnknownNameError
from onnxq.passes.plan.keep_faster_float import KeepFasterFloat
from onnxq.pipeline import Recipe
from onnxq.pipeline.progress import Progress
from onnxq.report.coverage.cpus import is_cpu
from onnxq.targets import Target, detect
from onnxq.targets.costs import Costs

SOURCES = ("target", "measured")


def costs_from(
    source: str, target: Target, progress: Progress | None = None, threads: int | None = None
) -> str:
    """Costs as the pass ``keep-faster-float`` takes them; empty for the table of *target*.

    What is measured, on one thread or on as many as *threads*, takes up to half a minute, once: it
    is kept in the user's cache.

    Raises:
        UnknownNameError: *source* is none of ``SOURCES``.
        OptionError: *target* is not this machine's processor, so that nothing can be measured.
    """
    if source not in SOURCES:
        raise UnknownNameError("source of costs", source, SOURCES)
    if source == "target":
        return ""
    here, _ = detect()
    if not is_cpu(target) or (target.name == "arm") != (here == "arm"):
        raise OptionError(
            f"costs of target '{target.name}' cannot be measured on this machine",
            why=f"its processor is that of target '{here}'",
            hint="--costs target, or --target auto",
        )
    count = threads or 1
    found = cache.load(target, count)
    if found is None:
        found = measure(target, progress, count)
        cache.save(target, found, count)
    return str(found)


def check_threads(threads: int | None, *, used: bool) -> None:
    """Refuse a number of *threads* that cannot be, or that nothing is measured with.

    Raises:
        OptionError: it is such a number.
    """
    if threads is not None and threads < 1:
        raise OptionError(f"--threads {threads}: one at least")
    if threads is not None and not used:
        raise OptionError(
            f"--threads {threads} has no effect",
            why="nothing is measured: plans rest on the target's table",
            hint="--costs measured, or a budget or report of latency",
        )


def costs_in(recipe: Recipe) -> Costs | None:
    """The costs that *recipe* states; None where it leaves them to the target."""
    stated = (p.costs for p in recipe.passes if isinstance(p, KeepFasterFloat) and p.costs)
    return next(map(Costs.parse, stated), None)


def said(recipe: Recipe, target: Target) -> list[str]:
    """What the report says of the costs that a plan for *target* was made with."""
    asked = [p for p in recipe.passes if isinstance(p, KeepFasterFloat)]
    if not any(p.apply or p.costs for p in asked) or target.integer is not None:
        return []
    if any(p.costs for p in asked):
        return ["costs of kernels: as the recipe states them, measured on one machine"]
    if target.costs is None:
        return [f"costs of kernels: target {target.name} has none, nothing is predicted"]
    return [f"costs of kernels: the table of target {target.name}"]
