"""Reductions inside a run: sums, extremes and samples of tensors, packed into one output.

Hundreds of scalar outputs would cost more than they measure, so that all leave the run as one
vector. ONNX Runtime runs a graph depth first from its outputs, later nodes first: the vector is
joined section by section, the last section's node written first, so that sections are computed one
after another and their tensors are freed (and warm in the cache) in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: Prefix of everything that is put into a model to measure it.
PREFIX = "onnxq_m__"
#: From this opset on, axes of ReduceSum are an input instead of an attribute.
_AXES_INPUT = 13

Shape = tuple[int, ...]


@dataclass
class _Section:
    """What is handed out together.

    Attributes:
        scalars: by rank, keys and tensors of one value.
        vectors: keys, tensors of rank 1 and their lengths, None where they vary.
        known: values that need no run.
    """

    scalars: dict[int, list[tuple[Any, str]]] = field(default_factory=dict)
    vectors: list[tuple[Any, str, int | None]] = field(default_factory=list)
    known: dict[Any, float] = field(default_factory=dict)

    def scalar(self, key: Any, tensor: str, rank: int) -> None:
        self.scalars.setdefault(rank, []).append((key, tensor))


class Reducer:
    """Adds reductions to a graph and reads their values off a run.

    Args:
        model: the model to add to, in place.
        shapes: shapes of tensors on the first sample, as far as they are known.
        vary: whether other samples have other shapes; sizes then come out of the run too.
    """

    def __init__(
        self, model: onnx.ModelProto, shapes: Mapping[str, Shape], *, vary: bool = False
    ) -> None:
        self.model = model
        self.shapes, self.vary = dict(shapes), vary
        versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        if not versions:  # a model of other domains' operators alone
            model.opset_import.add(domain="", version=17)
        self.opset = versions[0] if versions else 17
        self._sections: list[_Section] = []
        self._constants: dict[tuple[str, bytes], str] = {}
        self._made: dict[tuple[Any, ...], str] = {}
        self._count = 0

    def node(self, op: str, inputs: Sequence[str], like: str = "", **attributes: Any) -> str:
        """Output of a new node *op*, of the shape of *like*; equal requests share one."""
        key = (op, *inputs, *sorted(attributes.items()))
        if key not in self._made:
            self._count += 1
            name = self._made[key] = f"{PREFIX}{self._count}"
            self.model.graph.node.append(
                helper.make_node(op, list(inputs), [name], name, **attributes)
            )
            if like in self.shapes:
                self.shapes[name] = self.shapes[like]
        return self._made[key]

    def constant(self, value: Any) -> str:
        """Name of an initializer of *value*."""
        value = np.asarray(value)
        key = (f"{value.dtype}{value.shape}", value.tobytes())
        if key not in self._constants:
            name = self._constants[key] = f"{PREFIX}c{len(self._constants)}"
            self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return self._constants[key]

    def section(self) -> None:
        """What is handed out from here on belongs together."""
        self._sections.append(_Section())

    def scalar(self, key: Any, op: str, tensor: str) -> None:
        """Hand out *op* over all values of *tensor* as *key*."""
        rank = len(self.shapes.get(tensor, ()))
        tensor = tensor if rank else self._flat(tensor)
        self._sections[-1].scalar(key, self.node(op, [tensor], keepdims=1), rank or 1)

    def size(self, key: Any, tensor: str) -> None:
        """Hand out how many values *tensor* has as *key*."""
        if tensor in self.shapes and not self.vary:
            self._sections[-1].known[key] = float(np.prod(self.shapes[tensor]))
        else:
            self._sections[-1].scalar(key, self._length(self._flat(tensor)), 1)

    def channels(self, key: Any, tensor: str, axis: int) -> None:
        """Hand out the sums of *tensor* at each index of *axis* as *key*."""
        axes = [i for i in range(len(self.shapes[tensor])) if i != axis]
        total = tensor
        if axes and self.opset >= _AXES_INPUT:
            total = self.node("ReduceSum", [tensor, self.constant(np.array(axes))], keepdims=0)
        elif axes:
            total = self.node("ReduceSum", [tensor], keepdims=0, axes=tuple(axes))
        self._vector(key, total, self.shapes[tensor][axis])

    def spread(self, key: Any, tensor: str, count: int) -> None:
        """Hand out about *count* values of *tensor*, evenly spread, as *key*.

        Of a tensor whose size varies, it is *count* at the size that the shapes state.
        """
        size = int(np.prod(self.shapes[tensor]))
        step = _prime(size // count) if size > count else 1
        flat = self._flat(tensor)
        if step > 1:
            ends = (0, np.iinfo(np.int64).max, 0, step)
            flat = self.node("Slice", [flat, *(self.constant(np.array([v])) for v in ends)])
        self._vector(key, flat, -(-size // step))

    def _vector(self, key: Any, tensor: str, length: int) -> None:
        self._sections[-1].vectors.append((key, tensor, None if self.vary else length))

    def finish(self) -> str | None:
        """Put the output into the model, besides its own; its name, None where there is none."""
        graph = self.model.graph
        self._sections = [s for s in self._sections if s.scalars or s.vectors]
        if not self._sections:
            return None
        output = self._concat([self._joined(s) for s in reversed(self._sections)][::-1])
        graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
        return output

    def read(self, values: NDArray[Any]) -> dict[Any, Any]:
        """By key, what a run has handed out: a float, or an array of channel sums or values."""
        flat = np.asarray(values, np.float64)
        found: dict[Any, Any] = {}
        place = 0
        for section in self._sections:
            found.update(section.known)
            keys = [key for part in section.scalars.values() for key, _ in part]
            found.update(zip(keys, flat[place : place + len(keys)].tolist(), strict=True))
            place += len(keys)
            lengths = [length for _, _, length in section.vectors]
            if self.vary:
                lengths = flat[place : place + len(lengths)].astype(int).tolist()
                place += len(lengths)
            for (key, _, _), length in zip(section.vectors, lengths, strict=True):
                found[key] = flat[place : place + (length or 0)]
                place += length or 0
        return found

    def _joined(self, section: _Section) -> str:
        """One vector of all of *section*: scalars, lengths of vectors where they vary, vectors."""
        parts = []
        for rank, keys in section.scalars.items():
            joined = self._concat([name for _, name in keys])
            parts.append(joined if rank == 1 else self._flat(joined))
        if self.vary:
            parts += [self._length(name) for _, name, _ in section.vectors]
        return self._concat(parts + [name for _, name, _ in section.vectors])

    def _length(self, vector: str) -> str:
        return self.node("Cast", [self.node("Shape", [vector])], to=TensorProto.FLOAT)

    def _concat(self, names: list[str]) -> str:
        return self.node("Concat", names, axis=0)

    def _flat(self, tensor: str) -> str:
        return self.node("Reshape", [tensor, self.constant(np.array([-1]))])


def _prime(least: int) -> int:
    """The smallest prime from *least* on, so that a stride visits all rows and columns."""
    number = max(least, 1)
    while any(number % d == 0 for d in range(2, int(number**0.5) + 1)):
        number += 1
    return number
