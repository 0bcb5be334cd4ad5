"""What changed between two moments: nodes by identity, their wiring, attributes and constants."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model


@dataclass(frozen=True)
class Difference:
    """Nodes that came and went, and whether anything at all is different."""

    added: int
    removed: int
    changed: bool


class Snapshot:
    """The state of a model at one moment.

    It holds on to the objects it has seen, so that an identity is never given to another object
    while the snapshot lives. Arrays are kept by reference: passes replace them, never write
    into them.
    """

    def __init__(self, model: Model) -> None:
        self._nodes: dict[int, gs.Node] = {}
        self._wiring: dict[int, tuple[Any, ...]] = {}
        self._kept: list[object] = []
        self._tensors: dict[int, tuple[Any, ...]] = {}
        self._constants: dict[int, tuple[gs.Constant, Any]] = {}
        self._ends: list[tuple[int, ...]] = []
        for graph in model.graphs():
            for tensor in (*graph.inputs, *graph.outputs):
                self._see(tensor)
            self._ends.append(tuple(id(t) for t in (*graph.inputs, *graph.outputs)))
            for node in graph.nodes:
                self._nodes[id(node)] = node
                for tensor in (*node.inputs, *node.outputs):
                    self._see(tensor)
                self._wiring[id(node)] = (
                    node.op,
                    node.name,
                    node.domain,
                    tuple(id(t) for t in node.inputs),
                    tuple(id(t) for t in node.outputs),
                    tuple((k, self._attribute(v)) for k, v in node.attrs.items()),
                )
        self._header = (model.opset, tuple(sorted(model.metadata.items())))

    def _see(self, tensor: gs.Tensor) -> None:
        if isinstance(tensor, gs.Constant):
            # not `.values`: that would read lazy data from disk
            self._constants[id(tensor)] = (tensor, tensor._values)
            self._tensors[id(tensor)] = (tensor.name,)
        else:
            self._kept.append(tensor)
            shape = None if tensor.shape is None else tuple(tensor.shape)
            self._tensors[id(tensor)] = (tensor.name, tensor.dtype, shape)

    def _attribute(self, value: Any) -> Any:
        if isinstance(value, str | int | float | bytes | bool):
            return value
        if isinstance(value, list | tuple) and all(
            isinstance(v, str | int | float | bytes) for v in value
        ):
            return tuple(value)
        self._kept.append(value)
        return id(value)

    def difference(self, later: Snapshot) -> Difference:
        """What happened between this snapshot and a *later* one of the same model."""
        # a pass that hands the model to another tool gets new objects for old nodes: of what is
        # not the same object, nodes that look alike are the same node
        came = Counter(later._look(k) for k in later._nodes.keys() - self._nodes.keys())
        went = Counter(self._look(k) for k in self._nodes.keys() - later._nodes.keys())
        added, removed = (came - went).total(), (went - came).total()
        changed = (
            bool(came or went)
            or self._wiring != later._wiring
            or self._ends != later._ends
            or self._tensors != later._tensors
            or self._header != later._header
            or self._new_values(later)
        )
        return Difference(added, removed, changed)

    def _look(self, key: int) -> tuple[str, str, tuple[str, ...]]:
        op, name, outputs = self._wiring[key][0], self._wiring[key][1], self._wiring[key][4]
        return op, name, tuple(self._tensors[t][0] for t in outputs)

    def _new_values(self, later: Snapshot) -> bool:
        for key, (_, values) in later._constants.items():
            before = self._constants[key][1]
            if before is values:
                continue
            if hasattr(before, "load") and isinstance(values, np.ndarray):
                # read from disk in between: other data only where its bytes differ
                loaded = np.asarray(before.load())
                if loaded is values:
                    continue
                if loaded.dtype == values.dtype and loaded.shape == values.shape:
                    if loaded.tobytes() != values.tobytes():
                        return True
                    continue
            return True
        return False
