"""Golden tests of passes: a graph before, the graph expected after, both as ONNX text.

A name that the text uses and does not define, but declares a type for in its ``<...>`` list, is a
weight: it gets random values (positive where the name begins with ``var``). In the graph expected,
such a name stands for any constant, of that type where one is declared. Names of values do not
matter except those of inputs and outputs; the order of nodes does not matter either.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, PassRecord
from onnxq.quant import QuantSpec, dtype
from onnxq.targets import OpRule, Target

Arrays = Mapping[str, NDArray[Any]]


def context(opset: int = 13) -> Context:
    """A context with a target that knows next to nothing."""
    spec = QuantSpec(dtype=dtype("uint8"))
    rules: dict[str, OpRule] = {}
    return Context(
        target=Target(
            name="test",
            summary="for tests",
            activations=spec,
            weights=spec,
            rules=rules,
            opset=opset,
        )
    )


def parse(text: str, weights: Arrays | None = None, *, opset: int = 13, ir: int = 8) -> Any:
    """The model of *text*, undefined names filled with *weights* or random values."""
    if not text.lstrip().startswith("<"):
        text = f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n{text}'
    proto = onnx.parser.parse_model(text)
    given = dict(weights or {})
    defined = {t.name for t in (*proto.graph.input, *proto.graph.initializer)} | {
        name for node in proto.graph.node for name in node.output
    }
    for info in list(proto.graph.value_info):
        if info.name in defined:
            continue
        proto.graph.value_info.remove(info)
        value = given.pop(info.name, None)
        if value is None:
            value = _random(info)
        proto.graph.initializer.append(numpy_helper.from_array(value, info.name))
    assert not given, f"the text declares no weight called {sorted(given)}"
    return proto


def _random(info: onnx.ValueInfoProto) -> NDArray[Any]:
    kind = info.type.tensor_type
    shape = [d.dim_value for d in kind.shape.dim]
    rng = np.random.default_rng(zlib.crc32(info.name.encode()))
    value = rng.normal(size=shape)
    if info.name.startswith("var"):
        value = np.abs(value) + 0.1
    return value.astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))


def apply(pass_: Pass, proto: onnx.ModelProto, ctx: Context | None = None) -> tuple[Any, Context]:
    """What *pass_* makes of *proto*, and the context with its declines."""
    ctx = ctx or context()
    ctx.journal.records.append(PassRecord(pass_.name))
    model = Model.load(onnx.shape_inference.infer_shapes(proto))
    before = [(c, c.values, np.copy(c.values)) for c in model.tensors().values() if _stored(c)]
    pass_.run(model, ctx)
    for constant, array, copy in before:
        np.testing.assert_array_equal(array, copy, f"'{constant.name}' was written into")
    result = model.to_proto()
    onnx.checker.check_model(result, full_check=True)
    return result, ctx


def _stored(tensor: Any) -> bool:
    return hasattr(tensor, "values") and np.asarray(tensor.values).dtype.kind in "fiub"


def check(
    pass_: Pass,
    before: str,
    after: str | None = None,
    *,
    ctx: Context | None = None,
    weights: Arrays | None = None,
    expected: Arrays | None = None,
    declines: Sequence[tuple[str, str]] = (),
    tolerance: float = 2e-5,
    opset: int = 13,
    opset_after: int | None = None,
    run: bool = True,
) -> onnx.ModelProto:
    """Run *pass_* on *before* and compare with *after* (None: nothing changes).

    *expected* are values of constants of *after*; *declines* are pairs of node name and a part of
    the reason, and no others may occur. Both graphs give the same outputs on random inputs.
    """
    source = parse(before, weights, opset=opset)
    result, used = apply(pass_, source, ctx)
    if after is None:
        wanted, values = (
            source,
            {t.name: numpy_helper.to_array(t) for t in source.graph.initializer},
        )
    else:
        wanted = parse(after, opset=opset_after or opset)
        values = dict(expected or {})
        literal = onnx.parser.parse_model(
            after
            if after.lstrip().startswith("<")
            else f'<ir_version: 8, opset_import: ["":13]>{after}'
        )
        values |= {t.name: numpy_helper.to_array(t) for t in literal.graph.initializer}
    same_graph(result.graph, wanted.graph, values)
    found = [(d.node, d.reason) for d in used.journal.declines]
    assert len(found) == len(declines), f"declines: {found}"
    for (node, reason), (wanted_node, part) in zip(found, declines, strict=True):
        assert node == wanted_node, f"declined '{node}' ({reason}), not '{wanted_node}'"
        assert part in reason, f"the reason is: {reason}"
    if run:
        same_outputs(source, result, tolerance)
    return result


def same_outputs(a: onnx.ModelProto, b: onnx.ModelProto, tolerance: float) -> None:
    """Run both on the same random inputs; compare relative to the largest output."""
    feeds = {}
    weights = {t.name for t in a.graph.initializer}
    for value in a.graph.input:
        if value.name not in weights:
            kind = value.type.tensor_type
            shape = [d.dim_value or 2 for d in kind.shape.dim]
            rng = np.random.default_rng(zlib.crc32(value.name.encode()))
            drawn = np.asarray(rng.normal(size=shape) * 2)
            kind_np = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            feeds[value.name] = np.asarray(drawn).astype(kind_np)
    for x, y in zip(outputs(a, feeds), outputs(b, feeds), strict=True):
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        scale = np.abs(x.astype(np.float64)).max(initial=0) or 1.0
        np.testing.assert_allclose(y.astype(np.float64), x, rtol=0, atol=tolerance * scale)


def outputs(proto: onnx.ModelProto, feeds: Arrays) -> list[NDArray[Any]]:
    """What ONNX Runtime computes, without its own rewriting."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = {i.name for i in session.get_inputs()}
    return list(session.run(None, {k: v for k, v in feeds.items() if k in names}))


