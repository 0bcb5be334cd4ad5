"""The pass ``recognise-gelu``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model
from onnxq.passes._scope import Scope
from onnxq.passes.fuse._curve import erf, recognise, sigmoid
from onnxq.pipeline import Context, Pass, Stage


def _gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * x * (1 + erf(x / np.sqrt(2))))


def _quick(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x * sigmoid(1.702 * x))


@dataclass(frozen=True, kw_only=True)
class RecogniseGelu(Pass):
    """Recognise Gelu in primitive operators.

    What it does:
        Finds nodes which together compute one function of one tensor::

            gelu(x) = x/2 · (1 + erf(x/√2))
                    ≈ x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))  ≈  x · sigmoid(1.702·x)

        and records them as a group of kind ``gelu``. The graph is not changed. The nodes are
        evaluated on numbers from −6 to 6 and compared with the function, so that the order and
        grouping of the operators do not matter.

    Why:
        A quantized range between these nodes is of no use to any kernel and costs accuracy; a plan
        that knows the group keeps it whole.

    Example:
        ``Mul(Mul(x, Add(Erf(Div(x, 1.4142)), 1)), 0.5)``.

    When it declines:
        A tensor inside of the group is read outside or is an output of the graph. What computes
        another function is no candidate.

    Numerics:
        Nothing is computed. Equal means within 0.002 on the grid.

    Source:
        Hendrycks and Gimpel, Gaussian error linear units (2016), section 2.
    """

    name: ClassVar[str] = "recognise-gelu"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Record every group."""
        recognise(Scope(model), ctx, "gelu", ("Erf", "Tanh", "Sigmoid"), (_gelu, _quick))
