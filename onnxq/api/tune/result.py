"""What ``tune`` gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from onnxq.api.result import Result
from onnxq.pipeline import Recipe


@dataclass(frozen=True)
class TuneResult:
    """A model with a precision for each layer, and all that was measured on the way.

    Attributes:
        result: the chosen model, as ``quantize`` gives it back.
        recipe: the recipe that makes it again from the same data.
        missed: budgets that it does not keep to, as phrases; empty where it keeps to all.
    """

    result: Result = field(repr=False)
    recipe: Recipe = field(repr=False)
    missed: Sequence[str]

    @property
    def report(self) -> dict[str, Any]:
        """The error report; its key ``tune`` has the search."""
        return self.result.report

    @property
    def front(self) -> list[dict[str, Any]]:
        """Candidates that no other beats in size, speed and accuracy, the smallest first."""
        return [c for c in self.report["tune"]["candidates"] if c["front"]]

    @property
    def precisions(self) -> dict[str, str]:
        """By layer, its precision: float, 16, 8 or 4."""
        return {e["node"]: e["precision"] for e in self.report["tune"]["layers"]}

    def explain(self, node: str) -> str:
        """Why the layer *node* has its precision.

        Raises:
            UnknownNameError: no such node.
        """
        for entry in self.report["tune"]["layers"]:
            if entry["node"] == node:
                return f"{node}: {entry['precision']}. {entry['reason']}"
        return self.result.explain(node)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to *path*, atomically.

        Raises:
            OutputError: the file cannot be written.
        """
        self.result.save(path)
