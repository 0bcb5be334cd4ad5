import math

import numpy as np
import pytest

from onnxq.quant.measures import ErrorSums, softmax_divergence

RNG = np.random.default_rng(0)
X = RNG.normal(size=200_003).astype(np.float32)
Y = (X + 0.01 * RNG.normal(size=X.size)).astype(np.float32)


def sums(x, y):
    found = ErrorSums()
    found.add(x, y)
    return found


def test_measures_follow_their_formulas():
    x, y = X.astype(np.float64), Y.astype(np.float64)
    found = sums(X, Y)
    noise = ((y - x) ** 2).sum()
    assert found.sqnr_db == pytest.approx(10 * math.log10((x**2).sum() / noise), abs=1e-3)
    assert found.noise_to_signal == pytest.approx(noise / (x**2).sum(), rel=1e-4)
    cosine = (x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y)
    assert found.cosine == pytest.approx(cosine, abs=1e-6)
    assert found.mse == pytest.approx(noise / x.size, rel=1e-4)
    assert found.largest == np.abs(Y - X).max()
    assert found.count == X.size


@pytest.mark.parametrize("cut", [0, 1, 65536, 100_000, X.size])
def test_merging_parts_is_adding_the_whole(cut):
    joined = sums(X[:cut], Y[:cut]).merge(sums(X[cut:], Y[cut:]))
    whole = sums(X, Y)
    assert joined.count == whole.count
    assert joined.largest == whole.largest
    assert joined.sqnr_db == pytest.approx(whole.sqnr_db, abs=1e-4)


def test_values_that_are_not_finite_are_left_out_and_counted():
    x, y = np.array([1, np.nan, 2, 3], np.float32), np.array([1, 1, np.inf, 4], np.float32)
    found = sums(x, y)
    assert (found.count, found.nonfinite) == (2, 2)
    assert (found.signal, found.noise) == (10, 1)


def test_squares_beyond_float32_are_summed_exactly():
    found = sums(np.array([1e25], np.float32), np.array([2e25], np.float32))
    assert found.nonfinite == 0
    assert found.noise_to_signal == pytest.approx(1.0, rel=1e-6)


def test_limits_without_noise_and_without_signal():
    one, zero = np.ones(3), np.zeros(3)
    assert sums(one, one).sqnr_db == math.inf
    assert sums(one, one).cosine == pytest.approx(1)
    assert sums(zero, one).sqnr_db == -math.inf
    assert sums(zero, one).noise_to_signal == math.inf
    assert sums(zero, zero).noise_to_signal == 0
    assert sums(zero, zero).cosine == 1
    assert sums(zero, one).cosine == 0


def test_unlike_sizes_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        sums(np.zeros(3), np.zeros(4))


def test_divergence_of_softmax_by_hand():
    x, y = np.log([[0.5, 0.5], [0.9, 0.1]]), np.log([[0.25, 0.75], [0.9, 0.1]])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert softmax_divergence(x + 7, y) == pytest.approx(expected)
    assert softmax_divergence(y, x) == pytest.approx(
        0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    )
    assert softmax_divergence(x, x) == 0


def test_divergence_of_extreme_and_of_unusable_rows():
    x, y = np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]])
    assert softmax_divergence(x, y) == pytest.approx(1e4)
    assert softmax_divergence(np.array([[np.nan, 0.0]]), y) == 0
    with pytest.raises(ValueError, match="cannot be compared"):
        softmax_divergence(x, y[0])
