"""Random networks: C equals the reference, and the reference ONNX Runtime where it may."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from numpy.typing import NDArray

from onnxq.errors import UnsupportedModelError
from onnxq.export.c import golden
from onnxq.graph import Model
from onnxq.integer import Program, encode, lower, run
from onnxq.integer.kinds import PRelu, Softmax, Table
from onnxq.quant import Rounding
from onnxq.report.verify import verify
from onnxq.runtime.session import Session
from tests.integer.c_project import blocks, needs_cc, project, raw
from tests.integer.chains import chains
from tests.integer.qdq import Qdq

MANY = bool(os.environ.get("ONNXQ_SLOW"))
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.large_base_example]


def lowered(proto: onnx.ModelProto) -> Program | None:
    """None where scales lie too far apart, the one thing that a chain may draw and not be."""
    try:
        return lower(Model.load(proto))
    except UnsupportedModelError as error:
        assert "too far apart" in str(error) or "can overflow" in str(error), error
        return None


def uneven(program: Program) -> bool:
    """Whether there is a mean over a number of elements that is no power of two."""
    steps = program.steps
    return any(getattr(s.kind, "factor", 1) != 1 or "__sum" in s.output for s in steps)


def long_sums(program: Program) -> bool:
    """Whether there are sums that float32 rounds."""
    return any(step.bits > 24 for step in program.steps)


def normal(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 4, shape).astype(np.float32)


@settings(max_examples=200 if MANY else 25, deadline=None, suppress_health_check=QUIET)
@given(chains(Rounding.NEAREST_EVEN, ("shift",)))
def test_reference_equals_onnx_runtime(proto: onnx.ModelProto) -> None:
    program = lowered(proto)
    if program is None:
        return
    ((name, value),) = program.inputs.items()
    shape = (3, *program.values[value].shape[1:])
    feed = {name: normal(shape)}
    found = run(program, {value: encode(program.values[value], feed[name])})
    # float32 divides, sums and evaluates these with an error
    inexact = uneven(program)
    inexact |= any(isinstance(s.kind, Table | PRelu | Softmax) for s in program.steps)
    inexact |= long_sums(program)
    for output, expected in Session(proto, optimize=False).run(feed).items():
        codes = found[program.outputs[output]]
        real = np.ldexp(codes.astype(np.float64), program.values[program.outputs[output]].exponent)
        if not inexact:
            np.testing.assert_array_equal(real, expected)


@settings(max_examples=100 if MANY else 15, deadline=None, suppress_health_check=QUIET)
@given(chains(Rounding.HALF_AWAY, ("zeros", "multiplier")))
def test_with_zero_points_onnx_runtime_is_off_by_one_at_most(proto: onnx.ModelProto) -> None:
    program = lowered(proto)
    if program is None or long_sums(program):
        return
    ((name, value),) = program.inputs.items()
    shape = (3, *program.values[value].shape[1:])
    found = verify(Model.load(proto), [{name: normal(shape)}], c=False)
    assert found["holds"]["runtime"], [x for x in found["layers"] if x["runtime_alone"]["worse"]]


@pytest.mark.parametrize("size", [2, 3])
def test_means_take_zero_points_off(size: int) -> None:
    m = Qdq(zeros=True)
    model = m.model(m.quantize(m.node("GlobalAveragePool", [m.input((2, size, size))]), -4))
    found = verify(model, [{m.inputs[0].name: normal((3, 2, size, size))}], c=False)
    assert found["holds"]["runtime"] and found["holds"]["simulation"]


@needs_cc
@settings(max_examples=100 if MANY else 8, deadline=None, suppress_health_check=QUIET)
@given(chains(), booleans())
def test_c_equals_the_reference(proto: onnx.ModelProto, wanted: bool) -> None:
    program = lowered(proto)
    if program is None:
        return
    feed = golden(program, frames=5).codes
    inputs = {v: feed[v] for v in program.inputs.values()}
    with tempfile.TemporaryDirectory() as folder, blocks(wanted):
        project(program, Path(folder))
        for value, codes in raw(Path(folder), program, inputs).items():
            np.testing.assert_array_equal(codes, run(program, inputs)[value])
