"""Groups of a QDQ model: DequantizeLinear, operator, activation, QuantizeLinear.

A group is what one integer kernel stands for. It starts at codes whose real values are known in the
float model and ends at the next tensor that is known there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import NodeProto

from onnxq.report.nodes import Graph

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
#: Operators behind a kernel that belong to it where a QuantizeLinear follows.
ACTIVATIONS = frozenset(("Relu", "Clip", "LeakyRelu"))
#: Operators that only move values: exact where input and output have one scale.
MOVES = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "Identity",
    "MaxPool", "Pad", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
})  # fmt: skip
#: Operators with integer kernels whose output is in floats; others that read codes compute floats.
PRODUCTS = frozenset(("MatMul", "Gemm", "Conv", "ConvTranspose"))
#: Operators on codes whose scales are chosen in each run, or within them.
DYNAMIC = frozenset({
    "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
    "DynamicQuantizeLSTM", "QAttention",
})  # fmt: skip
#: What turns the sums of such an operator into floats.
_RESCALES = frozenset(("Cast", "Mul", "Add"))


@dataclass(frozen=True)
class Grid:
    """Where a scale and zero point stand: what QuantizeLinear and DequantizeLinear read.

    Attributes:
        scale, zero_point: names of the tensors in the quantized model ("" for no zero point).
        node: the QuantizeLinear or DequantizeLinear that reads them, for its attributes.
        clip: the Clip of codes between the two, where fewer codes are in use than there are.
    """

    scale: str
    zero_point: str
    node: NodeProto
    clip: NodeProto | None = None

    @property
    def bounds(self) -> tuple[str, ...]:
        """Names of what *clip* reads beside the codes."""
        return () if self.clip is None else tuple(self.clip.input[1:])

    @property
    def key(self) -> tuple[str, str, tuple[str, ...], bytes]:
        """Equal for grids that round alike."""
        kept = sorted(a.SerializeToString() for a in self.node.attribute if a.name != "saturate")
        return self.scale, self.zero_point, self.bounds, b"".join(kept)


@dataclass(frozen=True)
class Source:
    """An activation that a group reads.

    Attributes:
        name: the tensor of the quantized model that the group's nodes read.
        tensor: the tensor of the float model that has its values.
        grid: the grid that it lies on; None where it is read in float.
    """

    name: str
    tensor: str
    grid: Grid | None


@dataclass(frozen=True)
class Group:
    """A layer of the quantized model.

    Attributes:
        node: name of its operator.
        op_type: the operator.
        nodes: all of its nodes, in order, without those that compute constants.
        constants: names of tensors that they read and no activation reaches: weights, biases.
        rounded: whether integers are among those constants.
        sources: the activations that it reads.
        output: name of the tensor that its last node writes.
        grid: the grid that the output is rounded to; None where it stays in float.
        result: the tensor of the float model that has the output's values.
    """

    node: str
    op_type: str
    nodes: tuple[NodeProto, ...]
    constants: tuple[str, ...]
    rounded: bool
    sources: tuple[Source, ...]
    output: str
    grid: Grid | None
    result: str


def find_groups(
    quantized: onnx.ModelProto,
    matches: Mapping[str, str],
    ends: Mapping[str, str] | None = None,
) -> list[Group]:
    """The groups of *quantized* whose inputs and output *matches* finds in the float model.

    *matches* maps tensors of *quantized* (what a QuantizeLinear reads, what a DequantizeLinear or
    an operator writes) to tensors of the float model with the same values. *ends* has, by node of
    *quantized*, the tensor of the float model at which its group ends, where that is known; else
    activations that a QuantizeLinear follows belong to it. In topological order.
    """
    graph = Graph(quantized)
    found = []
    for node in graph.nodes:
        if node.op_type in (QUANTIZE, DEQUANTIZE) or not node.output or not node.output[0]:
            continue
        if graph.constant(node.output[0]):
            continue
        if node.op_type in DYNAMIC:
            group = _Finder(graph, matches).dynamic(node)
            found += [] if group is None else [group]
        elif any(_dequantized(graph, name) for name in node.input):
            group = _Finder(graph, matches).group(node, (ends or {}).get(node.name))
            if group is not None and (group.grid or group.rounded or node.op_type in PRODUCTS):
                found.append(group)
    return found


def _dequantized(graph: Graph, name: str) -> bool:
    if graph.constant(name):
        return any(n.op_type == DEQUANTIZE for n in graph.behind(name))
    node = graph.producer.get(name)
    return node is not None and node.op_type == DEQUANTIZE


class _Finder:
    """Follows one group forward to its end and back to its sources."""

    def __init__(self, graph: Graph, matches: Mapping[str, str]) -> None:
        self.graph, self.matches = graph, matches

    def group(self, anchor: NodeProto, end: str | None) -> Group | None:
        chain, quantize = self._chain(anchor)
        known = [self.matches.get(name) for name in chain]
        if end is not None and end in known[:-1]:  # what reads the group has the QuantizeLinear
            chain, quantize = chain[: known.index(end) + 1], None
        result = self.matches.get(chain[-1])
        grid = None
        if quantize is not None:
            codes = self.graph.users.get(quantize.output[0], [])
            clip = codes[0] if [n.op_type for n in codes] == ["Clip"] else None
            grid = _grid(quantize, clip)
            codes = codes if clip is None else self.graph.users.get(clip.output[0], [])
            names = [d.output[0] for d in codes if d.op_type == DEQUANTIZE]
            result = next((self.matches[n] for n in names if n in self.matches), result)
        return None if result is None else self._back(anchor, chain, grid, result)

    def dynamic(self, anchor: NodeProto) -> Group | None:
        """The group of *anchor*, whose scales are chosen in each run: from floats to floats."""
        chain = [str(anchor.output[0])]
        while True:
            known = self.matches.get(chain[-1])
            users = self.graph.users.get(chain[-1], [])
            behind = str(users[0].output[0]) if len(users) == 1 else ""
            follows = bool(behind) and users[0].op_type in _RESCALES | ACTIVATIONS
            # a small bias: the sum is what the float model has, and so, nearly, is what it adds to
            same = known == self.matches.get(behind) and follows and users[0].op_type == "Add"
            if not follows or (known is not None and not same):
                break
            chain.append(behind)
        return None if known is None else self._back(anchor, chain, None, known)

    def _back(
        self, anchor: NodeProto, chain: Sequence[str], grid: Grid | None, result: str
    ) -> Group | None:
        """The group that ends at the end of *chain*, from what is known in the float model."""
        output = chain[-1]
        nodes: dict[str, NodeProto] = {}
        sources: dict[str, Source] = {}
        constants: dict[str, None] = {}
        waiting = [output]
        while waiting:
            name = waiting.pop()
            if name in sources or name in constants:
                continue
            if self.graph.constant(name):
                constants[name] = None
                continue
            source = self._source(name) if name not in chain else None
            if source is not None:
                sources[name] = source
                continue
            node = self.graph.producer.get(name)
            if node is None:  # an input of the model that the float model does not know
                return None
            nodes[node.output[0]] = node
            waiting += self.graph.reads(node)
        return Group(
            node=anchor.name or result,
            op_type=anchor.op_type,
            nodes=tuple(self.graph.in_order(nodes.values())),
            constants=tuple(constants),
            rounded=any(_dequantized(self.graph, name) for name in constants),
            sources=tuple(sources.values()),
            output=output,
            grid=grid,
            result=result,
        )

    def _chain(self, anchor: NodeProto) -> tuple[list[str], NodeProto | None]:
        """Tensors from the output of *anchor* to the end of its group, and what quantizes that.

        The first tensor alone, where no QuantizeLinear reads the end.
        """
        names = [str(anchor.output[0])]
        while True:
            users = self.graph.users.get(names[-1], [])
            if not users or names[-1] in self.graph.outputs:
                break
            if all(u.op_type == QUANTIZE and u.input[0] == names[-1] for u in users):
                return names, users[0]
            if len(users) > 1 or not self._follows(users[0], names[-1], anchor):
                break
            names.append(str(users[0].output[0]))
        return names[:1], None

    def _follows(self, node: NodeProto, name: str, anchor: NodeProto) -> bool:
        others = [i for i in node.input if i and i != name]
        if not all(self.graph.constant(i) for i in others):
            return False
        bias = anchor.op_type in ("MatMul", "Conv", "ConvTranspose") and node.op_type == "Add"
        return node.op_type in ACTIVATIONS or bias

    def _source(self, name: str) -> Source | None:
        """The activation *name*, where the float model has its values."""
        node = self.graph.producer.get(name)
        if node is None or node.op_type != DEQUANTIZE:
            known = self.matches.get(name)
            # moved codes are followed to where they were rounded
            moved = node is not None and node.op_type in MOVES
            if node is not None and moved:
                moved = any(_dequantized(self.graph, i) for i in node.input)
            return None if known is None or moved else Source(name, known, None)
        quantize, clip = self.graph.producer.get(node.input[0]), None
        if quantize is not None and quantize.op_type == "Clip":
            quantize, clip = self.graph.producer.get(quantize.input[0]), quantize
        names = [name]
        if quantize is None:
            names.append(node.input[0] if clip is None else clip.input[0])
        elif quantize.op_type == QUANTIZE:
            names.append(quantize.input[0])
            names += [n.output[0] for n in self.graph.users[node.input[0]]]
        known = next((self.matches[n] for n in names if n in self.matches), None)
        return None if known is None else Source(name, known, _grid(node, clip))


def _grid(node: NodeProto, clip: NodeProto | None) -> Grid:
    return Grid(node.input[1], node.input[2] if len(node.input) > 2 else "", node, clip)
