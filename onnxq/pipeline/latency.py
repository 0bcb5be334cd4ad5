"""How long a plan takes on a machine, from what its kernels cost; and which plan takes least."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, is_constant, producer
from onnxq.pipeline.context import Context
from onnxq.pipeline.macs import macs
from onnxq.targets import Role
from onnxq.targets.costs import Cost, Costs


@dataclass(frozen=True)
class Prediction:
    """Predicted seconds of a run on one thread.

    Attributes:
        nodes: by node name, of the nodes that the target has integer kernels for.
        conversions: by tensor name, of its QuantizeLinear, DequantizeLinear and reordering.
    """

    nodes: dict[str, float]
    conversions: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds of the whole run; what has no integer kernel is not counted."""
        return sum(self.nodes.values()) + sum(self.conversions.values())


def predict(
    model: Model, ctx: Context, costs: Costs, integer: Collection[str] | None = None
) -> Prediction:
    """What *model* takes where the planned nodes *integer* (None: all) run on integers.

    Args:
        model: the float model that the plan is for.
        ctx: with the plan, and shapes.
        costs: of kernels.
        integer: names of planned nodes; () is the float model.
    """
    units = _units(model, ctx)
    chosen = set(ctx.plan.nodes if integer is None else integer)
    nodes = {
        u.node.name: u.seconds(costs, ctx, in_integers=u.node.name in chosen)
        for u in units.values()
    }
    conversions: dict[str, float] = {}
    for flow in _flows(model, ctx, units):
        made_in_integers = flow.source in chosen
        if made_in_integers:
            leaving = sum(r not in chosen for r in flow.readers)
            spent = leaving * flow.dequantize(costs)
        else:
            spent = flow.quantize(costs) if any(r in chosen for r in flow.readers) else 0.0
        if spent:
            conversions[flow.tensor.name] = spent
    return Prediction(nodes, conversions)


def fastest(model: Model, ctx: Context, costs: Costs) -> set[str]:
    """Names of the planned nodes that are to run on integers for the least predicted time.

    Each node is on one of two sides, integers or float; its kernel there has a price, and so has
    each tensor that crosses. The cheapest division is a minimum cut (Ford and Fulkerson 1956;
    Greig, Porteous and Seheult 1989 for two labels).
    """
    import networkx as nx

    units = _units(model, ctx)
    net: nx.DiGraph[object] = nx.DiGraph()
    integer, floating = ("integer",), ("float",)
    net.add_nodes_from((integer, floating))

    def pay(one: object, other: object, seconds: float) -> None:
        """The price where *one* is on the side of integers and *other* is not."""
        if one != other and seconds > 0:
            known = net.get_edge_data(one, other, {"capacity": 0})["capacity"]
            net.add_edge(one, other, capacity=known + round(1e12 * seconds))  # whole picoseconds

    for name, unit in units.items():
        pay(integer, name, unit.seconds(costs, ctx, in_integers=False))
        pay(name, floating, unit.seconds(costs, ctx, in_integers=True))
    for flow in _flows(model, ctx, units):
        source = flow.source or floating
        for reader in flow.readers:
            pay(source, reader or floating, flow.dequantize(costs))
        once = (flow.tensor.name,)
        for reader in flow.readers:
            if reader:
                net.add_edge(reader, once)  # without a capacity: never cut
        pay(once, source, flow.quantize(costs))
    _, (side, _) = nx.minimum_cut(net, integer, floating)
    return {name for name in units if name in side}


def slower(
    model: Model, ctx: Context, costs: Costs, *, speedup: float = 1.1, least_ms: float = 1.0
) -> list[str]:
    """Planned nodes that are better left in float, in graph order.

    None where the plan is predicted to be *speedup* times as fast as float, or the model to take
    less than *least_ms* milliseconds there.
    """
    floating = predict(model, ctx, costs, ()).total
    if 1e3 * floating < least_ms or floating >= speedup * predict(model, ctx, costs).total:
        return []
    pays = fastest(model, ctx, costs)
    return [name for name in ctx.plan.nodes if name not in pays]


@dataclass(frozen=True)
class Work:
    """What costs multiply in a planned node.

    Attributes:
        kind: of kernel, by which costs are listed.
        elements, macs: see ``Cost``.
    """

    kind: str
    elements: int
    macs: int


def work(model: Model, ctx: Context) -> dict[str, Work]:
    """By name, the work of the planned nodes of *model*."""
    return {name: unit.work(ctx) for name, unit in _units(model, ctx).items()}


