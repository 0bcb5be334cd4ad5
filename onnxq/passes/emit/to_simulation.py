"""to-simulation: the integers of a model as explicit arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model
from onnxq.integer import lower
from onnxq.integer.program import ROUNDING_KEY
from onnxq.integer.simulation import SIMULATION_KEY, simulate
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class ToSimulation(Pass):
    """Compute what integer-only hardware computes, bit for bit, in any ONNX Runtime.

    What it does
        The QDQ model is read as integers, as ``onnxq verify`` and the generated C read it. Each
        layer becomes the sum of its products, a product with a power of two, Floor (or what the
        target's rounding asks for), Clip, and a cast to the type of the codes. The model takes and
        gives what it did before.

    Why
        QuantizeLinear rounds ties to even; a shift rounds half up, or down. On a QDQ model a
        runtime is therefore off by one now and then, and later layers with it. Here accuracy can
        be measured, and outputs compared with a device's, exactly.

    Example
        ``insert-qdq,to-simulation`` with ``--target fpga-pow2 --rounding floor``

    When it declines
        A model without a meaning in integers alone, with the first node that has none; for a
        target without floating point that is an error.

    Numerics
        Sums are whole numbers in float32, or float64, that are too short to be rounded, which the
        proven width of each accumulator says; see `onnxq.integer.simulation`.

    Source
        Jain et al. 2020, "Trained Quantization Thresholds", section 3.1, for the arithmetic.
    """

    name: ClassVar[str] = "to-simulation"
    stage: ClassVar[Stage] = Stage.EMIT
    preserves: ClassVar[float | None] = None

    def run(self, model: Model, ctx: Context) -> None:
        if ctx.target.integer is not None:
            model.metadata[ROUNDING_KEY] = ctx.target.integer.rounding.value
        model.sort()
        try:
            simulation = simulate(lower(model), model)
        except UnsupportedModelError as error:
            if ctx.target.integer is not None:
                raise
            ctx.decline(model.graph.name or "model", f"{error.message}: {error.why}")
            return
        model.replace(simulation.model)
        model.metadata[SIMULATION_KEY] = "yes"
