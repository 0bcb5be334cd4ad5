"""The simulation model equals the reference in every value, for every rounding."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model
from onnxq.integer import decode, encode, lower, run
from onnxq.integer.simulation import simulate
from onnxq.integer.simulation.products import _plan
from onnxq.quant import Rounding
from onnxq.runtime.session import Session
from onnxq.runtime.taps import tap_arrays
from tests.integer.chains import chains
from tests.integer.networks import NETWORKS, build
from tests.integer.qdq import INT16, UINT8, Qdq

MANY = bool(os.environ.get("ONNXQ_SLOW"))
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.large_base_example]


def agrees(proto: onnx.ModelProto, *, frames: int = 5, scale: float = 4, optimize: bool = True
           ) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:  # fmt: skip
    """Compare every value of the program; returns the simulation and the reference's values."""
    model = Model.load(proto)
    program = lower(model)
    made = simulate(program, model)
    onnx.checker.check_model(made.model, full_check=True)
    assert not any(o.domain for o in made.model.opset_import)
    rng = np.random.default_rng(1)
    feed = {
        n: rng.normal(0, scale, (frames, *program.values[v].shape[1:])).astype(np.float32)
        for n, v in program.inputs.items()
    }
    expected = run(program, {v: encode(program.values[v], feed[n])
                             for n, v in program.inputs.items()})  # fmt: skip
    names = [made.codes[s.output] for s in program.steps]
    tapped = tap_arrays(onnx.ModelProto.FromString(made.model.SerializeToString()), names)
    found = Session(tapped, optimize=optimize).run(feed)
    for step in program.steps:
        one, two = expected[step.output], found[made.codes[step.output]]
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(two, one, err_msg=f"{step.node} ({step.op_type})")
    for name, value in program.outputs.items():
        real = decode(program.values[value], expected[value])
        np.testing.assert_array_equal(found[name], real)
    return made.model, expected


@pytest.mark.parametrize("rounding", list(Rounding), ids=str)
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_kind_of_step_and_every_rounding(name: str, rounding: Rounding) -> None:
    agrees(build(name, rounding.value), optimize=rounding is not Rounding.FLOOR)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_kind_of_step_with_multipliers(name: str) -> None:
    agrees(build(name, "half-up", multiplier=True))


@settings(max_examples=300 if MANY else 20, deadline=None, suppress_health_check=QUIET)
@given(chains())
def test_random_networks(proto: onnx.ModelProto) -> None:
    try:
        lower(Model.load(proto))
    except UnsupportedModelError:
        return
    agrees(proto)


@pytest.mark.parametrize(
    ("dtype", "weight", "channels"),
    [(INT16, np.int8, 60), (INT16, np.int8, 400), (UINT8, np.int16, 30), (INT16, np.int16, 2)],
)
def test_sums_beyond_24_bits(dtype: Any, weight: Any, channels: int) -> None:
    """float32 would round them: some of these accumulators are odd and above 2^24."""
    m = Qdq(3, "floor")
    x = m.input((channels, 3, 3), -4, dtype)
    limit = {np.int8: 127, np.int16: 30000 if channels > 2 else 16000}[weight]
    codes = m.rng.integers(-limit, limit, (3, channels, 1, 1), endpoint=True).astype(weight)
    y = m.node("Conv", [x, m.constant(codes, -6)], kernel_shape=[1, 1])
    proto = m.proto(m.quantize(y, -2, INT16), y)
    model, values = agrees(proto, scale=2000)
    largest = max(int(np.abs(v).max()) for v in values.values())
    assert largest > 1 << 24
    assert sum(n.op_type == "Conv" for n in model.graph.node) > 1


def test_digits_add_up_to_the_weights() -> None:
    rng = np.random.default_rng(0)
    for high, span in ((127, (-32768, 32767)), (30000, (0, 255)), (1, (-128, 127))):
        weight = rng.integers(-high, high, (4, 9, 3, 3), endpoint=True)
        cuts, digits = _plan(weight, span, "node")
        np.testing.assert_array_equal(sum(d << left for d, left in digits), weight)
        assert cuts * len(digits) == 1 or high > 1


def test_what_float32_cannot_sum_is_refused() -> None:
    weight = np.ones((1, 1 << 24, 1, 1), np.int64)
    with pytest.raises(UnsupportedModelError, match="'node' cannot be simulated"):
        _plan(weight, (-128, 127), "node")


def test_another_rounding_is_another_result() -> None:
    values = [agrees(build("residual", r))[1] for r in ("half-up", "floor")]
    assert any(np.any(values[0][k] != values[1][k]) for k in values[0])
