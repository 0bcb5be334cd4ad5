"""Planning: which nodes become integer kernels, and what each tensor at them becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import onnx_graphsurgeon as gs

from onnxq.graph import Model, consumers, is_constant, producer
from onnxq.pipeline.context import Context
from onnxq.pipeline.eligibility import (
    Absorption,
    absorbed,
    added_bias,
    gate_floors,
    integer_bias,
    read_through,
    why_not,
)
from onnxq.pipeline.plan import NodePlan
from onnxq.quant import (
    Derived,
    DType,
    PerAxis,
    PerTensor,
    QuantSpec,
    Shared,
    in_bytes,
    number_format,
)
from onnxq.targets import OpRule, Role


def plan_kernels(model: Model, ctx: Context) -> None:
    """Fill ``ctx.plan`` anew from the target, the plan's defaults and what must stay float."""
    plan = ctx.plan
    plan.nodes, plan.tensors, plan.kept_float = {}, {}, {}
    rules: dict[int, tuple[gs.Node, OpRule]] = {}
    for node in model.graph.nodes:
        rule = ctx.target.rules.get(node.op)
        reason = why_not(node, rule, model, ctx)
        if reason is None and rule is not None:
            rules[id(node)] = (node, rule)
        elif not all(is_constant(t) for t in node.inputs):
            plan.keep_float(node.name, reason or "")
    outputs = {id(t) for graph in model.graphs() for t in graph.outputs}
    ends = {i: absorbed(n, r, outputs, ctx) for i, (n, r) in rules.items()}
    for end in list(ends.values()):  # activations that have a kernel too: they need none
        for node in end.nodes:
            rules.pop(id(node), None)
            ends.pop(id(node), None)
    chosen = set(rules)
    if ctx.target.integer is None:
        chosen = _choose(rules, ends, on_integers=not computes_in_float(ctx))
    for i, (node, rule) in rules.items():
        if i not in chosen:
            plan.keep_float(node.name, _why_unchosen(rule))
    for i, (node, rule) in rules.items():
        if i in chosen:
            _plan(node, rule, ends[i], chosen, outputs, ctx)
    _read_through(model, outputs, ctx)
    _share_joins(model, ctx)
    if ctx.target.pads_codes:
        _center_padded(model, ctx)


def _plan(
    node: gs.Node,
    rule: OpRule,
    end: Absorption,
    chosen: set[int],
    graph_outputs: set[int],
    ctx: Context,
) -> None:
    """Write *node*, its inputs and its output into the plan."""
    tensors = ctx.plan.tensors
    base = activation_spec(ctx)
    inputs = rule.activation_inputs(len(node.inputs))
    for index in inputs:
        tensors.setdefault(node.inputs[index].name, base)
    if rule.weight is not None:
        tensors[node.inputs[rule.weight].name] = weight_spec(node, rule, ctx)
        inputs = (*inputs, rule.weight)
    if rule.bias is not None and _present(node, rule.bias) and integer_bias(ctx):
        x, w = node.inputs[inputs[0]].name, node.inputs[rule.weight or 1].name
        tensors[node.inputs[rule.bias].name] = Derived((x, w))
        inputs = (*inputs, rule.bias)
    feeds_integers = any(
        id(user) in chosen and (index in _reads(user, ctx)) for user, index in consumers(end.tensor)
    )
    outputs: tuple[int, ...] = ()
    rounds = end.tensor.name in ctx.trained.activations  # in training, whatever reads it
    floats = rule.float_output or computes_in_float(ctx)
    if not floats or feeds_integers or rounds:
        outputs = tuple(range(len(node.outputs)))
        limits = end.limits if end.limits is not None else rule.output_range
        for out in node.outputs if not end.nodes else [end.tensor]:
            if rule.role is Role.MOVE:
                tensors[out.name] = Shared(node.inputs[0].name)
            else:
                tensors[out.name] = replace(base, limits=limits)
    elif end.nodes:
        end = Absorption(node.outputs[0])
    adds = None if outputs else added_bias(node, graph_outputs, ctx)
    if adds is not None:
        tensors[adds[0].inputs[adds[1]].name] = Derived((node.inputs[0].name, node.inputs[1].name))
    ctx.plan.nodes[node.name] = NodePlan(
        node.name,
        rule.kernel,
        tuple(sorted(inputs)),
        outputs,
        tuple(n.name for n in end.nodes),
        None if adds is None else (adds[0].name, adds[1]),
    )


