from __future__ import annotations

import numpy as np
import pytest

from onnxq.passes.fuse.batchnorm_to_depthwise import BatchNormToDepthwise
from tests.passes.golden import check

PASS = BatchNormToDepthwise()
BN = "float[4] s, float[4] o, float[4] m, float[4] var"


@pytest.mark.parametrize(("rest", "ones"), [("8,8", "1,1,1"), ("8", "1,1"), ("3,3,3", "1,1,1,1")])
def test_match(rest: str, ones: str) -> None:
    check(
        PASS,
        f"""g (float[N,4,{rest}] x) => (float[N,4,{rest}] y) <{BN}>
        {{ r = Relu(x)  y = BatchNormalization<epsilon = 0.01>(r, s, o, m, var) }}""",
        f"""g (float[N,4,{rest}] x) => (float[N,4,{rest}] y) <float[4,{ones}] w, float[4] b>
        {{ r = Relu(x)  y = Conv<group = 4>(r, w, b) }}""",
    )


def test_values() -> None:
    check(
        PASS,
        f"""g (float[N,4,8,8] x) => (float[N,4,8,8] y) <{BN}>
        {{ y = BatchNormalization<epsilon = 0.0>(x, s, o, m, var) }}""",
        """g (float[N,4,8,8] x) => (float[N,4,8,8] y) <float[4,1,1,1] w, float[4] b>
        { y = Conv<group = 4>(x, w, b) }""",
        weights={
            "s": np.float32([1, 2, 3, 4]), "o": np.zeros(4, np.float32),
            "m": np.ones(4, np.float32), "var": np.full(4, 4, np.float32),
        },
        expected={"w": np.reshape([0.5, 1, 1.5, 2], (4, 1, 1, 1)), "b": [-0.5, -1, -1.5, -2]},
    )  # fmt: skip


def test_matrix_and_computed_statistic_decline() -> None:
    check(
        PASS,
        f"""g (float[N,4] x, float[N,4,8] z, float[4] c) => (float[N,4] y, float[N,4,8] w) <{BN}>
        {{ [flat] y = BatchNormalization(x, s, o, m, var)
           [free] w = BatchNormalization(z, s, c, m, var) }}""",
        declines=[("flat", "the rank is 2"), ("free", "its bias is computed")],
    )
