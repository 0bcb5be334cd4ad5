"""The driver against plain values: varying shapes, empty tensors, NaN, Inf, float types."""

import tracemalloc

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxq.calibrate import driver
from onnxq.calibrate.driver import calibrate
from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.calibrate.parted_extremes import PartedExtremes
from onnxq.errors import DataError, UnknownNameError, UnsupportedModelError
from onnxq.graph import Model
from onnxq.runtime.session import Session

TEXT = """
    <ir_version: 8, opset_import: ["" : 17]>
    agraph (float[N, S] x) => (float[N, S] y)
    <float[1] two = {2}>
    {
        a = Mul(x, two)
        b = Relu(a)
        h = Cast<to = 10>(a)
        d = Cast<to = 11>(a)
        k = Shape(a)
        l = Log(a)
        y = Add(a, b)
    }
"""
FLOATS = ["x", "a", "b", "h", "d", "y"]
E, H = Extremes(), Histogram()
BOTH = (E, H)


@pytest.fixture(scope="module")
def model():
    return Model.load(onnx.parser.parse_model(TEXT))


def feeds(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=s).astype(np.float32)} for s in shapes]


SAMPLES = feeds((1, 5), (3, 2), (0, 4), (2, 0), (7, 11))


@pytest.mark.parametrize("observers", [(E,), (H,), BOTH], ids=["extremes", "histogram", "both"])
def test_states_are_those_of_the_tensors_own_values(model, observers):
    found = calibrate(model, dict.fromkeys(FLOATS, observers), iter(SAMPLES))
    for name in FLOATS:
        for observer in observers:
            state = observer.init()
            for i, feed in enumerate(SAMPLES):
                values = values_of(name, feed["x"])
                state = observer.update(state, i, values)
            expected, given = (
                observer.to_arrays(state),
                observer.to_arrays(found.get(name, observer)),
            )
            for key in expected:
                np.testing.assert_array_equal(given[key], expected[key], err_msg=name)
    assert found.samples == len(SAMPLES)
    assert not found.nonfinite


def values_of(name, x):
    a = x * np.float32(2)
    table = {"x": x, "a": a, "b": np.maximum(a, 0), "d": a, "y": a + np.maximum(a, 0)}
    return a.astype(np.float16).astype(np.float32) if name == "h" else table[name]


@pytest.mark.parametrize("observers", [(E,), BOTH], ids=["in the run", "as arrays"])
def test_nan_and_inf_are_left_out_and_counted(model, observers):
    x = np.array([[0.5, 0.0, -1.0, 4.0]], np.float32)  # log gives 0, -inf, nan, log 8
    found = calibrate(model, {"l": observers, "a": observers}, [{"x": x + 1}, {"x": x}])
    assert found.nonfinite == {"l": 3}
    state = found.get("l", E)
    assert state.samples.tolist() == [0, 1]
    assert state.bounds == pytest.approx((0.0, np.log(10)), abs=1e-6)


def test_values_that_are_never_finite_leave_an_empty_state(model):
    found = calibrate(model, {"l": BOTH}, [{"x": -np.ones((2, 2), np.float32)}])
    assert found.nonfinite == {"l": 4}
    assert not found.get("l", E).samples.size
    assert not found.get("l", H).counts.size


def test_sums_that_overflow_do_not_hide_finite_values(model):
    x = np.full((4, 4), 1.5e38, np.float32)
    found = calibrate(model, {"x": (E,)}, [{"x": x}])
    assert found.get("x", E).bounds == pytest.approx((1.5e38, 1.5e38))
    assert not found.nonfinite


def test_shards_merge_to_the_sequential_state(model):
    wanted = dict.fromkeys(FLOATS, BOTH)
    whole = calibrate(model, wanted, SAMPLES)
    parts = calibrate(model, wanted, SAMPLES[2:], first_sample=2).merge(
        calibrate(model, wanted, SAMPLES[:2])
    )
    for name in FLOATS:
        for observer in BOTH:
            a = observer.to_arrays(whole.get(name, observer))
            b = observer.to_arrays(parts.get(name, observer))
            assert {k: v.tobytes() for k, v in a.items()} == {k: v.tobytes() for k, v in b.items()}


def test_the_model_stays_as_it_was_and_progress_is_told(model):
    before, told = model.to_proto().SerializeToString(deterministic=True), []
    calibrate(model, {"a": BOTH, "b": (E,)}, SAMPLES, progress=told.append)
    assert model.to_proto().SerializeToString(deterministic=True) == before
    assert told == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("nothing", UnknownNameError, "nothing"),
        ("two", UnsupportedModelError, "constant"),
        ("k", UnsupportedModelError, "int64"),
    ],
)
def test_what_cannot_be_measured_is_refused(model, name, error, text):
    with pytest.raises(error, match=text):
        calibrate(model, {name: BOTH}, SAMPLES)