def _center_padded(model: Model, ctx: Context) -> None:
    """Give tensors that are padded a zero point of 0: where their codes are, 0 is put in."""
    tensors = ctx.plan.tensors
    for node in model.graph.nodes:
        if node.op != "Pad":
            continue
        name = node.inputs[0].name
        while isinstance(spec := tensors.get(name), Shared):
            name = spec.with_
        if isinstance(spec, QuantSpec) and spec.dtype.signed:
            tensors[name] = replace(spec, symmetric=True)


def _read_through(model: Model, outputs: set[int], ctx: Context) -> None:
    """Note the activation function that alone reads a planned tensor."""
    for name, tensor in model.tensors().items():
        spec = ctx.plan.tensors.get(name)
        if isinstance(spec, QuantSpec) and not is_constant(tensor):
            found = read_through(tensor, outputs)
            if found is not None:
                function, scale = found
                ctx.plan.tensors[name] = replace(
                    spec, through=function, through_scale=scale, floors=gate_floors(tensor)
                )


def activation_spec(ctx: Context) -> QuantSpec:
    """The spec of activations that nothing else is known of."""
    if ctx.plan.activations is None:
        return ctx.target.activations
    return _in_format(ctx.target.activations, in_bytes(number_format(ctx.plan.activations)))


def computes_in_float(ctx: Context) -> bool:
    """Whether activations are wider than any integer kernel of the target reads.

    Layers then compute in float between Q and DQ: nothing is gained by rounding what floats alone
    read, nor by moving codes in front of the first layer.
    """
    return ctx.target.integer is None and activation_spec(ctx).dtype.bits > ctx.target.code_bits


def _in_format(spec: QuantSpec, kind: DType) -> QuantSpec:
    """*spec* in the format *kind*: a floating-point one has no zero points, nor pairs of codes."""
    if kind.floating:
        return replace(spec, dtype=kind, symmetric=True, narrow_range=False, pair_sum_limit=None)
    return replace(spec, dtype=kind)


def weight_spec(node: gs.Node, rule: OpRule, ctx: Context) -> QuantSpec:
    """The spec of the weight of *node*, its axis counted from the front."""
    spec = ctx.target.weights
    bits = ctx.plan.precisions.get(node.name)
    asked = ctx.plan.weights if bits is None else f"{'u' * (not spec.dtype.signed)}int{bits}"
    if asked is not None:
        chosen = number_format(asked)
        limit = spec.pair_sum_limit if chosen == spec.dtype else None
        spec = _in_format(replace(spec, pair_sum_limit=limit), chosen)
    per_channel = isinstance(spec.granularity, PerAxis)
    if ctx.plan.granularity is not None:
        per_channel = ctx.plan.granularity == "channel"
    rank = len(node.inputs[rule.weight or 0].shape)
    axis = rule.channel_axis % max(rank, 1)
    if node.op == "Gemm" and node.attrs.get("transB", 0):
        axis = 0
    if rank < 2 or not per_channel or (node.op == "MatMul" and rank > 2):
        return replace(spec, granularity=PerTensor())
    return _with_pairs(replace(spec, granularity=PerAxis(axis)), node, rule, axis)


