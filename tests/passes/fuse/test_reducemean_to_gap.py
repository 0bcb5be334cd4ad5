from __future__ import annotations

import pytest

from onnxq.passes.fuse.reducemean_to_gap import ReduceMeanToGap
from tests.passes.golden import check

PASS = ReduceMeanToGap()


@pytest.mark.parametrize("axes", ["[2,3]", "[-1,-2]", "[3,2]"])
def test_keeping_the_axes(axes: str) -> None:
    check(
        PASS,
        f"g (float[N,3,4,5] x) => (float[N,3,1,1] y) {{ y = ReduceMean<axes={axes}>(x) }}",
        "g (float[N,3,4,5] x) => (float[N,3,1,1] y) { y = GlobalAveragePool(x) }",
    )


@pytest.mark.parametrize("shape", ["N,3,4,5", "N,3,2,2,2"])
def test_dropping_the_axes(shape: str) -> None:
    axes = list(range(2, len(shape.split(","))))
    check(
        PASS,
        f"""g (float[{shape}] x) => (float[N,3] y)
        {{ y = ReduceMean<axes={axes}, keepdims=0>(x) }}""",
        f"""g (float[{shape}] x) => (float[N,3] y)
        {{ p = GlobalAveragePool(x)  y = Flatten<axis=1>(p) }}""",
    )


def test_rank_3_stays() -> None:
    check(PASS, "g (float[N,3,7] x) => (float[N,3,1] y) { y = ReduceMean<axes=[2]>(x) }")


def test_axes_as_input() -> None:
    check(
        PASS,
        """g (float[N,3,4,5] x) => (float[N,3,1,1] y) <int64[2] a = {2,3}>
        { y = ReduceMean(x, a) }""",
        "g (float[N,3,4,5] x) => (float[N,3,1,1] y) { y = GlobalAveragePool(x) }",
        opset=18,
    )


@pytest.mark.parametrize(
    "node",
    ["ReduceMean<axes=[1,2,3]>(x)", "ReduceMean<axes=[3]>(x)", "ReduceMean(x)", "ReduceMax(x)"],
)
def test_other_means_stay(node: str) -> None:
    check(PASS, f"g (float[N,3,4,5] x) => (float[A,B,C,D] y) {{ y = {node} }}")


def test_computed_axes_decline() -> None:
    check(
        PASS,
        "g (float[N,3,4,5] x, int64[2] a) => (float[A,B,C,D] y) { [m] y = ReduceMean(x, a) }",
        declines=[("m", "its axes are computed")],
        opset=18,
        run=False,
    )


def test_normalizations_decline() -> None:
    check(
        PASS,
        """g (float[N,3,4,5] x) => (float[A,B,C,D] y)
        { [mean] m = ReduceMean<axes=[2,3]>(x)  d = Sub(x, m)  s = Mul(d, d)
          [var] v = ReduceMean<axes=[2,3]>(s)  r = Sqrt(v)  y = Div(d, r) }""",
        declines=[("mean", "of a normalization"), ("var", "of a normalization")],
    )
