"""What targets without floating point ask for beside the recipe."""

from __future__ import annotations

from dataclasses import replace

from onnxq.errors import OptionError, UnknownNameError, UnsupportedModelError
from onnxq.graph import Model
from onnxq.integer.simulation import SIMULATION_KEY
from onnxq.passes.correct.correct_biases_empirical import CorrectBiasesEmpirical
from onnxq.passes.correct.legalize_shifts import LegalizeShifts
from onnxq.passes.correct.prove_accumulators import ProveAccumulators
from onnxq.passes.emit.to_simulation import ToSimulation
from onnxq.passes.plan.align_joins import AlignJoins
from onnxq.passes.plan.require_integer import RequireInteger
from onnxq.pipeline import Context, Pass, PassRecord, Recipe, Stage
from onnxq.pipeline.named import RECIPES
from onnxq.quant import Rounding, ScaleRule
from onnxq.targets import ZERO_POINTS, Target

_ROUNDINGS = tuple(r.value for r in Rounding)
_POWERS = ScaleRule.POWER_OF_TWO


def with_arithmetic(target: Target, rounding: str | None, bias_bits: int | None) -> Target:
    """*target* with the rounding of results and the width of biases that the user asks for.

    Raises:
        UnknownNameError: there is no such rounding.
        OptionError: the target does not leave the choice, or the width is not 8 to 32 bits.
    """
    if rounding is None and bias_bits is None:
        return target
    if target.integer is None:
        option = "--rounding" if rounding is not None else "--bias-bits"
        raise OptionError(
            f"{option} has no effect: target {target.name} leaves it to its runtime",
            hint="--target fpga-pow2, nxp, esp32, dpu or mcu-int8",
        )
    integer = target.integer
    if rounding is not None:
        if rounding not in _ROUNDINGS:
            raise UnknownNameError("rounding", rounding, _ROUNDINGS)
        integer = replace(integer, rounding=Rounding(rounding))
    if bias_bits is not None:
        if not 8 <= bias_bits <= 32:
            raise OptionError(f"biases of {bias_bits} bits", hint="--bias-bits 8 to 32")
        integer = replace(integer, bias_bits=bias_bits)
    return replace(target, integer=integer)


def with_codes(target: Target, scales: str | None, asymmetric: bool) -> Target:
    """*target* with scales that are powers of two, and zero points of activations, where asked for.

    Raises:
        UnknownNameError: there is no such rule for scales.
        OptionError: the target has zero points already, or never.
    """
    if scales not in (None, _POWERS.value):
        raise UnknownNameError("rule for scales", str(scales), (_POWERS.value,))
    if scales is not None:
        activations, weights = (
            replace(s, scale=_POWERS) for s in (target.activations, target.weights)
        )
        target = replace(target, activations=activations, weights=weights)
    if not asymmetric:
        return target
    if not target.activations.symmetric:
        raise OptionError(
            f"--asymmetric has no effect: activations of target {target.name} have zero points"
        )
    if ZERO_POINTS in target.lacks:
        raise OptionError(
            f"--asymmetric is not possible on {target.name}", why=target.lacks[ZERO_POINTS]
        )
    integer = target.integer and replace(target.integer, zero_points=True)
    return replace(
        target, activations=replace(target.activations, symmetric=False), integer=integer
    )


def check_format(format: str, target: Target) -> None:  # noqa: A002 (the name is fixed)
    """Refuse a *format* that *target* does not have.

    Raises:
        OptionError: it reads QDQ models alone, or has no integer arithmetic of its own.
    """
    if format == "simulate" and target.integer is None:
        raise OptionError(
            f"format simulate: target {target.name} leaves the arithmetic to its runtime",
            hint="--target fpga-pow2, nxp, esp32, dpu or mcu-int8",
        )
    if format == "qoperator" and not target.quantized_bias:
        raise OptionError(
            f"format qoperator: target {target.name} reads QDQ models, with biases in float",
            hint="--format qdq, or --target x86 for ONNX Runtime",
        )


def legalized(recipe: Recipe, target: Target) -> Recipe:
    """*recipe* with the passes that a *target* without floating point cannot do without.

    Recipes that have a name correct biases for what the target's rounding adds, too: nothing else
    does.
    """
    if target.integer is None:
        return recipe
    passes = list(recipe.passes)
    if recipe.name in RECIPES:
        passes = [p for p in passes if p.name != "correct-biases"]
        if "quantize-biases" in (names := [p.name for p in passes]):
            _add(passes, CorrectBiasesEmpirical(), at=names.index("quantize-biases"))
    _add(passes, AlignJoins(), after=Stage.PLAN)
    _add(passes, RequireInteger(), after=Stage.PLAN)
    names = [p.name for p in passes]
    if "quantize-biases" in names:
        _add(passes, LegalizeShifts(), at=_first(names, "correct-biases", "quantize-biases"))
        names = [p.name for p in passes]
        _add(passes, ProveAccumulators(), at=names.index("quantize-biases") + 1)
    return Recipe(tuple(passes), recipe.name)


def as_it_runs(work: Model, ctx: Context) -> Model:
    """*work* as the target computes it: for measuring; itself where a runtime decides.

    It is itself, too, where a node has no meaning in integers alone.
    """
    if ctx.target.integer is None or SIMULATION_KEY in work.metadata:
        return work
    found = work.clone()
    ctx.journal.records.append(PassRecord(ToSimulation.name))
    try:
        ToSimulation().run(found, ctx)
    except UnsupportedModelError:
        return work
    finally:
        ctx.journal.records.pop()
    return found


def metadata(target: Target) -> dict[str, str]:
    """What the integers of the file mean, beside their scales."""
    if target.integer is None:
        return {}
    return {
        "rounding": target.integer.rounding.value,
        "requantization": "multiplier" if target.integer.multiplier else "shift",
        "bias_bits": str(target.integer.bias_bits),
        "accumulator_bits": str(target.integer.accumulator_bits),
        **({"zero_points": "any"} if target.integer.zero_points else {}),
    }


def _first(names: list[str], *starts: str) -> int:
    return next(i for i, name in enumerate(names) if name.startswith(starts))


def _add(
    passes: list[Pass], new: Pass, *, after: Stage | None = None, at: int | None = None
) -> None:
    """Insert *new*, unless the recipe has it, behind the last pass of a stage or at a place."""
    if any(p.name == new.name for p in passes):
        return
    if at is None:
        assert after is not None
        at = max((i for i, p in enumerate(passes) if p.stage <= after), default=-1) + 1
    passes.insert(at, new)
