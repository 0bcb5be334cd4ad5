"""Patches times weights are what ONNX computes."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.quant.pairs import kernel_rows
from onnxq.quant.patches import Columns, Window
from tests.passes.golden import outputs, parse

RNG = np.random.default_rng(7)


@pytest.mark.parametrize(
    ("attributes", "window", "groups"),
    [
        ("", ((3, 2), (1, 1), (1, 1), (0, 0, 0, 0)), 1),
        ("strides=[2,1], pads=[1,0,2,1]", ((3, 2), (2, 1), (1, 1), (1, 0, 2, 1)), 1),
        ("dilations=[2,3], pads=[1,1,1,1]", ((3, 2), (1, 1), (2, 3), (1, 1, 1, 1)), 2),
        ("strides=[2,2], group=4", ((3, 2), (2, 2), (1, 1), (0, 0, 0, 0)), 4),
    ],
)
def test_convolution(attributes: str, window: tuple[tuple[int, ...], ...], groups: int) -> None:
    if "group" not in attributes:
        attributes = ", ".join(filter(None, (attributes, f"group={groups}")))
    check(attributes, Window(*window, groups=groups), groups)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(mode: str) -> None:
    window = Window((3, 2), (2, 2), (1, 1), (0, 0, 0, 0), 1, mode)
    check(f'auto_pad="{mode}", strides=[2,2]', window, 1)


def check(attributes: str, window: Window, groups: int) -> None:
    x = RNG.normal(size=(2, 4, 9, 10)).astype(np.float32)
    w = RNG.normal(size=(8, 4 // groups, 3, 2)).astype(np.float32)
    text = f"g (float[2,4,9,10] x, float[8,{4 // groups},3,2] w) => (float[N,8,H,W] y) "
    proto = parse(text + f"{{ y = Conv <{attributes}> (x, w) }}")
    y = outputs(proto, {"x": x, "w": w})[0]
    patches = window.patches(x, 10**6)
    rows = kernel_rows(w, 0, 1).reshape(groups, 8 // groups, -1)
    found = patches @ rows.transpose(0, 2, 1)  # [groups, positions, channels of the group]
    expected = np.moveaxis(y, 1, -1).reshape(-1, groups, 8 // groups).transpose(1, 0, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_one_dimension_and_three() -> None:
    for kernel, shape in (((3,), (1, 2, 7)), ((2, 1, 3), (1, 2, 4, 3, 5))):
        n = len(kernel)
        x = RNG.normal(size=shape).astype(np.float32)
        found = Window(kernel, (1,) * n, (1,) * n, (0,) * 2 * n).patches(x, 1000)
        views = np.lib.stride_tricks.sliding_window_view(x[0], kernel, tuple(range(1, n + 1)))
        expected = np.moveaxis(views.reshape(2, found.shape[1], -1), 0, -1)
        np.testing.assert_array_equal(found[0], expected.reshape(found.shape[1], -1))


def test_few_of_many_are_an_even_choice() -> None:
    x = np.arange(2 * 8 * 8, dtype=np.float32).reshape(2, 1, 8, 8)
    found = Window((1, 1), (1, 1), (1, 1), (0,) * 4).patches(x, 20)
    np.testing.assert_array_equal(found[0, :, 0], np.arange(0, 128, 7))
    assert Columns().patches(x.reshape(64, 2), 10).shape == (1, 10, 2)


def test_rows_of_a_matrix() -> None:
    x = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(Columns().patches(x, 100)[0], x.reshape(10, 3))
    np.testing.assert_array_equal(Columns(-2).patches(x[0], 100)[0], x[0].T)