def _with_pairs(spec: QuantSpec, node: gs.Node, rule: OpRule, axis: int) -> QuantSpec:
    """*spec* with what is known of the pairs of products that the kernel adds.

    Convolutions sum channels last, (h, w, C); matrix products sum along K. A depthwise kernel
    widens to 32 bits before it adds, so its pairs are free. (Seen on every pair of weights of
    small kernels, on an emulated processor without VNNI.)
    """
    weight = node.inputs[rule.weight or 0]
    if node.op != "Conv":
        return replace(spec, pair_axis=1 - axis if len(weight.shape) == 2 else None)
    if weight.shape[1] == 1 and node.attrs.get("group", 1) == weight.shape[0]:
        return replace(spec, pair_sum_limit=None)
    return replace(spec, pair_axis=1)


def _present(node: gs.Node, index: int) -> bool:
    return index < len(node.inputs) and not node.inputs[index].is_empty()


def _reads(node: gs.Node, ctx: Context) -> tuple[int, ...]:
    """Inputs of *node* that its rule quantizes as activations."""
    return ctx.target.rules[node.op].activation_inputs(len(node.inputs))


def _choose(
    rules: dict[int, tuple[gs.Node, OpRule]], ends: dict[int, Absorption], *, on_integers: bool
) -> set[int]:
    """Ids of the nodes that become integer kernels.

    In the graph of eligible nodes: all that compute; what lies on a path between two of them;
    data movement behind one (exact, and cheaper on bytes); exact nodes between a graph input and
    one, so that images are sliced and joined as bytes. The last two only where layers compute
    *on_integers*.
    """
    sources: dict[int, set[int]] = {i: set() for i in rules}
    users: dict[int, set[int]] = {i: set() for i in rules}
    for i in rules:
        for user, index in consumers(ends[i].tensor):
            if id(user) not in rules:
                continue
            _, reading = rules[id(user)]
            if index in reading.activation_inputs(len(user.inputs)):
                users[i].add(id(user))
                sources[id(user)].add(i)
    core = [i for i, (_, rule) in rules.items() if rule.role is Role.COMPUTE]
    down, up = _reached(core, users), _reached(core, sources)
    chosen = down & up
    exact = {i for i, (_, r) in rules.items() if r.role in (Role.MOVE, Role.JOIN) and on_integers}
    for i, (node, rule) in rules.items():  # in graph order: sources first
        if i in chosen or i not in exact:
            continue
        above = [producer(node.inputs[k]) for k in rule.activation_inputs(len(node.inputs))]
        leading = i in up and all(_exact_source(s, chosen, rule) for s in above)
        behind = i in down and sources[i] and sources[i] <= chosen
        if leading or (behind and rule.role is Role.MOVE):
            chosen.add(i)
    return chosen


def _reached(start: Iterable[int], edges: Mapping[int, set[int]]) -> set[int]:
    """*start* and what *edges* lead to from there."""
    found, waiting = set(start), list(start)
    while waiting:
        new = edges[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _exact_source(source: gs.Node | None, chosen: set[int], rule: OpRule) -> bool:
    """Whether integers may start at *source*: a graph input, an integer node, or a float join."""
    joined = source is not None and source.op == "Concat" and rule.role is Role.MOVE
    return source is None or id(source) in chosen or joined


def _why_unchosen(rule: OpRule) -> str:
    if rule.role is Role.MOVE:
        return "moves data between float neighbours: nothing to gain"
    return "no integer layer both before and behind it: 8 bits would only lose accuracy"


def _share_joins(model: Model, ctx: Context) -> None:
    """Let inputs of a join that feed nothing else share the scale of its output."""
    for node in model.graph.nodes:
        rule = ctx.target.rules.get(node.op)
        if node.name not in ctx.plan.nodes or rule is None or rule.role is not Role.JOIN:
            continue
        for tensor in node.inputs:
            source, path = tensor, []
            while len(consumers(source)) == 1 and not model.is_output(source):
                path.append(source)
                planned = ctx.plan.tensors.get(source.name)
                if not isinstance(planned, Shared):
                    break
                above = producer(source)
                if above is None:
                    break
                source = above.inputs[0]
            else:
                continue
            root = path[-1]
            if not is_constant(root) and isinstance(ctx.plan.tensors.get(root.name), QuantSpec):
                ctx.plan.tensors[root.name] = Shared(node.outputs[0].name)
