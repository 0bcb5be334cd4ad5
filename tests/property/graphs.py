"""Random small models: shared weights, captures, omitted inputs, several outputs."""

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

F = TensorProto.FLOAT
SHAPE = [3]


@st.composite
def models(draw):
    """A valid model with inputs ``x`` (float[3]) and ``flag`` (bool), float[3] tensors inside."""
    counter = iter(range(1000))
    weights = [f"w{i}" for i in range(draw(st.integers(1, 3)))]

    def body(visible, size, depth):
        nodes, known = [], list(visible)
        for _ in range(size):
            number = next(counter)
            out, name = f"t{number}", f"n{number}"
            source = st.sampled_from(known + weights)
            kinds = ["Relu", "Identity", "Neg", "Add", "Mul", "Clip", "If"]
            kind = draw(st.sampled_from(kinds if depth else kinds[:-1]))
            if kind == "If":
                then, other = (branch(known, depth - 1) for _ in range(2))
                nodes.append(helper.make_node(
                    "If", ["flag"], [out], name, then_branch=then, else_branch=other))  # fmt: skip
            else:
                inputs = [draw(source) for _ in range({"Add": 2, "Mul": 2}.get(kind, 1))]
                inputs += ["", "one"] if kind == "Clip" else []
                nodes.append(helper.make_node(kind, inputs, [out], name))
            known.append(out)
        return nodes

    def branch(visible, depth):
        nodes = body(visible, draw(st.integers(1, 3)), depth)
        out = helper.make_tensor_value_info(nodes[-1].output[0], F, SHAPE)
        return helper.make_graph(nodes, f"b{next(counter)}", [], [out])

    nodes = body(["x"], draw(st.integers(1, 8)), 2)
    made = [n.output[0] for n in nodes]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    values = [numpy_helper.from_array(rng.normal(size=3).astype(np.float32), w) for w in weights]
    values.append(numpy_helper.from_array(np.array(1, np.float32), "one"))
    infos = [helper.make_tensor_value_info(t, F, SHAPE) for t in made if t not in outputs]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", F, SHAPE),
         helper.make_tensor_value_info("flag", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info(t, F, SHAPE) for t in outputs],
        values, value_info=draw(st.sampled_from([infos, []])),
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model
