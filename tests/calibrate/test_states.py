"""States: what a step gives out is what the next one reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from onnxq.calibrate.sources import DataSource, open_data
from onnxq.calibrate.states import closed_loop, parse_states, stateful
from onnxq.errors import DataError, OptionError, UnknownNameError
from onnxq.runtime.session import InputInfo, Session
from tests.passes.golden import parse

STEP = """g (float[B,48] x, float[B,16] h, int64[1] n)
    => (float[B,16] y, float[B,16] new, int64[1] count)
    <float[64,16] w, int64[1] one = {1}> {
    both = Concat <axis = 1> (x, h)
    c = MatMul (both, w)
    new = Tanh (c)
    y = Relu (c)
    count = Add (n, one)
}"""
RNG = np.random.default_rng(3)
W = (RNG.normal(size=(64, 16)) / 8).astype(np.float32)
STATES = {"h": "new", "n": "count"}


def session() -> Session:
    return Session(parse(STEP, {"w": W}))


def opened(data: Any) -> Any:
    def open_it(inputs: Sequence[InputInfo]) -> DataSource:
        return open_data(data, inputs)

    return open_it


def test_every_step_reads_what_the_one_before_gave_out() -> None:
    xs = [RNG.normal(size=(4, 48)).astype(np.float32) for _ in range(6)]
    source = stateful(opened([{"x": x} for x in xs]), session(), STATES)
    h, n = np.zeros((4, 16), np.float32), 0
    for _ in range(2):  # the second pass reads what the first one stored
        h, n = np.zeros((4, 16), np.float32), 0
        for x, feed in zip(xs, source, strict=True):
            np.testing.assert_allclose(feed["h"], h, rtol=1e-5, atol=1e-6)
            assert feed["n"].tolist() == [n]
            h, n = np.tanh(np.concatenate([x, h], 1) @ W), n + 1
    assert source.count() == 6
    assert [f["n"][0] for f in source.start(4)] == [4, 5]


def test_a_model_on_its_own_states_is_where_they_come_from() -> None:
    xs = [{"x": RNG.normal(size=(1, 48)).astype(np.float32)} for _ in range(5)]
    source = stateful(opened(xs), session(), STATES)
    single = [session().run(feed)["y"] for feed in source]
    for own, expected in zip(closed_loop(session(), source, STATES), single, strict=True):
        np.testing.assert_array_equal(own["y"], expected)


def test_a_cache_begins_empty_and_grows() -> None:
    text = """g (float[B,1,3] x, float[B,P,3] past) => (float[B,T,3] present)
        { present = Concat <axis = 1> (past, x) }"""
    xs = [{"x": RNG.normal(size=(2, 1, 3)).astype(np.float32)} for _ in range(3)]
    source = stateful(opened(xs), Session(parse(text, {})), {"past": "present"})
    assert [f["past"].shape for f in source] == [(2, n, 3) for n in range(3)]


def test_refusals() -> None:
    xs = [{"x": np.zeros((1, 48), np.float32)}]
    with pytest.raises(UnknownNameError, match="input 'g'"):
        stateful(opened(xs), session(), {"g": "new"})
    with pytest.raises(UnknownNameError, match="output 'old'"):
        stateful(opened(xs), session(), {"h": "old"})
    with pytest.raises(DataError, match="'h'"):  # given, though it is a state
        stateful(opened([{**xs[0], "h": np.zeros((1, 16), np.float32)}]), session(), STATES)
    with pytest.raises(DataError, match="int64"):  # what is fed back must fit
        list(stateful(opened(xs * 2), session(), {"h": "count", "n": "count"}))
    assert parse_states(["a:b", "c:1:d"]) == {"b": "a", "d": "c:1"}
    for texts in (["a"], [":b"], ["a:"], ["a:b", "c:b"]):
        with pytest.raises(OptionError):
            parse_states(texts)
