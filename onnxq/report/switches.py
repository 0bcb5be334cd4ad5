"""The switchable graph: the float network, with a switch at each layer that puts integers in.

Switch k chooses in one ``If`` between the layer's nodes of the float model and its quantized group
(inputs and output rounded, weights as their integers stand for), both on what the chain has
computed so far. All off it is the float network, all on the quantized one in exact integers, one on
that layer alone; with one off it is what keeping that layer in float gives. Of the two branches
only the chosen one is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from onnxq.report.groups import QUANTIZE, Grid, Group
from onnxq.report.nodes import Graph, reads
from onnxq.report.reductions import PREFIX

#: The input with all switches, bool [groups].
SWITCHES = f"{PREFIX}switches"
_SWITCH = f"{PREFIX}switch_"


@dataclass(frozen=True)
class Switchable:
    """A graph with switches.

    Attributes:
        model: the graph; besides the float model's inputs it has ``SWITCHES``.
        groups: the layers, in the order of their switches, which is the graph's.
        fixed: layers that have no switch and stay in float: what they read does not come before
            what they compute in the float model, or another layer computes the same.
    """

    model: onnx.ModelProto
    groups: tuple[Group, ...]
    fixed: tuple[Group, ...]


def switchable(
    original: onnx.ModelProto, groups: Sequence[Group], values: Mapping[str, NDArray[Any]]
) -> Switchable:
    """Put a switch for each of *groups* into the float model *original*, which stays as it is.

    *values* has the constants of the quantized model, as floats where they are dequantized.
    """
    builder = _Builder(original, groups, values)
    return builder.build()


class _Builder:
    def __init__(
        self,
        original: onnx.ModelProto,
        groups: Sequence[Group],
        values: Mapping[str, NDArray[Any]],
    ) -> None:
        self.original, self.values = original, values
        self.graph = Graph(original)
        self.order = {id(n): i for i, n in enumerate(self.graph.nodes)}
        by_result: dict[str, Group] = {}
        self.fixed: list[Group] = []
        for group in groups:
            if group.result in by_result or not self._reaches(group):
                self.fixed.append(group)
            else:
                by_result[group.result] = group
        producers = self.graph.producer
        self.groups = sorted(
            by_result.values(), key=lambda g: (self.order[id(producers[g.result])], g.result)
        )
        self.stops = self.graph.outputs | set(by_result)
        self.stops |= {s.tensor for g in self.groups for s in g.sources}
        self.initializers: dict[str, TensorProto] = {}

    def build(self) -> Switchable:
        moved: set[int] = set()
        switches: dict[int, list[NodeProto]] = {}
        others: dict[str, str] = {}
        for index, group in enumerate(self.groups):
            last = self.graph.producer[group.result]
            real = f"{PREFIX}f{index}__{group.result}"
            if len([o for o in last.output if o]) == 1:
                cone = self._cone(last)
                moved.update(map(id, cone))
                floats = [renamed(n, group.result, real) for n in cone]
            else:  # other outputs of the node are read too
                floats = [helper.make_node("Identity", [f"{real}_"], [real], real)]
                others[group.result] = f"{real}_"
            place = switches.setdefault(self.order[id(last)], [])
            place += self._switch(index, group, floats, real)
        model = onnx.ModelProto()
        model.CopyFrom(self.original)
        del model.graph.node[:], model.graph.value_info[:]
        for index, node in enumerate(self.graph.nodes):
            if id(node) not in moved:
                copy = model.graph.node.add()
                copy.CopyFrom(node)
                for i, name in enumerate(copy.output):
                    copy.output[i] = others.get(name, name)
            model.graph.node.extend(switches.get(index, ()))
        model.graph.initializer.extend(self.initializers.values())
        size = [len(self.groups)]
        model.graph.input.append(helper.make_tensor_value_info(SWITCHES, TensorProto.BOOL, size))
        return Switchable(model, tuple(self.groups), tuple(self.fixed))

    def _reaches(self, group: Group) -> bool:
        """Whether all that *group* reads comes before its result in the float model."""
        if group.result not in self.graph.producer:
            return False
        missing = {s.tensor for s in group.sources}
        for stop in (frozenset(missing), frozenset[str]()):
            seen: set[str] = set()
            waiting = list(reads(self.graph.producer[group.result]))
            while waiting and missing:
                name = waiting.pop()
                missing.discard(name)
                if name not in seen and name not in stop and name in self.graph.producer:
                    waiting += reads(self.graph.producer[name])
                seen.add(name)
            if not missing:
                return True
        return False

    def _cone(self, last: NodeProto) -> list[NodeProto]:
        """*last* and what is computed for it alone, in order."""
        found = {id(last): last}
        waiting = [last]
        while waiting:
            for name in reads(waiting.pop()):
                node = self.graph.producer.get(name)
                if node is None or id(node) in found or len(node.output) != 1:
                    continue
                users = self.graph.users.get(name, ())
                if name not in self.stops and all(id(u) in found for u in users):
                    found[id(node)] = node
                    waiting.append(node)
        return sorted(found.values(), key=lambda n: self.order[id(n)])

    def _switch(
        self, index: int, group: Group, floats: Sequence[NodeProto], real: str
    ) -> list[NodeProto]:
        """The nodes of switch *index*: what writes the result of *group*."""
        choice = f"{_SWITCH}{index}"
        position = self._constant(f"{choice}__index", np.array(index))
        quantized, output = self._quantized(index, group)
        branches = {
            "then_branch": _branch(f"{choice}__quantized", quantized, output),
            "else_branch": _branch(f"{choice}__float", floats, real),
        }
        return [
            helper.make_node("Gather", [SWITCHES, position], [choice], choice),
            helper.make_node("If", [choice], [group.result], f"{choice}__if", **branches),
        ]

    def _quantized(self, index: int, group: Group) -> tuple[list[NodeProto], str]:
        """The nodes of *group* between rounded inputs and a rounded output, and that output."""
        nodes: list[NodeProto] = []
        prefix = f"{PREFIX}s{index}__"
        names = {}
        for i, source in enumerate(group.sources):
            names[source.name] = source.tensor
            if source.grid is not None:
                names[source.name] = self._round(nodes, source.tensor, source.grid, f"{prefix}{i}")
        for node in group.nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{prefix}{node.output[0]}"
            for i, name in enumerate(node.input):
                if name:
                    copy.input[i] = names.get(name) or self._known(name)
            for i, name in enumerate(node.output):
                if name:
                    names[name] = copy.output[i] = f"{prefix}{name}"
            nodes.append(copy)
        output = names[group.output]
        if group.grid is not None:
            output = self._round(nodes, output, group.grid, f"{prefix}out")
        return nodes, output

    def _round(self, nodes: list[NodeProto], tensor: str, grid: Grid, prefix: str) -> str:
        """*tensor* after a round trip through its codes."""
        given = [self._known(n) for n in (grid.scale, grid.zero_point) if n]
        attributes = {a.name: helper.get_attribute_value(a) for a in grid.node.attribute}
        kept = {k: v for k, v in attributes.items() if k in ("axis", "block_size")}
        if grid.node.op_type != QUANTIZE:
            attributes = kept
        codes, real = f"{prefix}__codes", f"{prefix}__real"
        nodes.append(
            helper.make_node("QuantizeLinear", [tensor, *given], [codes], codes, **attributes)
        )
        if grid.clip is not None:
            ends = [self._known(n) if n else "" for n in grid.bounds]
            kept_codes = f"{prefix}__kept"
            nodes.append(helper.make_node("Clip", [codes, *ends], [kept_codes], kept_codes))
            codes = kept_codes
        nodes.append(helper.make_node("DequantizeLinear", [codes, *given], [real], real, **kept))
        return real

    def _known(self, name: str) -> str:
        """The constant *name* of the quantized model."""
        return self._constant(f"{PREFIX}q__{name}", self.values[name])

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name


def is_switch(node: NodeProto) -> bool:
    """Whether *node* is a switch of a switchable graph."""
    return node.op_type == "If" and node.input[0].startswith(_SWITCH)


def renamed(node: NodeProto, old: str, new: str) -> NodeProto:
    """A copy of *node* in which the tensor *old* is called *new*."""
    copy = NodeProto()
    copy.CopyFrom(node)
    for names in (copy.input, copy.output):
        for i, name in enumerate(names):
            names[i] = new if name == old else name
    return copy


def _branch(name: str, nodes: Sequence[NodeProto], output: str) -> GraphProto:
    graph = GraphProto(name=name)
    graph.node.extend(nodes)
    graph.output.append(onnx.ValueInfoProto(name=output))
    return graph
