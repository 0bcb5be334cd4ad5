"""Small models for tests, in ONNX text."""

import numpy as np
import onnx
from onnx import numpy_helper

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'

CHAIN = (
    HEAD
    + """g (float[N, 4] x) => (float[N, 4] y)
<float[4] w = {1, 2, 3, 4}>
{
    [a] t1 = Mul(x, w)
    [b] t2 = Identity(t1)
    [c] t3 = Relu(t2)
    [d] y = Add(t3, w)
}"""
)

BRANCH = (
    HEAD
    + """g (float[4] x, bool cond) => (float[4] y)
<float[4] w = {1, 2, 3, 4}>
{
    [scale] s = Mul(x, w)
    [pick] y = If(cond) <
        then_branch = g1 () => (float[4] p) <float[4] k = {5, 5, 5, 5}> {
            [add] q = Add(s, w)
            [more] p = Add(q, k)
        },
        else_branch = g2 () => (float[4] r) { [sub] r = Sub(s, w) }
    >
}"""
)


def parse(text):
    return onnx.parser.parse_model(text)


def array(name, *shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def run(proto, **feeds):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(proto).run(None, feeds)
