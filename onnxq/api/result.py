"""What ``quantize`` gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from onnxq.errors import UnknownNameError
from onnxq.graph import Model
from onnxq.pipeline import Context, Journal
from onnxq.targets import Target


@dataclass(frozen=True)
class Result:
    """A quantized model and the account of how it came about.

    Attributes:
        model: the quantized model.
        report: the error report, of the schema ``onnxq-report/1``.
        original: the float model after canonicalization and fusion, which the report compares with.
        ctx: the plan, statistics, scales and integers.
    """

    model: Model
    report: dict[str, Any]
    original: Model = field(repr=False)
    ctx: Context = field(repr=False)

    @property
    def journal(self) -> Journal:
        """What each pass did and declined."""
        return self.ctx.journal

    @property
    def target(self) -> Target:
        """The hardware profile that was planned for."""
        return self.ctx.target

    @property
    def warnings(self) -> list[str]:
        """What the user should read."""
        return list(self.report["warnings"])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the quantized model to *path*, atomically.

        Raises:
            OutputError: the file cannot be written.
        """
        self.model.save(path)

    def explain(self, node: str) -> str:
        """Why *node* (a name of the float model) got the precision that it has.

        Raises:
            UnknownNameError: no such node.
        """
        for layer in self.report["layers"]:
            if layer["node"] == node:
                kernel = layer["kernel"] or "not fused"
                return f"{node}: {layer['precision']}, {kernel}. {layer['reason']}"
        for kept in self.report["kept_float"]:
            if kept["node"] == node:
                return f"{node}: float. {kept['reason']}"
        known = [e["node"] for e in (*self.report["layers"], *self.report["kept_float"])]
        raise UnknownNameError("node", node, known)
