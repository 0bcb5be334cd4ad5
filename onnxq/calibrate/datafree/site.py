"""A node as a rule sees it: what is known of its inputs, and the shapes around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.calibrate.datafree.alone import run_alone
from onnxq.calibrate.datafree.points import Points

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Site:
    """One node.

    Attributes:
        node: the node.
        points: by input name, its points; without those that are constant or not known.
        constants: by input name, its value.
        shapes: by name of an input or output, its shape.
        opsets, ir: of the model.
    """

    node: onnx.NodeProto
    points: Mapping[str, Points]
    constants: Mapping[str, NDArray[Any]]
    shapes: Mapping[str, Shape]
    opsets: list[onnx.OperatorSetIdProto]
    ir: int

    @property
    def name(self) -> str:
        """Name of the first output."""
        return str(self.node.output[0])

    @property
    def shape(self) -> Shape:
        """Shape of the first output."""
        return self.shapes[self.name]

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes by name."""
        return {a.name: onnx.helper.get_attribute_value(a) for a in self.node.attribute}

    def x(self, index: int = 0) -> Points | None:
        """Points of input *index*."""
        return self.points.get(self.node.input[index]) if index < len(self.node.input) else None

    def constant(self, index: int) -> NDArray[Any] | None:
        """Value of input *index*; None where it is absent or not constant."""
        return self.constants.get(self.node.input[index]) if index < len(self.node.input) else None

    @property
    def complete(self) -> bool:
        """Whether something is known of all inputs."""
        known = self.points.keys() | self.constants.keys() | {""}
        return all(name in known for name in self.node.input)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The node's outputs for other inputs; constants are added."""
        own = {n: v for n, v in self.constants.items() if n in self.node.input}
        return run_alone(self.node, own | dict(inputs), self.opsets, self.ir)


def extents(points: Points) -> Shape:
    """The extents of *points*: 1, or the size of the axis."""
    return tuple(int(d) for d in points.shape[1:])


def with_rank(points: Points, rank: int) -> Points:
    """*points* of a tensor that is broadcast to *rank*."""
    more = rank - (points.ndim - 1)
    return points.reshape(len(points), *[1] * more, *points.shape[1:])


def as_array(values: NDArray[Any]) -> NDArray[Any]:
    """*values* as ONNX Runtime takes them."""
    return np.ascontiguousarray(values)
