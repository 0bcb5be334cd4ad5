"""Random small networks, every rewriting pass in random order: the outputs stay.

Weights are shared at random, tensors in the middle are outputs at random, branches capture tensors.
"""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxq.graph import Model
from onnxq.pipeline import PassRecord
from onnxq.pipeline.registry import get
from tests.passes.golden import context, same_outputs
from tests.passes.test_zoo import CANONICAL, FUSE

SHAPE = [1, 4, 6, 6]
RNG = np.random.default_rng(7)
PADS = np.array([0, 0, 1, 1, 0, 0, 1, 1], dtype=np.int64)
POOL = {
    **{f"w{i}": RNG.normal(size=(4, 4, 1, 1)) / 2 for i in range(2)},
    **{f"k{i}": RNG.normal(size=(4, 4, 3, 3)) / 6 for i in range(2)},
    "g": RNG.normal(size=(4, 2, 3, 3)) / 4,
    **{f"b{i}": RNG.normal(size=4) for i in range(2)},
    "s": RNG.normal(size=4),
    "o": RNG.normal(size=4),
    "m": RNG.normal(size=4),
    "v": RNG.uniform(0.5, 2, size=4),
    "one": np.array(1.0),
    "nil": np.array(0.0),
    "six": np.array(6.0),
    "scalar": np.array([1.5]),
    "channel": RNG.uniform(0.5, 2, size=(4, 1, 1)),
    "column": RNG.uniform(0.5, 2, size=6),
}  # fmt: skip
CONSTANTS = ["one", "nil", "scalar", "channel", "column"]


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, int, str, str]]:
    """Operators, each with the position (from the end) of what it reads and two weights."""
    ops = st.sampled_from([
        "conv1", "conv3", "padded", "grouped", "transposed", "bn", "bn", "relu", "clip", "max",
        "min", "Mul", "Add", "Sub", "Div", "rsub", "identity", "dropout", "join", "pool",
        "average", "branch", "constant", "mean",
    ])  # fmt: skip
    step = st.tuples(
        ops, st.sampled_from([1, 1, 1, 2, 3]), st.sampled_from(["0", "1"]),
        st.sampled_from(CONSTANTS),
    )  # fmt: skip
    return draw(st.lists(step, min_size=1, max_size=9))


def build(plan: list[tuple[str, int, str, str]], shown: set[int]) -> onnx.ModelProto:
    tensors, nodes = ["x"], []
    for i, (op, back, pick, constant) in enumerate(plan):
        x, y = tensors[-min(back, len(tensors))], f"t{i}"
        nodes += step_nodes(op, x, y, pick, constant, tensors[0])
        tensors.append(y)
    outputs = sorted({len(plan) - 1} | {i for i in shown if i < len(plan)})
    info = [helper.make_tensor_value_info(f"t{i}", TensorProto.FLOAT, SHAPE) for i in outputs]
    used = {name for n in nodes for name in _reads(n)}
    weights = {k: v.astype(np.float32) for k, v in POOL.items()} | {"pads": PADS}
    graph = helper.make_graph(
        nodes,
        "random",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE),
            helper.make_tensor_value_info("p", TensorProto.BOOL, []),
        ],
        info,
        [numpy_helper.from_array(v, k) for k, v in weights.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def _reads(node: onnx.NodeProto) -> set[str]:
    inner = {name for a in node.attribute for n in a.g.node for name in _reads(n)}
    return set(node.input) | inner


def step_nodes(op: str, x: str, y: str, i: str, constant: str, first: str) -> list[onnx.NodeProto]:
    make = helper.make_node
    simple = {
        "conv1": lambda: make("Conv", [x, f"w{i}", f"b{i}"], [y]),
        "conv3": lambda: make("Conv", [x, f"k{i}"], [y], pads=[1, 1, 1, 1]),
        "grouped": lambda: make("Conv", [x, "g", f"b{i}"], [y], group=2, pads=[1, 1, 1, 1]),
        "transposed": lambda: make("ConvTranspose", [x, f"w{i}"], [y]),
        "bn": lambda: make("BatchNormalization", [x, "s", "o", "m", "v"], [y]),
        "relu": lambda: make("Relu", [x], [y]),
        "clip": lambda: make("Clip", [x, "nil", "six"], [y]),
        "max": lambda: make("Max", [x, "nil"], [y]),
        "min": lambda: make("Min", ["six", x], [y]),
        "rsub": lambda: make("Sub", [constant, x], [y]),
        "identity": lambda: make("Identity", [x], [y]),
        "dropout": lambda: make("Dropout", [x], [y], ratio=0.3),
        "join": lambda: make("Add", [x, first], [y]),
        "pool": lambda: make("MaxPool", [x], [y], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    }
    if op in simple:
        return [simple[op]()]
    if op in {"Mul", "Add", "Sub", "Div"}:
        divisor = "one" if op == "Div" and constant == "nil" else constant
        return [make(op, [x, divisor], [y])]
    if op == "padded":
        return [make("Pad", [x, "pads"], [f"{y}p"]), make("Conv", [f"{y}p", f"k{i}"], [y])]
    if op == "average":
        pool = make("AveragePool", [f"{y}p"], [y], kernel_shape=[3, 3])
        return [make("Pad", [x, "pads"], [f"{y}p"]), pool]
    if op == "constant":
        value = numpy_helper.from_array(POOL["channel"].astype(np.float32))
        return [make("Constant", [], [f"{y}c"], value=value), make("Mul", [f"{y}c", x], [y])]
    if op == "mean":
        return [make("ReduceMean", [x], [f"{y}m"], axes=[2, 3]), make("Mul", [f"{y}m", x], [y])]
    info = [helper.make_tensor_value_info(f"{y}u", TensorProto.FLOAT, SHAPE)]
    one = [
        make("Conv", [x, f"w{i}"], [f"{y}c"]),
        make("BatchNormalization", [f"{y}c", "s", "o", "m", "v"], [f"{y}u"]),
    ]
    other = [make("Identity", [x], [f"{y}u"])]
    branches = [helper.make_graph(nodes, "branch", [], info) for nodes in (one, other)]
    return [make("If", ["p"], [y], then_branch=branches[0], else_branch=branches[1])]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps(), st.sets(st.integers(0, 8), max_size=2), st.permutations([*CANONICAL, *FUSE]))
def test_outputs_stay(
    plan: list[tuple[str, int, str, str]], shown: set[int], order: list[str]
) -> None:
    source = build(plan, shown)
    model, ctx = Model.load(onnx.shape_inference.infer_shapes(source)), context()
    for name in order:
        ctx.journal.records.append(PassRecord(name))
        get(name)().run(model, ctx)
    result = model.to_proto()
    onnx.checker.check_model(result, full_check=True)
    same_outputs(source, result, 1e-4)
