from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.passes.canonical.decompose_recurrent import DecomposeRecurrent
from tests.passes.golden import apply, check, outputs, parse

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def text(
    op: str,
    steps: str = "3",
    both: bool = False,
    extra: str = "",
    names: str = "",
    more: str = "",
    hidden: int = 4,
) -> str:
    d, n, g, c = 2 if both else 1, hidden, hidden * GATES[op], op == "LSTM"
    state = f"float[{d},2,{n}] h" + (f", float[{d},2,{n}] c" if c else "")
    ends = f"float[{d},N,{n}] hn" + (f", float[{d},N,{n}] cn" if c else "")
    direction = 'direction = "bidirectional", ' if both else ""
    return f"""g (float[{steps},2,6] x, {state}{more}) => (float[S,{d},N,{n}] y, {ends})
    <float[{d},{g},6] w, float[{d},{g},{n}] r, float[{d},{2 * g}] b>
    {{ [cell] y, hn{", cn" if c else ""} = {op} <{direction}{extra}hidden_size = {n}>
        (x, w, r, b, {names}, h{", c" if c else ""}) }}"""


@pytest.mark.parametrize("opset", [11, 14])
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(
    ("op", "extra"),
    [("RNN", ""), ("LSTM", ""), ("GRU", ""), ("GRU", "linear_before_reset = 1, "),
     ("RNN", 'direction = "reverse", activations = ["Relu"], ')],
)  # fmt: skip
def test_the_same_function(op: str, extra: str, both: bool, steps: int, opset: int) -> None:
    if both and "direction" in extra:
        extra = 'activations = ["Relu", "Relu"], '
    before = parse(text(op, both=both, extra=extra), opset=opset)
    after, _ = apply(DecomposeRecurrent(steps=steps), before)
    ops = {n.op_type for n in after.graph.node}
    assert op not in ops and ("Scan" in ops) == (steps == 0)
    random = np.random.default_rng(0)
    feed = {i.name: random.normal(size=[d.dim_value for d in i.type.tensor_type.shape.dim])
            .astype(np.float32) for i in before.graph.input}  # fmt: skip
    for real, found in zip(outputs(before, feed), outputs(after, feed), strict=True):
        assert real.shape == found.shape
        np.testing.assert_allclose(found, real, atol=2e-5)


def test_states_begin_as_zeros_and_unread_outputs_are_left_out() -> None:
    before = parse("""g (float[S,N,6] x) => (float[S,1,N,4] y) <float[1,4,6] w, float[1,4,4] r>
        { [cell] y = RNN <hidden_size = 4> (x, w, r) }""")
    after, _ = apply(DecomposeRecurrent(), before)
    for shape in ((1, 3, 6), (5, 2, 6)):
        feed = {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
        (real,), (found,) = outputs(before, feed), outputs(after, feed)
        np.testing.assert_allclose(found, real, atol=2e-5)


def test_what_stays() -> None:
    def stays(graph: str, reason: str, **options: Any) -> None:
        check(DecomposeRecurrent(**options), graph, None, declines=[("cell", reason)], run=False)

    stays(text("GRU", "5"), "it takes 5 steps, not 2", steps=2, scan=False)
    stays(text("GRU", "S"), "any number of steps", scan=False)
    stays(text("GRU", extra="clip = 1.0, "), "its attribute clip")
    stays(text("GRU", extra='activations = ["Sigmoid", "Elu"], '), "Sigmoid, Elu")
    stays(text("GRU", names="n", more=", int32[2] n"), "lengths vary")


@pytest.mark.parametrize("steps", [0, 3])
def test_products_run_on_integers(steps: int) -> None:
    """Written out or in a Scan, both products of each step, with calibrated states."""
    model = parse(text("GRU", extra="linear_before_reset = 1, ", hidden=16), opset=14)
    random = np.random.default_rng(0)

    def feeds(count: int) -> list[dict[str, np.ndarray]]:
        return [{"x": random.normal(size=(3, 2, 6)).astype(np.float32),
                 "h": random.normal(size=(1, 2, 16)).astype(np.float32)}
                for _ in range(count)]  # fmt: skip

    result = onnxq.quantize(model, data=feeds(24), report_data=feeds(8), target="x86-vnni",
                            recipe=f"decompose-recurrent{{steps={steps}}},fast")  # fmt: skip
    products = [e for e in result.report["layers"] if e["op_type"] == "Gemm"]
    assert len(products) == 2 * max(steps, 1) and all(e["kernel"] for e in products)
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 25
    onnx.checker.check_model(result.model.to_proto(), full_check=True)
