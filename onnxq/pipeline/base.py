"""A pass: one idea, one file, one frozen dataclass whose fields are its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnxq.calibrate.observer import AnyObserver
from onnxq.graph import Model
from onnxq.pipeline.stage import Stage

if TYPE_CHECKING:
    from onnxq.pipeline.context import Context


@dataclass(frozen=True, kw_only=True)
class Pass(ABC):
    """One rewriting or planning step.

    A subclass is a frozen dataclass; its fields are its options, on the command line too. Its
    docstring has the sections What it does, Why, Example, When it declines, Numerics, Source.

    Attributes:
        name: how recipes call it, such as ``"fuse-batchnorm"``.
        stage: when it runs.
        preserves: the relative tolerance within which the float function of the model is kept;
            None where the pass changes it on purpose.
        needs_samples: whether it runs models on samples beyond what ``wants`` names; where there
            is no data it is left out.
        changes_interface: whether the inputs and outputs of the model may change names or types.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    preserves: ClassVar[float | None] = None
    changes_interface: ClassVar[bool] = False
    needs_samples: ClassVar[bool] = False

    def wants(self, model: Model, ctx: Context) -> Mapping[str, tuple[AnyObserver, ...]]:
        """Statistics needed before ``run``: tensor name to the observers of it."""
        return {}

    @abstractmethod
    def run(self, model: Model, ctx: Context) -> None:
        """Do the work, on *model* and on what *ctx* holds."""
