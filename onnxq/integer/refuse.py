"""Errors of lowering: which node, why, and what to try."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxq.errors import UnsupportedModelError

#: What makes a model that can be lowered.
REMEDY = "quantize the float model with --target fpga-pow2, or mcu-int8 for scales of any value"


def refused(node: gs.Node, why: str, hint: str = REMEDY) -> UnsupportedModelError:
    """The error that *node* cannot become integer arithmetic."""
    return UnsupportedModelError(
        f"node '{node.name}' ({node.op}) cannot run on integers alone", why=why, hint=hint
    )
