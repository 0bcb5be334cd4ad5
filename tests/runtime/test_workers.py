"""Samples side by side: order, bounded look-ahead, errors."""

import threading
import time

import pytest

from onnxq.runtime.providers import CPU
from onnxq.runtime.workers import MOST, shares
from onnxq.threads import cores, in_order


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(count):
    def slow_first(i):
        time.sleep(0.002 * (10 - i))
        return i * i

    assert list(in_order(slow_first, range(10), count)) == [i * i for i in range(10)]
    assert list(in_order(slow_first, [], count)) == []


def test_items_are_taken_on_the_callers_thread_and_only_a_few_ahead():
    taken, given = [], 0
    here = threading.get_ident()

    def items():
        for i in range(50):
            assert threading.get_ident() == here
            taken.append(i)
            yield i

    for i in in_order(lambda i: i, items(), 3):
        given += 1
        assert len(taken) <= i + 1 + 3 + 1
    assert given == 50


@pytest.mark.parametrize("count", [1, 3])
def test_the_first_error_in_order_ends_it(count):
    seen = []

    def fail(i):
        if i >= 4:
            raise ValueError(str(i))
        return i

    with pytest.raises(ValueError, match="4"):
        for i in in_order(fail, range(100), count):
            seen.append(i)
    assert seen == [0, 1, 2, 3]


def test_a_consumer_that_stops_ends_the_threads():
    before = threading.active_count()
    results = in_order(lambda i: i, range(100), 3)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_how_many():
    side, within = shares()
    assert (side, within) == shares((CPU,))
    assert side == min(MOST, cores())
    assert side * within <= cores()
    assert shares((("CUDAExecutionProvider", {}), CPU)) == (1, None)
    assert shares(("CUDAExecutionProvider",)) == (1, None)
