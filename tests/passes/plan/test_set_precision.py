from __future__ import annotations

import pytest

from onnxq.errors import OptionError, UnknownNameError
from onnxq.passes.plan.plan_kernels import PlanKernels
from onnxq.passes.plan.set_precision import SetPrecision
from onnxq.quant import QuantSpec
from tests.passes.stages import run

TEXT = """g (float[1,3,4,4] x) => (float[1,3,4,4] y)
    <float[3,3,1,1] w, float[3,3,1,1] v, float[3,3,1,1] u, float[3,3,1,1] t = {70000.0, 0.0, 0.0,
     0.0, 1.0, 0.0, 0.0, 0.0, 1.0}>
    { [head] a = Conv (x, w)  [mid] b = Conv (a, v)  [sum] s = Add (a, b)
      [tail] c = Conv (s, u)  [big] y = Conv (c, t) }"""


def test_precisions_are_planned() -> None:
    layers = ("*=4", "head=8", "mid=16", "tail=float", "big=16")
    _, ctx = run(TEXT, [SetPrecision(layers=layers), PlanKernels()], target="x86")
    formats = {
        n: s.dtype.name for n in "wvut" if isinstance(s := ctx.plan.tensors.get(n), QuantSpec)
    }
    assert formats == {"w": "int8"}
    assert ctx.plan.precisions == {"head": "8", "mid": "16"}
    assert "float16" in ctx.plan.kept_float["mid"]
    assert ctx.plan.kept_float["tail"] == "set to float by 'tail=float'"
    assert {d.node: d.reason.split(": ")[1] for d in ctx.journal.declines} == {
        "sum": "it has no weights",
        "big": "a weight of 7e+04 is beyond float16",
    }


def test_four_bits_and_eight_are_kernels() -> None:
    _, ctx = run(TEXT, [SetPrecision(layers=("mid=4", "tail=8")), PlanKernels()], target="x86")
    v, u = ctx.plan.tensors["v"], ctx.plan.tensors["u"]
    assert isinstance(v, QuantSpec) and isinstance(u, QuantSpec)
    assert (v.dtype.name, v.pair_sum_limit) == ("int4", None)
    assert (u.dtype.name, u.pair_sum_limit) == ("int8", 128)
    assert {"mid", "tail", "head", "sum", "big"} <= ctx.plan.nodes.keys()


@pytest.mark.parametrize(
    ("entry", "target", "part"),
    [
        ("head", "x86", "no PATTERN=PRECISION"),
        ("head=float", "fpga-pow2", "no floating point"),
        ("head=4", "tensorrt", "in blocks alone"),
    ],
)
def test_refusals(entry: str, target: str, part: str) -> None:
    with pytest.raises(OptionError, match="(?s)" + part) as found:
        run(TEXT, [SetPrecision(layers=(entry,))], target=target)
    assert found.value


@pytest.mark.parametrize(("entry", "part"), [("haed=4", "head"), ("head=5", "16, 4, 8")])
def test_unknown_names(entry: str, part: str) -> None:
    with pytest.raises(UnknownNameError, match=part):
        run(TEXT, [SetPrecision(layers=(entry,))])
