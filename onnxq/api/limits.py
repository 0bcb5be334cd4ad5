"""Which opset the result may need, and whether the recipe can keep to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxq.errors import OptionError, UnsupportedModelError
from onnxq.graph import Model
from onnxq.passes.canonical.raise_opset import RaiseOpset
from onnxq.passes.plan.override_tensors import OverrideTensors, given_formats
from onnxq.passes.plan.plan_kernels import PlanKernels
from onnxq.passes.plan.plan_weights import PlanWeights
from onnxq.passes.plan.set_precision import SetPrecision
from onnxq.pipeline import Recipe
from onnxq.quant import DType, PerTensor, dtype, in_bytes, number_format
from onnxq.runtime.versions import reads
from onnxq.targets import Target

_BYTES = ("int8", "uint8")


@dataclass(frozen=True)
class Limits:
    """What the result must keep to.

    Attributes:
        opset: the highest opset of the default domain.
        ir_version: the highest IR version; None for any.
        why: who says so, for messages.
    """

    opset: int
    ir_version: int | None
    why: str


def find_limits(target: Target, max_opset: int | None, runtime_version: str | None) -> Limits:
    """The narrowest of the target's limit and the user's."""
    limits = Limits(target.max_opset, None, f"target {target.name}")
    if runtime_version is not None:
        opset, ir_version = reads(runtime_version)
        why = f"ONNX Runtime {runtime_version}"
        limits = Limits(min(opset, limits.opset), ir_version, why)
    if max_opset is not None and max_opset < limits.opset:
        limits = Limits(max_opset, limits.ir_version, f"--max-opset {max_opset}")
    return limits


def needed_opset(recipe: Recipe, target: Target) -> tuple[int, str]:
    """The lowest opset that can express the result, and what needs it.

    QuantizeLinear exists from opset 10, per-axis scales from 13, 4 and 16 bits from 21, 2 bits
    from 25.
    """
    stored = next((p for p in recipe.passes if isinstance(p, PlanWeights)), None)
    if stored is not None:
        return _for_weights(stored, target)
    plan = next((p for p in recipe.passes if isinstance(p, PlanKernels)), PlanKernels())
    formats = {
        number_format(plan.weights or target.weights.dtype),
        in_bytes(number_format(plan.activations or target.activations.dtype)),
    }
    for one in recipe.passes:
        formats |= given_formats(one.file) if isinstance(one, OverrideTensors) else set()
    chosen = {e for p in recipe.passes if isinstance(p, SetPrecision) for e in p.layers}
    if any(entry.endswith("=4") for entry in chosen):
        formats.add(dtype("int4" if target.weights.dtype.signed else "uint4"))
    least = {
        one: _opset_of(one, target) if one.floating else 25 if one.bits == 2 else 21
        for one in formats
        if one.storage not in _BYTES
    }
    if least:
        most = max(least, key=lambda one: (least[one], one.name))
        return least[most], f"{most} needs opset {least[most]}"
    per_tensor = isinstance(target.weights.granularity, PerTensor)
    if plan.granularity in ("tensor", "model") or (plan.granularity is None and per_tensor):
        return 10, "QuantizeLinear needs opset 10"
    return 13, "scales per channel need opset 13"


def _for_weights(stored: PlanWeights, target: Target) -> tuple[int, str]:
    """The same for a recipe that stores weights: DequantizeLinear in blocks needs 21."""
    kinds = (stored.weights, stored.tables)
    needs = [(_opset_of(kind, target), f"{kind} needs opset") for kind in kinds]
    needs.append((21, "scales in blocks need opset") if stored.block else (13, "scales need opset"))
    opset, why = max(needs, key=lambda need: need[0])
    return opset, f"{why} {opset}"


def _opset_of(kind: DType, target: Target) -> int:
    """The first opset that makes floats of weights of *kind*.

    By DequantizeLinear; 16 bits by a Cast, where *target* computes it at load.
    """
    if kind.floating:
        return 19 if kind.bits == 8 else 23
    return {2: 25, 4: 21, 16: 13 if target.folds_casts else 21}.get(kind.bits, 13)


def keep_to(recipe: Recipe, model: Model, target: Target, limits: Limits, asked: bool) -> Recipe:
    """*recipe* raising *model* to the opset that the result needs, within *limits*.

    Without limits that the user *asked* for, the opset is the target's usual one at least.

    Raises:
        OptionError: the result needs a higher opset than allowed.
        UnsupportedModelError: the model itself has a higher opset.
    """
    if model.opset > limits.opset:
        raise UnsupportedModelError(
            f"the model has opset {model.opset}, above the {limits.opset} of {limits.why}",
            hint="export the model with a lower opset",
        )
    needed, why = needed_opset(recipe, target)
    if needed > limits.opset:
        hint = "int8 and uint8" if needed > 13 else "--granularity tensor (less accurate)"
        raise OptionError(f"{why}, but {limits.why} allows {limits.opset}", hint=hint)
    opset = max(needed, min(target.opset, limits.opset)) if asked else max(needed, target.opset)
    passes = tuple(
        replace(p, opset=max(opset, p.opset) if not asked else opset)
        if isinstance(p, RaiseOpset)
        else p
        for p in recipe.passes
    )
    return Recipe(passes, recipe.name)
