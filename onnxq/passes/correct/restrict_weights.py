"""restrict-weights: weights of few values, as simulated precisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from onnxq.graph import Model, constant_value
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import PerAxis, QParams, QuantSpec, ScaleRule
from onnxq.quant.affine import SMALLEST_SCALE
from onnxq.quant.nonuniform import NONUNIFORM

KEY = "onnxq.weights"
"""Key of the metadata: the precision of weights that is simulated."""


@dataclass(frozen=True, kw_only=True)
class RestrictWeights(Pass):
    """Let weights take few values only: powers of two, three values, or two.

    What it does
        Chooses, for each weight that was quantized to 8 bits, other scales and codes: ``log4``
        0 and ± seven powers of two (4 bits), ``ternary`` −1, 0, 1 (2 bits), ``binary`` −1, 1
        (1 bit), with one scale for each output channel, or one for the tensor, as planned.

    Why
        Hardware without multipliers shifts by logarithmic weights, and adds or subtracts with
        ternary and binary ones. What that costs shows in the report, before anything is built.

    Example
        ``restrict-weights{precision=ternary}`` behind ``quantize-weights``.

    When it declines
        Weights of other formats than 8 bits, and those whose scale was given, stay.

    Numerics
        The values are exact as 8-bit codes: what runs is what is simulated. The file is no
        smaller and no faster for it. Without training, ternary and binary weights seldom do.

    Source
        Zhou et al. 2017 (INQ); Li and Liu 2016 (TWN); Rastegari et al. 2016 (XNOR-Net).

    Attributes:
        precision: log4, ternary or binary.
    """

    name: ClassVar[str] = "restrict-weights"
    stage: ClassVar[Stage] = Stage.CORRECT
    preserves: ClassVar[float | None] = 0.0

    precision: Literal["log4", "ternary", "binary"] = "log4"

    def run(self, model: Model, ctx: Context) -> None:
        tensors, changed = model.tensors(), 0
        for node in model.graph.nodes:
            if node.name not in ctx.plan.nodes:
                continue
            index = ctx.target.rules[node.op].weight
            if index is None:
                continue
            name = node.inputs[index].name
            spec, value = ctx.plan.tensors.get(name), constant_value(tensors[name])
            if value is None or not isinstance(spec, QuantSpec) or name not in ctx.integers:
                continue
            if spec.dtype.bits != 8 or not spec.dtype.signed:
                ctx.decline(node, f"its weight is {spec.dtype}, not int8")
                continue
            axis = spec.granularity.axis if isinstance(spec.granularity, PerAxis) else None
            rows = np.moveaxis(value, axis, 0) if axis is not None else value
            shape = rows.shape
            flat = rows.reshape(shape[0] if axis is not None else 1, -1).astype(np.float64)
            scale, codes = NONUNIFORM[self.precision](flat)
            scale = np.where(scale < SMALLEST_SCALE, 1.0, scale)  # a channel of zeros
            if spec.scale is ScaleRule.POWER_OF_TWO:
                scale = np.exp2(np.rint(np.log2(scale)))
            codes = codes.reshape(shape)
            ctx.integers[name] = (codes if axis is None else np.moveaxis(codes, 0, axis)).astype(
                spec.dtype.numpy
            )
            found = scale.astype(np.float32)
            found = found if axis is not None else found.reshape(())
            zero = np.zeros(found.shape, np.int64)
            ctx.qparams[name] = QParams(found, zero, spec.dtype, axis, spec.narrow_range)
            changed += 1
        model.metadata[KEY] = f"{self.precision}, simulated"
        ctx.journal.warn(
            f"the weights of {changed} layers are {self.precision}, simulated: codes of 8 bits "
            "that take only these values"
        )