def test_tensors_in_subgraphs_are_refused():
    proto = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (bool c, float[2] x) => (float[2] y)
        {
            y = If(c) <then_branch = t () => (float[2] p) { p = Neg(x) },
                       else_branch = e () => (float[2] q) { q = Abs(x) }>
        }
        """
    )
    with pytest.raises(UnsupportedModelError, match="sub-graph"):
        calibrate(Model.load(proto), {"p": (E,)}, [])


def test_a_sample_on_which_the_model_fails_is_an_error(model):
    with pytest.raises(DataError, match="failed on the input"):
        calibrate(model, {"a": BOTH}, [{"x": np.ones(3, np.float32)}])


@pytest.mark.parametrize(("threads", "few", "growth"), [(1, 32, 1.1), (3, 16, 2.5)])
def test_memory_does_not_grow_with_samples(model, threads, few, growth):
    """Of several threads the peak is a matter of luck, but never more than of a few samples."""

    def peak(count):
        data = ({"x": np.full((64, 256), i, np.float32)} for i in range(count))
        tracemalloc.start()
        calibrate(model, {"a": BOTH, "b": (E,)}, data, threads=threads)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(4)
    assert peak(256) < growth * peak(few)


def test_states_do_not_depend_on_the_number_of_threads(model):
    wanted = dict.fromkeys(FLOATS, BOTH)
    samples = feeds(*[(1 + i % 3, 7) for i in range(50)])
    one, many = (calibrate(model, wanted, iter(samples), threads=n) for n in (1, 3))
    for name in FLOATS:
        for observer in BOTH:
            a, b = (observer.to_arrays(s.get(name, observer)) for s in (one, many))
            assert {k: v.tobytes() for k, v in a.items()} == {k: v.tobytes() for k, v in b.items()}


class _Count:
    """An observer of one's own: how many values."""

    key = "count"

    def init(self):
        return 0

    def update(self, state, sample, x):
        return state + x.size

    def merge(self, a, b):
        return a + b


def test_observers_of_ones_own_see_finite_float32(model):
    observer = _Count()
    x = np.array([[0.5, 0.0, -1.0, 4.0]], np.float32)
    found = calibrate(model, {"l": (observer,), "h": (observer,)}, [{"x": x}])
    assert found.get("l", observer) == 2
    assert found.get("h", observer) == 4


def test_observers_that_have_enough_are_left_out_from_then_on(model):
    given = feeds(*[(1, 5)] * 150, seed=1)
    given[140]["x"][:] = 1e6
    parted = PartedExtremes()
    found = calibrate(model, {"a": (E, parted), "b": (H,)}, iter(given))
    assert found.samples == 150
    assert found.get("a", E).bounds[1] == 2e6
    assert found.get("a", parted).samples == parted.apart  # the later half of those asked for
    assert found.get("b", H).counts.sum() == 750  # half a million values are not seen here

    large = calibrate(model, {"b": (H,)}, iter(feeds(*[(64, 80)] * 150)))
    assert large.samples == 128
    assert large.get("b", H).counts.sum() == 128 * 64 * 80


@pytest.mark.parametrize(("left", "sessions"), [(("a", "d", "y"), 1), (("a",), 2)])
def test_a_session_is_made_anew_only_where_it_shows_far_less(model, left, sessions, monkeypatch):
    made = []

    class Seen(driver.Probes):
        def __init__(self, *args):
            made.append(args)
            super().__init__(*args)

    monkeypatch.setattr(driver, "Probes", Seen)
    given = feeds(*[(1, 5)] * 64, seed=1)
    wanted = {name: (PartedExtremes(),) for name in ("a", "b", "d", "y")}
    wanted |= {name: (PartedExtremes(), H) for name in left}
    found = calibrate(model, wanted, iter(given))
    assert len(made) == sessions
    assert found.get("b", PartedExtremes()).samples == 24
    assert all(found.get(n, H).counts.sum() == 64 * 5 for n in left)


def test_a_message_is_measured_as_it_is(model):
    message = model.to_proto()
    before = message.SerializeToString()
    found = calibrate(message, {"b": (E,)}, iter(SAMPLES))
    assert (
        found.get("b", E).bounds == calibrate(model, {"b": (E,)}, iter(SAMPLES)).get("b", E).bounds
    )
    assert message.SerializeToString() == before


def test_inputs_that_are_also_initializers_need_no_feed():
    proto = onnx.parser.parse_model(TEXT)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("two", 1, [1]))
    assert [i.name for i in Session(proto).inputs] == ["x"]
    found = calibrate(Model.load(proto), {"a": BOTH}, SAMPLES)
    assert found.samples == 5
