from __future__ import annotations

import pytest

from onnxq.runtime.coverage import kernels
from tests.passes.stages import run

RECIPE = "plan-kernels,choose-ranges,quantize-weights,quantize-biases,insert-qdq"


def text(shape: str, behind: str = "Add (a, s)") -> str:
    """A cell: the product of an input, and a state beside it."""
    return f"""g (float[{shape}] x, float[{shape}] s) => (float[{shape}] y) <float[4,4] w> {{
        [product] a = MatMul (x, w)  [join] b = {behind}  [curve] y = Tanh (b) }}"""


def test_a_product_beside_a_state_is_an_integer_kernel() -> None:
    before, _ = run(text("2,4"), RECIPE, target="x86")
    after, _ = run(text("2,4"), RECIPE + ",hold-products", target="x86")
    assert "product" not in kernels(before)
    assert kernels(after)["product"] == "MatMulIntegerToFloat"
    (hold,) = (n for n in after.nodes() if n.op == "LeakyRelu")
    assert hold.attrs["alpha"] == 1.0 and hold.inputs[0].inputs[0].name == "product"


@pytest.mark.parametrize(
    ("shape", "behind", "target"),
    [
        ("2,4", "Add (a, s)", "openvino"),
        ("1,2,4", "Add (a, s)", "x86"),
        ("2,4", "Mul (a, s)", "x86"),
        ("2,4", "Add (a, a)", "x86"),
    ],
)
def test_declines(shape: str, behind: str, target: str) -> None:
    model, _ = run(text(shape, behind), RECIPE + ",hold-products", target=target)
    assert "LeakyRelu" not in {n.op for n in model.nodes()}
