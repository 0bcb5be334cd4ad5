"""Resize to the nearest neighbour, as indices along each axis (ONNX operator Resize)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import attribute, constant_value
from onnxq.integer.refuse import refused

Floats = NDArray[np.float64]

_NEAREST: dict[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize_indices(node: gs.Node, shape: Sequence[int]) -> list[NDArray[np.int64]]:
    """For each axis of *shape* but the first, the input index of every output index.

    Raises:
        UnsupportedModelError: another mode than nearest, or a size that is not constant.
    """
    mode = attribute(node, "mode", "nearest")
    way = attribute(node, "coordinate_transformation_mode", "half_pixel")
    known = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
    if mode != "nearest" or way not in known or attribute(node, "axes") is not None:
        raise refused(node, f"its mode is {mode}, {way}", "mode nearest, or --exclude this node")
    scales, sizes = (
        constant_value(node.inputs[i])
        if len(node.inputs) > i and node.inputs[i].name else None for i in (2, 3)
    )  # fmt: skip
    if sizes is not None and sizes.size:
        wanted = [int(s) for s in sizes]
        factors = [w / d for w, d in zip(wanted, shape, strict=True)]
    elif scales is not None and scales.size:
        factors = [float(s) for s in scales]
        wanted = [int(np.floor(d * f)) for d, f in zip(shape, factors, strict=True)]
    else:
        raise refused(node, "its size is computed while the model runs",
                      "give the model's input a fixed shape and run 'fold-constants'")  # fmt: skip
    if wanted[0] != shape[0] and factors[0] != 1:
        raise refused(node, "it resizes frames", "keep the frames in the first axis")
    pick = _NEAREST[attribute(node, "nearest_mode", "round_prefer_floor")]
    axes = zip(shape[1:], wanted[1:], factors[1:], strict=True)
    return [_along(d, w, f, way, pick) for d, w, f in axes]


def _along(
    size: int, wanted: int, factor: float, way: str, pick: Callable[[Floats], Floats]
) -> NDArray[np.int64]:
    x = np.arange(wanted, dtype=np.float64)
    if factor == 1.0:
        return np.arange(size, dtype=np.int64)
    if way == "asymmetric":
        place = x / factor
    elif way == "align_corners":
        place = x * (size - 1) / max(wanted - 1, 1)
    elif way == "pytorch_half_pixel" and wanted == 1:
        place = np.zeros(1)
    else:
        place = (x + 0.5) / factor - 0.5
    return np.clip(pick(place), 0, size - 1).astype(np.int64)
