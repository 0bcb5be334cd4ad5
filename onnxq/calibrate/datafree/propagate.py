"""Distributions of all tensors of a model, from its inputs on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from onnxq.calibrate.datafree.points import Points, Vector, normal, thinned
from onnxq.calibrate.datafree.rules import LAYERS, NORMALIZATIONS, apply
from onnxq.calibrate.datafree.site import Shape, Site
from onnxq.errors import OnnxqError

Known = Mapping[str, tuple[Vector, Vector]]
"""By tensor name, mean and deviation of each channel (axis 1)."""
Measure = Callable[[Collection[str]], Mapping[str, Points]]
"""Points of tensors that no rule tells, from runs of the model on synthetic input."""


@dataclass
class Propagation:
    """A walk through a model.

    Attributes:
        proto: the model.
        shapes: of all tensors.
        floats: names of the tensors that hold real numbers.
        inputs: by name, points of the inputs that hold real numbers.
        known: moments that batch-norms gave.
        measure: asked once, where no rule tells.
        measured: tensors that it was asked for.
        visited: nodes that the walk has come to.
        rough: tensors of which moments are estimated, not stated by a batch-norm in front of them
            or of all that flows into them: channels cannot be compared.
    """

    proto: onnx.ModelProto
    shapes: Mapping[str, Shape]
    floats: Collection[str]
    inputs: Mapping[str, Points]
    known: Known
    measure: Measure
    measured: list[str] = field(default_factory=list)
    visited: set[str] = field(default_factory=set)
    rough: set[str] = field(default_factory=set)

    def run(self, wanted: Collection[str]) -> Iterator[tuple[str, Points]]:
        """Each tensor of *wanted* with its points, in the order of the graph.

        Points are held only as long as a node still reads them.
        """
        graph = self.proto.graph
        constants = {i.name: i for i in graph.initializer}
        floats, left = {**self.inputs}, set(wanted)
        last = {name: i for i, node in enumerate(graph.node) for name in _reads(node)}
        asked: Mapping[str, Points] | None = None
        for name in [n for n in floats if n in left]:
            left.discard(name)
            yield name, floats[name]
        for i, node in enumerate(graph.node):
            if not left:
                return
            self.visited.add(node.name)
            found = self._known(node)
            if not found:
                found = self._rule(node, floats, constants)
                guessed = _guesses(node, floats) or not self.rough.isdisjoint(node.input)
                if guessed and node.op_type not in NORMALIZATIONS:
                    self.rough.update(node.output)
            missing = [n for n in node.output if n in self.floats and n not in found]
            if missing:
                if asked is None:
                    later = [n for other in graph.node[i:] for n in other.output]
                    asked = self.measure([n for n in later if n in self.floats])
                here = {n: asked[n] for n in missing if n in asked}
                self.measured += here
                found = {**found, **here}
            for name, points in found.items():
                floats[name] = points
                if name in left:
                    left.discard(name)
                    yield name, points
            for name in (*_reads(node), *node.output):
                if last.get(name, i) <= i:
                    floats.pop(name, None)

    def _known(self, node: onnx.NodeProto) -> dict[str, Points]:
        """What batch-norms said of the first output of *node*."""
        name = str(node.output[0])
        moments = self.known.get(name)
        rank = len(self.shapes.get(name, ()))
        if moments is None or rank < 2 or self.shapes[name][1] != moments[0].size:
            return {}
        shape = (1, -1, *[1] * (rank - 2))
        return {name: normal(moments[0].reshape(shape), moments[1].reshape(shape), name)}

    def _rule(
        self,
        node: onnx.NodeProto,
        floats: Mapping[str, Points],
        constants: Mapping[str, onnx.TensorProto],
    ) -> dict[str, Points]:
        points = {n: floats[n] for n in node.input if n in floats}
        stored = {n: numpy_helper.to_array(constants[n]) for n in node.input if n in constants}
        if not points and node.op_type != "Gather":
            return {}
        site = Site(
            node, points, stored, self.shapes, list(self.proto.opset_import), self.proto.ir_version
        )
        if any(n and n not in self.shapes for n in (*points, *node.output)):
            return {}
        try:
            with np.errstate(all="ignore"):
                found = apply(site)
        except OnnxqError:  # the node does not take inputs of these shapes
            return {}
        usable = {n: thinned(p, n) for n, p in found.items() if np.isfinite(p).all()}
        return {n: p for n, p in usable.items() if p.ndim - 1 == len(self.shapes[n])}


def _guesses(node: onnx.NodeProto, floats: Mapping[str, Points]) -> bool:
    """Whether moments behind *node* take for granted that what it reads is independent."""
    several = sum(name in floats for name in node.input) > 1 and node.op_type != "Concat"
    return several or node.op_type in (*LAYERS, "Softmax")


def _reads(node: onnx.NodeProto) -> list[str]:
    """Names that *node* reads, its sub-graphs' captures left out: they are never tracked."""
    return [n for n in node.input if n]
