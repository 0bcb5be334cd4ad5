"""Parts of a layer's entry in the report that do not depend on how its model was made."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, producer
from onnxq.quant import QParams
from onnxq.report.isolated import Isolated

#: Channels of a weight that the report lists at most.
MOST_CHANNELS = 2048


def finite(value: float) -> float | None:
    """*value* for JSON, which has no infinities: an exact match (infinite SQNR) is 999."""
    if np.isnan(value):
        return None
    return float(np.clip(value, -999.0, 999.0))


def isolated_entry(node: str, result: str, isolated: Isolated | None) -> dict[str, Any]:
    """What *isolated* knows of the layer *node*, named as in the quantized model.

    *result* is the tensor of the float model that it hands on. All None where not measured.
    """
    sums = None if isolated is None else isolated.layer(node)
    if isolated is None or sums is None:
        return dict.fromkeys(("isolated_sqnr_db", "isolated_noise_to_signal", "share", "clipped"))
    return {
        "isolated_sqnr_db": finite(sums.sqnr_db),
        "isolated_noise_to_signal": finite(sums.noise_to_signal),
        "share": isolated.share(node),
        "clipped": isolated.clipped(result),
    }


def weight_entry(name: str, values: NDArray[Any], qparams: QParams) -> dict[str, Any]:
    """Ranges of the float weight *values* by channel, and its scales.

    Lists have one entry where the weight has one scale; at most ``MOST_CHANNELS`` are given.
    """
    axis = qparams.axis
    others = tuple(i for i in range(values.ndim) if axis is not None and i != axis % values.ndim)
    low, high = (values.min(others), values.max(others)) if others else (values.min(), values.max())
    lists = {"scale": qparams.scale, "low": low, "high": high}
    return {"name": name, "axis": axis} | {
        key: np.atleast_1d(array)[:MOST_CHANNELS].astype(float).tolist()
        for key, array in lists.items()
    }


def rank(layer: dict[str, Any]) -> tuple[bool, float, bool, float]:
    """The place of *layer* in the report: worst isolated error first, then worst cumulative."""
    alone, together = layer["isolated_sqnr_db"], layer["cumulative_sqnr_db"]
    return alone is None, alone or 0.0, together is None, together or 0.0


def place(layers: list[dict[str, Any]], model: Model) -> None:
    """Give *layers*, in any order, their depth in *model* and the layers before and after.

    Neighbours are those with no other layer in between.
    """
    by_name = {layer["node"]: layer for layer in layers}
    order = {node.name: i for i, node in enumerate(model.nodes())}
    ranked = sorted(by_name, key=lambda name: order.get(name, len(order)))
    for depth, name in enumerate(ranked):
        by_name[name] |= {"depth": depth, "before": [], "after": []}
    above: dict[int, list[str]] = {}
    for node in model.graph.nodes:
        names = _above(node, above)
        if node.name in by_name:
            by_name[node.name]["before"] = names
            for name in names:
                by_name[name]["after"].append(node.name)
            names = [node.name]
        above[id(node)] = names


def _above(node: gs.Node, known: dict[int, list[str]]) -> list[str]:
    """Names of the layers that *node* reads, through nodes that are none."""
    found: dict[str, None] = {}
    for tensor in node.inputs:
        before = producer(tensor)
        if before is not None:
            found.update(dict.fromkeys(known.get(id(before), ())))
    return list(found)
