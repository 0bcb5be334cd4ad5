"""set-precision: the precision of single layers, chosen by the user or by ``onnxq tune``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.errors import OptionError, UnknownNameError
from onnxq.graph import Model, constant_value
from onnxq.pipeline import Context, Pass, Stage
from onnxq.pipeline.selection import select
from onnxq.targets import PRECISIONS, Role

_REASONS = {
    "float": "set to float by '{}'",
    "16": "set to 16 bits by '{}': its weights are stored as float16, it computes in float",
}


@dataclass(frozen=True, kw_only=True)
class SetPrecision(Pass):
    """Give layers the precision that they are to have: float, 16, 8 or 4 bits.

    What it does
        Each entry is ``PATTERN=PRECISION``, the pattern as for ``exclude-nodes``. ``float`` keeps
        a node in float; ``16`` too, with its weights stored as float16; ``8`` is the target's
        integer kernel; ``4`` is that kernel with weights of 4 bits. Later entries replace earlier
        ones. 4 and 16 apply to the layers with weights that a pattern matches.

    Why
        Few layers lose most of the accuracy, and few hold most of the bytes: a layer with many
        weights bears 4 bits where one with few does not.

    Example
        ``set-precision{layers=["features.0*=float", "classifier=4"]}``

    When it declines
        A node without weights that a pattern of 4 or 16 bits matches stays as it is, and so does
        a layer whose weights are too large for float16. A pattern without a match is an error, and
        so is a precision that the target lacks.

    Numerics
        Changes nothing by itself. float16 rounds weights to 11 significant bits.

    Source
        Dong et al. 2019 (HAWQ) and Cai et al. 2020 (ZeroQ) for the choice by layers.

    Attributes:
        layers: ``PATTERN=PRECISION``; names are those after fusion.
    """

    name: ClassVar[str] = "set-precision"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    layers: tuple[str, ...] = ()

    def run(self, model: Model, ctx: Context) -> None:
        nodes = {n.name: n for n in model.nodes()}
        chosen: dict[str, tuple[str, str]] = {}
        for entry in self.layers:
            pattern, precision = _read(entry)
            if precision in ctx.target.lacks:
                raise OptionError(
                    f"set-precision: '{entry}' is not possible on {ctx.target.name}",
                    why=ctx.target.lacks[precision],
                )
            for name in select(model, pattern):
                chosen[name] = precision, entry
        for name, (asked, entry) in chosen.items():
            precision = asked
            if precision in ("4", "16"):
                rule = ctx.target.rules.get(nodes[name].op)
                index = None if rule is None or rule.role is not Role.COMPUTE else rule.weight
                if index is None or index >= len(nodes[name].inputs):
                    ctx.decline(name, f"'{entry}': it has no weights")
                    continue
                values = constant_value(nodes[name].inputs[index])
                largest = 0.0 if values is None else float(np.abs(values).max(initial=0.0))
                if precision == "16" and largest > float(np.finfo(np.float16).max):
                    ctx.decline(name, f"'{entry}': a weight of {largest:.3g} is beyond float16")
                    precision = "float"
            if precision in _REASONS:
                ctx.plan.excluded.setdefault(name, _REASONS[precision].format(entry))
            if precision != "float":
                ctx.plan.precisions[name] = precision


def _read(entry: str) -> tuple[str, str]:
    pattern, equals, precision = entry.rpartition("=")
    if not equals or not pattern:
        raise OptionError(
            f"set-precision: '{entry}' is no PATTERN=PRECISION", hint='"conv1=4", for example'
        )
    if precision not in PRECISIONS:
        raise UnknownNameError(f"precision in '{entry}'", precision, PRECISIONS)
    return pattern, precision
