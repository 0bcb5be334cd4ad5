"""Pads of quantized tensors, as OpenVINO moves them in front of the DequantizeLinear.

It pads the codes and the zero point along with them. Where pads lie along one dimension, what is
put in is the code 0, whatever the value was; and the zero point, padded where it stands, changes
its shape for every other node that reads the same tensor. Along the batch, and along channels where
the batch is free, the zero point is not padded at all, so that the code 0 is no zero. Seen in
2025.4 and 2026.4 by comparing outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto

from onnxq.report.coverage.conversions import Conversion
from onnxq.report.lint.rules import Found, free_dimensions
from onnxq.report.lint.view import MOVES, View


def pads_with_values(view: View) -> Found:
    """Pads along one dimension with another constant than 0."""
    for node, _, _ in _pads(view):
        value = view.reader.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        given = next((a.f for a in node.attribute if a.name == "value"), 0.0)
        if given or (value is not None and value.any()):
            yield node.name, "it pads codes with another value than 0, which becomes the code 0"


def pads_of_zero_points(view: View) -> Found:
    """Pads along the batch, or along channels of a free batch, where the zero point is not 0."""
    free = any(True for _ in free_dimensions(view))
    for node, dimension, given in _pads(view):
        if _shifted(given) and dimension <= int(free):
            where = "channels" if dimension else "the batch"
            yield node.name, f"it pads {where} of a tensor whose zero point is not 0"


def pads_of_shared_zero_points(view: View) -> Found:
    """Pads of a tensor whose zero point, not 0, is stored once for several tensors."""
    for node, dimension, given in _pads(view):
        zero = given.node.input[2] if given.has_zero else ""
        readers = view.graph.users.get(zero, [])
        codes = {r.output[0] if r.op_type == "QuantizeLinear" else r.input[0] for r in readers}
        if dimension and _shifted(given) and len(codes) > 1:
            yield node.name, f"it pads a tensor whose zero point '{zero}' other tensors share"


def _shifted(given: Conversion) -> bool:
    return given.zero is not None and bool(given.zero.any())


def _pads(view: View) -> Iterator[tuple[NodeProto, int, Conversion]]:
    """Pads with constants of dequantized tensors along one dimension; which one it is."""
    for node in view.graph.nodes:
        if node.op_type != "Pad" or any(a.s not in (b"", b"constant") for a in node.attribute):
            continue
        given = view.reader.given(node.input[0], MOVES)
        dimensions = _dimensions(node, view)
        if given is not None and len(dimensions) == 1:
            yield node, dimensions[0], given


def _dimensions(node: NodeProto, view: View) -> list[int]:
    """The dimensions that *node* pads; none where they are computed, or something is cut off."""
    stated = next((a.ints for a in node.attribute if a.name == "pads"), None)
    pads = np.array(stated) if stated else view.reader.value([*node.input, ""][1])
    axes = view.reader.value(node.input[3]) if len(node.input) > 3 else None
    if pads is None or not pads.size or (pads < 0).any() or (axes is not None and axes.min() < 0):
        return []
    padded = np.flatnonzero(pads.reshape(2, -1).any(axis=0))
    return [int(i) for i in (padded if axes is None else axes[padded])]
