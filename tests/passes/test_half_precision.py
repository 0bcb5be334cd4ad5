"""Rewriting passes on a float16 model keep the contract, with the rounding of float16."""

from __future__ import annotations

import pytest

from onnxq.pipeline.registry import get
from onnxq.testing import check_pass
from tests.passes.golden import parse
from tests.passes.test_zoo import CANONICAL, FUSE

TEXT = """g (float16[N,3,8,8] x) => (float16[N,4,8,8] y)
    <float16[4,3,3,3] w, float16[4,4,3,3] v, float16[4] s, float16[4] o, float16[4] m,
     float16[4] var, float16[4,1,1] f>
    { c = Conv<pads=[1,1,1,1]>(x, w)  b = BatchNormalization(c, s, o, m, var)  r = Relu(b)
      i = Identity(r)  d = Conv<pads=[1,1,1,1]>(i, v)  k = Clip<max = 6.0>(d)  e = Mul(k, f)
      h = Conv<pads=[1,1,1,1]>(e, v)  y = BatchNormalization(h, s, o, m, var) }"""


@pytest.mark.parametrize("name", [*CANONICAL, *FUSE])
def test_contract(name: str) -> None:
    check_pass(get(name)(), parse(TEXT, opset=10))
