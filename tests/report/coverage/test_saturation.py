"""Which layers may saturate: held against every pair of products in 16 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onnxq
from onnxq.graph import Model
from onnxq.report.coverage import check
from onnxq.report.coverage.saturation import Exposure
from onnxq.testing import random_feeds
from tests.api.fusion_models import MODELS
from tests.passes.golden import parse

CODES = np.arange(256, dtype=np.int64)


def saturates(first: int, second: int) -> bool:
    """Whether some two activations drive the sum of two products out of int16."""
    sums = first * CODES[:, None] + second * CODES[None, :]
    return bool(sums.max() > 32767 or sums.min() < -32768)


def exposures(weight: np.ndarray, x: str = "z", op: str = "Conv (xd, wd)") -> tuple[Exposure, ...]:
    shape = list(weight.shape)
    inside = f"float[1,{shape[1] if 'group' not in op else shape[0]},3,3]"
    if op.startswith("MatMul"):
        inside = f"float[1,{shape[0]}]"
    kind = "uint8" if weight.dtype == np.uint8 else "int8"
    zero = "z" if kind == "uint8" else "i"
    text = f"""g ({inside} x) => (float y) <float s = {{0.1}}, uint8 z = {{9}}, int8 i = {{0}},
        {kind}{shape} w> {{ xq = QuantizeLinear (x, s, {x})  xd = DequantizeLinear (xq, s, {x})
        wd = DequantizeLinear (w, s, {zero})  [node] a = {op}
        aq = QuantizeLinear (a, s, {x})  y = DequantizeLinear (aq, s, {x}) }}""".replace(
        "(float y)", f"(float{[1, 1, 1, 1] if 'Conv' in op else [1, 1]} y)"
    )
    proto = parse(text, {"w": weight})
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return check(Model.load(proto), int8=False).exposed


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-128, 127), min_size=4, max_size=4))
def test_pairs_of_a_convolution_are_neighbours_in_its_channels(codes: list[int]) -> None:
    weight = np.array(codes, np.int8).reshape(1, 4, 1, 1)
    wanted = saturates(codes[0], codes[1]) or saturates(codes[2], codes[3])
    assert bool(exposures(weight)) is wanted


def test_the_worst_and_how_many_channels() -> None:
    weight = np.zeros((3, 2, 1, 1), np.int8)
    weight[0, :, 0, 0] = 100, 60
    weight[2, :, 0, 0] = -128, -1
    (found,) = exposures(weight)
    assert found == Exposure("node", "QLinearConv", 2, 3, 160)


def test_what_cannot_saturate() -> None:
    full = np.full((1, 4, 1, 1), 127, np.int8)
    assert exposures(full)
    assert not exposures(full // 2)
    assert not exposures(full.astype(np.uint8))  # unsigned weights have another kernel
    deep = np.full((2, 1, 3, 3), 127, np.int8)
    assert not exposures(deep, op="Conv <group = 2> (xd, wd)")  # depthwise widens first


def test_matrices_add_along_k() -> None:
    weight = np.array([[127, 0], [0, 127], [0, 0], [0, 0]], np.int8)
    assert not exposures(weight, op="MatMul (xd, wd)")
    assert exposures(np.roll(weight, 1, axis=0) + weight, op="MatMul (xd, wd)")


@pytest.mark.parametrize("name", ["residual", "gemm", "matmul-batched-weight", "matmul-add"])
def test_the_target_without_vnni_has_no_exposed_layer(name: str) -> None:
    source = parse(MODELS[name][0])
    data = random_feeds(source, 4)
    safe = onnxq.quantize(source, data=data, target="x86-avx2", recipe="fast")
    fast = onnxq.quantize(source, data=data, target="x86-vnni", recipe="fast")
    assert not check(safe.model).exposed
    assert check(fast.model).exposed


def test_codes_that_are_clipped_leave_room_for_larger_weights() -> None:
    """127 · (127 + 127) is in 16 bits: activations of 7 bits are safe on every processor."""
    source = parse(MODELS["conv-relu"][0])
    exposed = {}
    for activations in ("uint8", "uint7"):
        made = onnxq.quantize(
            source, data=random_feeds(source, 12), target="x86-vnni", recipe="fast",
            activations=activations, keep_unfused=True,
        )  # fmt: skip
        exposed[activations] = bool(check(made.model).exposed)
        assert check(made.model).macs_percent == 100
    assert exposed == {"uint8": True, "uint7": False}
