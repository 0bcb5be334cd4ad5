"""Second moments of patches: what they are, and how closely merging keeps them."""

from __future__ import annotations

import numpy as np

from onnxq.calibrate.channel_means import ChannelMeans
from onnxq.calibrate.patch_moments import PatchMoments
from onnxq.calibrate.statistics import Statistics
from onnxq.quant.patches import Columns, Window

RNG = np.random.default_rng(11)
OBSERVERS = (
    PatchMoments(Columns(), most=50),
    PatchMoments(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), most=30),
    PatchMoments(Window((3, 3), (2, 2), (1, 1), (0, 0, 0, 0), groups=6), most=9, fold=2),
)
SAMPLES = [RNG.normal(1, 2, (1, 6, 7, 6)).astype(np.float32) for _ in range(9)]


def run(observer, numbered):
    state = observer.init()
    for i, x in numbered:
        state = observer.update(state, i, x)
    return state


def test_covariance_is_that_of_the_patches() -> None:
    observer = OBSERVERS[0]
    x = [RNG.normal(5, 1, (40, 8)).astype(np.float32) for _ in range(8)]
    state = run(observer, enumerate(x))
    for moments, part in ((state.fitted, [0, 1, 2, 4, 5, 6]), (state.held, [3, 7])):
        rows = np.concatenate([x[i] for i in part]).astype(np.float64)
        assert moments.count == len(rows)
        np.testing.assert_allclose(
            moments.covariance()[0], np.cov(rows.T, bias=True), rtol=1e-3, atol=1e-4
        )


def test_merging_agrees_within_the_tolerance_declared() -> None:
    numbered = list(enumerate(SAMPLES))
    for observer in OBSERVERS:
        whole = observer.to_arrays(run(observer, numbered))
        again = observer.to_arrays(run(observer, numbered))
        for cut in range(len(SAMPLES) + 1):
            a, b = run(observer, numbered[:cut]), run(observer, numbered[cut:])
            merged = observer.to_arrays(observer.merge(b, a))
            for name, value in whole.items():
                assert value.tobytes() == again[name].tobytes(), name
                size = float(np.abs(value).max(initial=0))
                assert merged[name].shape == value.shape
                np.testing.assert_allclose(
                    merged[name], value, rtol=0, atol=observer.tolerance * size
                )


def test_arrays_restore_the_state() -> None:
    for observer in OBSERVERS:
        for state in (observer.init(), run(observer, enumerate(SAMPLES))):
            arrays = observer.to_arrays(state)
            restored = observer.to_arrays(observer.from_arrays(arrays))
            assert {k: v.tobytes() for k, v in restored.items()} == {
                k: v.tobytes() for k, v in arrays.items()
            }


def test_what_is_not_finite_costs_only_its_patches() -> None:
    observer, x = OBSERVERS[0], RNG.normal(size=(40, 8)).astype(np.float32)
    spoilt = x.copy()
    spoilt[7, 3] = np.nan
    found = run(observer, [(0, spoilt)]).fitted
    expected = run(observer, [(0, np.delete(x, 7, 0))]).fitted
    assert found.count == 39
    np.testing.assert_allclose(found.square, expected.square, rtol=1e-5)
    nothing = run(observer, [(0, np.full_like(x, np.nan))])
    assert nothing.fitted.count == nothing.held.count == 0


def test_a_look_is_small() -> None:
    big = np.zeros((1, 64, 112, 112), np.float32)
    observer = PatchMoments(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)))
    assert observer.look(big).nbytes <= 256 * 576 * 4


def test_states_are_not_kept() -> None:
    observer = OBSERVERS[0]
    both = {observer: observer.init(), ChannelMeans(): ChannelMeans().init()}
    found = Statistics({"x": both, "y": {observer: observer.init()}}, 3)
    assert {t: [*s] for t, s in found.lasting().states.items()} == {"x": [ChannelMeans()]}
