from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnxq.passes.fuse.widen_stem import WidenStem
from onnxq.pipeline import Context
from onnxq.runtime.coverage import kernels
from onnxq.targets import get_target
from tests.passes.golden import check, context
from tests.passes.stages import run


def stem(conv: str, *, x: str = "1,3,16,16", w: str = "16,3,3,3") -> str:
    return f"""g (float[{x}] x) => (float[A,B,C,D] y) <float[{w}] w>
    {{ [stem] y = {conv}(x, w) }}"""


def x86() -> Context:
    found = context()
    found.target = get_target("x86")
    return found


def widened(before: str, after: str, expected: Mapping[str, NDArray[Any]] | None = None) -> None:
    check(WidenStem(), before, after, ctx=x86(), expected=expected)


def test_small_kernels_read_a_channel_of_zeros() -> None:
    w = np.random.default_rng(0).standard_normal((16, 3, 3, 3)).astype(np.float32)
    check(
        WidenStem(),
        stem("Conv<strides=[2,2]>", x="N,3,H,W"),
        """g (float[N,3,H,W] x) => (float[A,B,C,D] y) <float[16,4,3,3] w, int64[8] p>
        { xx = Pad<mode="constant">(x, p)  [stem] y = Conv<strides=[2,2]>(xx, w) }""",
        ctx=x86(),
        weights={"w": w},
        expected={"w": np.pad(w, ((0, 0), (0, 1), (0, 0), (0, 0))), "p": np.eye(8)[5]},
        run=False,  # sizes are not fixed
    )


@pytest.mark.parametrize("conv", ["Conv<strides=[2,2]>", "Conv<strides=[2,2],pads=[3,3,3,3]>"])
def test_what_is_put_in_front_has_a_shape(conv: str) -> None:
    """So that nothing needs to be measured again."""
    kernel = 7 if "pads" in conv else 3
    text = stem(conv, x="2,3,16,12", w=f"16,3,{kernel},{kernel}")
    rng = np.random.default_rng(0)
    data = [{"x": rng.normal(size=(2, 3, 16, 12)).astype(np.float32)}]
    w = {"w": rng.normal(size=(16, 3, kernel, kernel)).astype(np.float32)}
    model, ctx = run(text, "name-nodes,measure-shapes,widen-stem", weights=w, data=data)
    named = next(n for n in model.nodes() if n.name == "stem").inputs[0].name
    assert ctx.probe is not None
    assert ctx.facts[named] == ctx.probe(model)[named]


@pytest.mark.parametrize("kernel", [(7, 7), (6, 6), (5, 4)])
@pytest.mark.parametrize("pads", [(3, 3, 3, 3), (2, 1, 2, 2), (0, 3, 1, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_large_kernels_are_folded(
    kernel: tuple[int, int], pads: tuple[int, int, int, int], channels: int
) -> None:
    """Also of other outputs than half of the image: the function is the same."""
    conv = f"Conv<strides=[2,2], pads={list(pads)}>"
    before = stem(conv, x=f"1,{channels},16,12", w=f"16,{channels},{kernel[0]},{kernel[1]}")
    cells = [-(-p // 2) + (k - 1 - p) // 2 + 1 for k, p in zip(kernel, pads, strict=False)]
    out = [(s + p + q - k) // 2 + 1 for s, p, q, k in zip(
        (16, 12), pads[:2], pads[2:], kernel, strict=True)]  # fmt: skip
    front = [-(-p // 2) for p in pads[:2]]
    behind = [o + c - 1 - s // 2 - f for o, c, s, f in zip(
        out, cells, (16, 12), front, strict=True)]  # fmt: skip
    widened(
        before,
        f"""g (float[1,{channels},16,12] x) => (float[A,B,C,D] y)
        <float[16,{4 * channels},{cells[0]},{cells[1]}] v>
        {{ xx = SpaceToDepth<blocksize=2>(x)
           [stem] y = Conv<kernel_shape={cells}, pads={front + behind}, strides=[1,1]>(xx, v) }}""",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (stem("Conv", w="8,3,3,3"), "fewer than 16"),
        (stem("Conv<dilations=[2,2]>"), "dilations"),
        (stem("Conv", w="16,3,5,5"), "stride not 2"),
        (stem("Conv<strides=[2,2]>", x="1,3,15,16", w="16,3,5,5"), "odd"),
        (stem("Conv<strides=[2,2]>", x="1,3,H,W", w="16,3,5,5"), "not fixed"),
        (stem('Conv<strides=[2,2], auto_pad="SAME_UPPER">', w="16,3,5,5"), "automatically"),
    ],
)
def test_declines(text: str, reason: str) -> None:
    check(WidenStem(), text, ctx=x86(), declines=[("stem", reason)], run=False)


def test_leaves_what_is_wide_in_float_or_elsewhere_alone() -> None:
    check(WidenStem(), stem("Conv", x="1,4,8,8", w="16,4,3,3"), ctx=x86())
    check(WidenStem(), stem("Conv<group=3>", w="18,1,3,3"), ctx=x86())
    check(WidenStem(), stem("Conv"))  # a target that does not ask for it
    excluded = x86()
    excluded.plan.excluded["stem"] = "by the user"
    check(WidenStem(), stem("Conv"), ctx=excluded, declines=[("stem", "stays in float")])


@pytest.mark.parametrize("size", [3, 7])
def test_what_it_inserts_runs_on_codes(size: int) -> None:
    text = stem("Conv<strides=[2,2]>", w=f"16,3,{size},{size}")
    text = (
        text.replace("y = Conv", "a = Conv")
        .replace("(x, w) }", "(x, w) [tail] y = Conv(a, v) }")
        .replace("> w>", "> w>")
    )
    text = text.replace(
        f"<float[16,3,{size},{size}] w>", f"<float[16,3,{size},{size}] w, float[8,16,1,1] v>"
    )
    recipe = (
        "widen-stem,plan-kernels,choose-ranges,quantize-weights,quantize-biases,insert-qdq,"
        "move-codes"
    )
    model, _ = run(text, recipe)
    (moved,) = (n for n in model.nodes() if n.op in ("Pad", "SpaceToDepth"))
    assert moved.inputs[0].inputs[0].op == "QuantizeLinear"
    assert moved.outputs[0].outputs[0].op == "DequantizeLinear"
    ran = kernels(model)
    assert ran["stem"] == "QLinearConv" and ran[moved.name] == f"{moved.op} (8 bit)"
    onnx.checker.check_model(model.to_proto(), full_check=True)
