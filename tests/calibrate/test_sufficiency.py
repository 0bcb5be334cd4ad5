import numpy as np

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.statistics import Statistics
from onnxq.calibrate.sufficiency import sufficiency


def statistics(**highs):
    observer, states = Extremes(), {}
    for tensor, values in highs.items():
        state = observer.init()
        for i, high in enumerate(values):
            state = observer.update(state, i, np.array([0, high], np.float32))
        states[tensor] = {observer: state}
    return Statistics(states, max(map(len, highs.values())))


def test_settled_ranges_are_enough():
    found = sufficiency(statistics(a=[3, 4, 4, 2, 4, 3, 2, 3], b=[1] * 8))
    assert found.enough
    assert not found.moving
    assert found.growth == {"a": 0.0, "b": 0.0}
    assert "enough" in str(found)


def test_ranges_that_grow_in_the_last_quarter_are_named():
    found = sufficiency(statistics(a=[1, 2, 3, 4, 5, 6, 7, 8], b=[8, 7.9, 8, 1, 1, 1, 1, 1]))
    assert found.moving == ["a"]
    assert found.growth["a"] == 0.25
    assert not found.enough
    assert "'a', 25%" in str(found)
    assert "more samples would help" in str(found)


def test_samples_that_stretch_ranges_alone_are_named():
    found = sufficiency(
        statistics(a=[1, 1, 9, 1, 1, 1], b=[1, 1.1, 1, 1, 1, 1], c=[1, 1, 2, 1, 1, 1])
    )
    assert found.outliers == {2: ("a", "c")}
    assert "sample 2 (2 tensors)" in str(found)


def test_two_samples_that_share_a_range_stretch_nothing():
    assert not sufficiency(statistics(a=[1, 9, 9, 1, 1, 1])).outliers


def test_too_few_samples():
    found = sufficiency(statistics(a=[1, 2]))
    assert not found.enough
    assert "too few" in str(found)
