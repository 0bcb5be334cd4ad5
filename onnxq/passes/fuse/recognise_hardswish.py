"""The pass ``recognise-hardswish``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.passes._scope import Scope
from onnxq.passes.fuse._curve import recognise
from onnxq.pipeline import Context, Pass, Stage


def _hardswish(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x * np.clip(x + 3, 0, 6) / 6)


@dataclass(frozen=True, kw_only=True)
class RecogniseHardSwish(Pass):
    """Recognise HardSwish in primitive operators.

    What it does:
        Finds nodes which together compute one function of one tensor::

            hardswish(x) = x · min(max(x + 3, 0), 6) / 6

        and records them as a group of kind ``hardswish``. The graph is not changed. The nodes are
        evaluated on numbers from −6 to 6 and compared with the function, so that the order and
        grouping of the operators do not matter.

    Why:
        A quantized range between these nodes is of no use to any kernel and costs accuracy; a plan
        that knows the group keeps it whole.

    Example:
        ``Mul(x, HardSigmoid<alpha = 1/6>(x))``, ``Div(Mul(x, Clip(Add(x, 3), 0, 6)), 6)``.

    When it declines:
        A tensor inside of the group is read outside or is an output of the graph. What computes
        another function is no candidate.

    Numerics:
        Nothing is computed. Equal means within 0.002 on the grid.

    Source:
        Howard et al., Searching for MobileNetV3 (2019), section 5.2.
    """

    name: ClassVar[str] = "recognise-hardswish"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Record every group."""
        recognise(
            Scope(model),
            ctx,
            "hardswish",
            ("Clip", "HardSigmoid", "Relu", "Min", "Max"),
            (_hardswish,),
        )
