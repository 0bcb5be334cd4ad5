import tracemalloc

import numpy as np
import pytest

from onnxq.calibrate.sources import open_data
from onnxq.calibrate.split import Split
from onnxq.runtime.session import InputInfo

INPUTS = [InputInfo("x", np.dtype(np.float32), ("N",))]


def source(count, known):
    feeds = [{"x": np.array([i], np.float32)} for i in range(count)]
    return open_data(feeds if known else iter(feeds), INPUTS)


def numbers(feeds):
    return [int(f["x"][0]) for f in feeds]


@pytest.mark.parametrize("known", [True, False], ids=["list", "one-shot"])
@pytest.mark.parametrize(
    ("count", "held"), [(1, 0), (9, 0), (10, 1), (19, 1), (20, 2), (100, 10), (320, 32), (500, 32)]
)
def test_the_last_tenth_at_most_32_is_held_out(count, held, known):
    split = Split(source(count, known))
    everything = list(range(count))
    for _ in range(2):
        assert numbers(split) == everything[: count - held]
    same = count < 10
    assert split.same is same
    assert numbers(split.held_out()) == (everything if same else everything[count - held :])
    assert split.calibration_samples == count - held
    assert split.report_samples == (count if same else held)


@pytest.mark.parametrize("known", [True, False], ids=["list", "one-shot"])
def test_all_calibrate_where_the_report_has_its_own_data(known):
    split = Split(source(50, known), report_given=True)
    assert numbers(split) == list(range(50))
    assert (split.calibration_samples, split.report_samples, split.same) == (50, 0, False)
    assert numbers(split.held_out()) == []


def test_memory_of_a_one_shot_source_does_not_grow():
    def peak(count):
        data = ({"x": np.full(4096, i, np.float32)} for i in range(count))
        tracemalloc.start()
        for _ in Split(open_data(data, INPUTS)):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(512) < 1.1 * peak(64)
