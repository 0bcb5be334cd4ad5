# ruff: noqa: E501 - graphs read best with a node on one line
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import onnxq
from onnxq.passes.fuse.relu_to_leakyrelu import ReluToLeakyRelu
from onnxq.pipeline import Context
from onnxq.runtime.coverage import kernels
from onnxq.targets import get_target
from onnxq.testing import check_pass
from tests.passes.golden import check, outputs, parse

PASS = ReluToLeakyRelu()
HEAD = """g (float[1,3,8,8] x) => (float[1,4,8,8] y)
<float[4,3,1,1] w, float[4,4,1,1] v, float[4,4,1,1] u, float low = {-1}>"""
NETWORK = f"""{HEAD} {{ [c1] a = Conv(x, w)  [relu] r = Relu(a)  [c2] b = Conv(r, v)
[add] s = Add(a, b)  [c3] y = Conv(s, u) }}"""


def run(before: str, after: str | None = None, target: str = "x86", **rest: object) -> None:
    check(PASS, before, after, ctx=Context(target=get_target(target)), tolerance=0, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["x86", "x86-vnni", "arm"])
def test_input_with_two_readers(target: str) -> None:
    after = NETWORK.replace("Relu(a)", "LeakyRelu<alpha = 0.0>(a)")
    run(NETWORK, after, target)


def test_producer_that_absorbs_nothing() -> None:
    body = "{ [c1] a = Conv(x, w)  [m] p = MaxPool<kernel_shape = [1,1]>(a)  [r] r = OP(p)  [c2] y = Conv(r, v) }"
    run(
        f"{HEAD} {body.replace('OP', 'Relu')}",
        f"{HEAD} {body.replace('OP', 'LeakyRelu<alpha = 0.0>')}",
    )


@pytest.mark.parametrize("target", ["tensorrt", "openvino", "generic"])
def test_targets_that_fuse_it_themselves(target: str) -> None:
    run(NETWORK, target=target)


def test_target_with_relu() -> None:
    profile = get_target("x86")
    rules = {**profile.rules, "Relu": profile.rules["LeakyRelu"]}
    check(PASS, NETWORK, ctx=Context(target=replace(profile, rules=rules)))


def test_absorbed_stays() -> None:
    run(f"{HEAD} {{ [c1] a = Conv(x, w)  [relu] r = Relu(a)  [c2] y = Conv(r, v) }}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[c1] a = Conv(x, w)  e = Exp(a)  [relu] r = Relu(e)  b = Conv(r, v)  y = Add(e, b)", "does not run on integers"),
        ("[c1] a = Conv(x, w)  [relu] r = Relu(a)  b = Exp(r)  y = Add(a, b)", "both before and behind"),
        ("[sum] q = Add(x, x)  [relu] r = Relu(q)  b = Conv(r, w)  d = Conv(q, w)  y = Add(d, b)", "both before and behind"),
    ],
)  # fmt: skip
def test_declines(body: str, reason: str) -> None:
    run(f"{HEAD} {{ {body} }}", declines=[("relu", reason)])


def test_same_numbers() -> None:
    text = "g (float[1,5] x) => (float[1,5] y) { y = OP(x) }"
    x = np.asarray([[-3e38, -1e-40, -0.0, 1e-40, 3e38]], dtype=np.float32)
    relu, leaky = (
        outputs(parse(text.replace("OP", op)), {"x": x})[0]
        for op in ("Relu", "LeakyRelu<alpha = 0.0>")
    )
    assert (relu == leaky).all()


def test_every_node_an_integer_kernel() -> None:
    proto = parse(NETWORK)
    check_pass(PASS, proto)
    rng = np.random.default_rng(0)
    data = [{"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]
    result = onnxq.quantize(proto, data=data, target="x86")
    assert kernels(result.model)["relu"] == "QLinearLeakyRelu"
