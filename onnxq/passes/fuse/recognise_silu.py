"""The pass ``recognise-silu``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.passes._scope import Scope
from onnxq.passes.fuse._curve import recognise, sigmoid
from onnxq.pipeline import Context, Pass, Stage


def _silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x * sigmoid(x))


@dataclass(frozen=True, kw_only=True)
class RecogniseSiLU(Pass):
    """Recognise SiLU (Swish) in primitive operators.

    What it does:
        Finds nodes which together compute one function of one tensor::

            silu(x) = x · sigmoid(x) = x / (1 + e^−x)

        and records them as a group of kind ``silu``. The graph is not changed. The nodes are
        evaluated on numbers from −6 to 6 and compared with the function, so that the order and
        grouping of the operators do not matter.

    Why:
        The sigmoid's output is known to lie between 0 and 1, and both inputs of the product depend
        on one tensor: a plan that knows the group can give it ranges that fit together.

    Example:
        ``Mul(x, Sigmoid(x))``.

    When it declines:
        A tensor inside of the group is read outside or is an output of the graph. What computes
        another function is no candidate.

    Numerics:
        Nothing is computed. Equal means within 0.002 on the grid.

    Source:
        Elfwing et al., Sigmoid-weighted linear units (2018), section 2.
    """

    name: ClassVar[str] = "recognise-silu"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Record every group."""
        recognise(Scope(model), ctx, "silu", ("Sigmoid", "Exp"), (_silu,))
