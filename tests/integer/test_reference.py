"""Integer programs against ONNX Runtime, whose QuantizeLinear rounds half to even."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.graph import Model
from onnxq.integer import encode, lower, run
from onnxq.runtime.session import Session
from tests.integer.networks import NETWORKS, build


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_onnx_runtime_where_both_round_half_to_even(name: str) -> None:
    proto = build(name, "nearest-even")
    program = lower(Model.load(proto))
    session = Session(proto, optimize=False)
    rng = np.random.default_rng(1)
    for frames in (1, 3):
        feed = {
            i.name: rng.normal(0, 4, (frames, *i.shape[1:])).astype(np.float32)
            for i in session.inputs
        }
        expected = session.run(feed)
        given = {v: encode(program.values[v], feed[n]) for n, v in program.inputs.items()}
        found = run(program, given)
        assert list(program.outputs) == [o.name for o in session.outputs]
        for output, value in program.outputs.items():
            real = np.ldexp(found[value].astype(np.float64), program.values[value].exponent)
            assert len(np.unique(expected[output])) > 2
            np.testing.assert_array_equal(real, expected[output])


@pytest.mark.parametrize("name", NETWORKS)
def test_values_stay_within_their_proven_ranges(name: str) -> None:
    program = lower(Model.load(build(name)))
    rng = np.random.default_rng(2)
    for extreme in (False, True):
        feed = {}
        for value in (program.values[v] for v in program.inputs.values()):
            drawn = rng.integers(value.low, value.high, (4, *value.shape[1:]), endpoint=True)
            feed[value.name] = np.where(drawn < 0, value.low, value.high) if extreme else drawn
        for tensor, codes in run(program, feed).items():
            value = program.values[tensor]
            assert value.low <= codes.min() and codes.max() <= value.high
            assert codes.dtype == value.dtype and codes.shape[1:] == value.shape[1:]