@dataclass(frozen=True, eq=False)
class _Unit:
    """A planned node; the activations that it absorbs cost nothing on either side."""

    node: gs.Node
    kind: str

    def seconds(self, costs: Costs, ctx: Context, *, in_integers: bool) -> float:
        table, work = costs.integer if in_integers else costs.floating, self.work(ctx)
        return table.get(self.kind, Cost()).seconds(work.elements, work.macs)

    def work(self, ctx: Context) -> Work:
        pooled = self.kind == "GlobalAveragePool"
        elements = _elements((self.node.inputs if pooled else self.node.outputs)[0], ctx)
        return Work(self.kind, elements, macs(self.node, ctx) or 0)


@dataclass(frozen=True, eq=False)
class _Flow:
    """A tensor at planned nodes: what writes it and what reads it; "" is a float node."""

    tensor: gs.Tensor
    source: str
    readers: tuple[str, ...]
    elements: int
    turned: bool

    def quantize(self, costs: Costs) -> float:
        return self._with_layout(costs.quantize, costs)

    def dequantize(self, costs: Costs) -> float:
        return self._with_layout(costs.dequantize, costs)

    def _with_layout(self, cost: Cost, costs: Costs) -> float:
        layout = costs.layout.seconds(self.elements) if self.turned else 0.0
        return cost.seconds(self.elements) + layout


def _units(model: Model, ctx: Context) -> dict[str, _Unit]:
    gates = {name for group in ctx.groups if group.kind == "silu" for name in group.nodes}
    nodes = [n for n in model.graph.nodes if n.name in ctx.plan.nodes]
    return {n.name: _Unit(n, _kind(n, ctx, gates)) for n in nodes}


def _kind(node: gs.Node, ctx: Context, gates: set[str]) -> str:
    """The kind of kernel that costs are listed by."""
    if node.op == "Conv":
        weight = node.inputs[1].shape
        single = weight[1] == 1 and node.attrs.get("group", 1) == weight[0] > 1
        return "DepthwiseConv" if single else "ShallowConv" if weight[1] <= 4 else "Conv"
    if node.name in gates:
        return "SiLU"
    if node.op == "Mul" and any(is_constant(t) for t in node.inputs):
        return "Scale"
    if node.op == "MatMul":
        return "Gemm"
    moves = ctx.target.rules[node.op].role is Role.MOVE and node.op not in ("MaxPool", "Resize")
    return "Move" if moves else node.op


def _flows(model: Model, ctx: Context, units: dict[str, _Unit]) -> list[_Flow]:
    """Tensors that planned nodes write or read as activations."""
    absorbed = {a: name for name in units for a in ctx.plan.nodes[name].absorbs}
    found: dict[int, _Flow] = {}
    for unit in units.values():
        rule = ctx.target.rules[unit.node.op]
        read = [unit.node.inputs[i] for i in rule.activation_inputs(len(unit.node.inputs))]
        written = _ends(unit.node, ctx) if ctx.plan.nodes[unit.node.name].outputs else []
        for tensor in (*read, *written):
            if not is_constant(tensor) and id(tensor) not in found:
                found[id(tensor)] = _flow(tensor, model, ctx, absorbed)
    return list(found.values())


def _ends(node: gs.Node, ctx: Context) -> list[gs.Tensor]:
    """The outputs of *node*, or that of the last activation that it absorbs."""
    tensors = list(node.outputs)
    for _ in ctx.plan.nodes[node.name].absorbs:
        tensors = list(consumers(tensors[0])[0][0].outputs)
    return tensors


def _flow(tensor: gs.Tensor, model: Model, ctx: Context, absorbed: Mapping[str, str]) -> _Flow:
    nodes = ctx.plan.nodes
    above = producer(tensor)
    source = "" if above is None else absorbed.get(above.name, above.name)
    if source not in nodes or not nodes[source].outputs:
        source = ""
    readers = [
        user.name if user.name in nodes and index in nodes[user.name].inputs else ""
        for user, index in consumers(tensor)
        if not _in_gate(user, tensor)
    ]
    if model.is_output(tensor):
        readers.append("")
    return _Flow(tensor, source, tuple(readers), _elements(tensor, ctx), ctx.rank(tensor) == 4)


def _in_gate(user: gs.Node, tensor: gs.Tensor) -> bool:
    """Whether *user* begins f(k · x) of a gate x · f(k · x), whose product reads *tensor* itself.

    The two share one conversion: see pass 'hold-gates'.
    """
    node = user
    if node.op == "Mul" and any(is_constant(t) for t in node.inputs):
        behind = consumers(node.outputs[0])
        node = behind[0][0] if len(behind) == 1 else node
    if node.op != "Sigmoid":
        return False
    gates = [n for n, _ in consumers(node.outputs[0])]
    return len(gates) == 1 and gates[0].op == "Mul" and any(t is tensor for t in gates[0].inputs)


def _elements(tensor: gs.Tensor, ctx: Context) -> int:
    shape = None if is_constant(tensor) else ctx.shape(tensor)
    return 0 if shape is None else prod(d or 1 for d in shape)