def same_graph(found: onnx.GraphProto, wanted: onnx.GraphProto, values: Arrays) -> None:
    """Compare the structure from the outputs upwards, constants by *values* where given there."""
    _Comparison(values).graphs(found, wanted)


class _Comparison:
    def __init__(self, values: Arrays) -> None:
        self.values = values
        self.scopes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.paired: dict[str, str] = {}

    def graphs(self, found: onnx.GraphProto, wanted: onnx.GraphProto) -> None:
        ops = [sorted(n.op_type for n in g.node) for g in (found, wanted)]
        assert ops[0] == ops[1], f"nodes: {ops[0]}, not {ops[1]}"
        assert len(found.output) == len(wanted.output)
        self.scopes.append((_table(found), _table(wanted)))
        for a, b in zip(found.output, wanted.output, strict=True):
            if len(self.scopes) == 1:
                assert a.name == b.name, f"output '{a.name}', not '{b.name}'"
            self.tensors(a.name, b.name)
        self.scopes.pop()

    def tensors(self, a: str, b: str) -> None:
        if bool(a) != bool(b):
            raise AssertionError(f"'{a}' where '{b}' is expected")
        if not a:
            return
        if self.paired.setdefault(a, b) != b:
            raise AssertionError(f"'{a}' stands for '{b}' and for '{self.paired[a]}'")
        x = next((s[0][a] for s in reversed(self.scopes) if a in s[0]), None)
        y = next((s[1][b] for s in reversed(self.scopes) if b in s[1]), None)
        assert x is not None, f"'{a}' is not defined"
        assert type(x) is type(y), f"'{a}' is {_what(x)}, '{b}' is {_what(y)}"
        if isinstance(x, onnx.ValueInfoProto):
            assert a == b or len(self.scopes) > 1, f"input '{a}', not '{b}'"
        elif isinstance(x, onnx.TensorProto):
            value = numpy_helper.to_array(x)
            assert x.data_type == y.data_type, f"type of '{a}' ({b})"
            assert list(x.dims) == list(y.dims), f"'{a}' ({b}) is {x.dims}, not {y.dims}"
            if b in self.values:
                np.testing.assert_allclose(value, self.values[b], rtol=1e-5, atol=1e-6, err_msg=b)
        else:
            self.nodes(x, y, a, b)

    def nodes(self, x: onnx.NodeProto, y: onnx.NodeProto, a: str, b: str) -> None:
        assert x.op_type == y.op_type, f"'{a}' is from {x.op_type}, '{b}' from {y.op_type}"
        assert list(x.output).index(a) == list(y.output).index(b)
        left, right = _inputs(x), _inputs(y)
        assert len(left) == len(right), f"{x.op_type} '{a}': inputs {left}, not {right}"
        for i, j in zip(left, right, strict=True):
            self.tensors(i, j)
        attrs = {k.name: k for k in x.attribute}, {k.name: k for k in y.attribute}
        assert attrs[0].keys() == attrs[1].keys(), f"{x.op_type} '{a}': {[*attrs[0]]} {[*attrs[1]]}"
        for key, left_attr in attrs[0].items():
            p, q = (onnx.helper.get_attribute_value(t) for t in (left_attr, attrs[1][key]))
            if isinstance(p, onnx.GraphProto):
                self.graphs(p, q)
            elif isinstance(p, onnx.TensorProto):
                np.testing.assert_array_equal(numpy_helper.to_array(p), numpy_helper.to_array(q))
            else:
                np.testing.assert_allclose(p, q) if isinstance(p, float) else _equal(p, q, key, a)


def _equal(p: Any, q: Any, key: str, name: str) -> None:
    p, q = (list(v) if isinstance(v, Sequence) and not isinstance(v, bytes) else v for v in (p, q))
    assert p == q, f"attribute {key} of '{name}' is {p}, not {q}"


def _inputs(node: onnx.NodeProto) -> list[str]:
    names = list(node.input)
    while names and not names[-1]:
        names.pop()
    return names


def _table(graph: onnx.GraphProto) -> dict[str, Any]:
    table: dict[str, Any] = {v.name: v for v in graph.input}
    table |= {name: node for node in graph.node for name in node.output if name}
    return table | {t.name: t for t in graph.initializer}


def _what(found: Any) -> str:
    kinds = {onnx.ValueInfoProto: "an input", onnx.TensorProto: "a constant"}
    return kinds.get(type(found), getattr(found, "op_type", "not defined"))
