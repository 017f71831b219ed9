"""Direction measures against counts that one can make by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics import classification as c

ACTUAL = np.array([1, 1, 1, 0, 0, 0, 0, 1.0, np.nan])
CALLED = np.array([1, 1, 0, 1, 0, 0, 0, np.nan, 1.0])  # 2 hits, 1 miss, 1 false call, 3 rightly left


def test_counts_by_hand() -> None:
    assert c.confusion(ACTUAL, CALLED, classes=[1, 0]).tolist() == [[2, 1], [1, 3]]
    assert c.accuracy(ACTUAL, CALLED) == 5 / 7
    assert c.precision(ACTUAL, CALLED) == c.recall(ACTUAL, CALLED) == c.f1(ACTUAL, CALLED) == pytest.approx(2 / 3)
    assert c.precision(ACTUAL, CALLED, positive=0) == 3 / 4
    assert c.matthews(ACTUAL, CALLED) == pytest.approx((2 * 3 - 1 * 1) / math.sqrt(3 * 3 * 4 * 4))


def test_three_classes() -> None:
    table = c.confusion([-1, 0, 1, 1], [-1, 1, 1, 0], classes=[-1, 0, 1])
    assert table.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 1]]
    with pytest.raises(DataError):
        c.confusion([2.0], [0.0], classes=[0, 1])


def test_matthews_is_the_correlation() -> None:
    rng = np.random.default_rng(0)
    actual, called = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    assert c.matthews(actual, called) == pytest.approx(np.corrcoef(actual, called)[0, 1])


def test_probabilities_by_hand() -> None:
    assert c.brier([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2)
    assert c.log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert c.log_loss([1, 0], [1.0, 0.0]) == 0
    assert c.log_loss([1], [0.0]) == math.inf
    for actual, probability in (([2], [0.5]), ([1], [1.5])):
        with pytest.raises(DataError):
            c.brier(actual, probability)


def test_nothing_to_count() -> None:
    empty = np.empty(0)
    for measure in (c.accuracy, c.precision, c.recall, c.f1, c.matthews, c.brier, c.log_loss):
        assert math.isnan(measure(empty, empty))
    assert math.isnan(c.precision([1.0], [0.0]))
    assert math.isnan(c.matthews([1.0, 1.0], [1.0, 0.0]))
    with pytest.raises(AxisError):
        c.accuracy([1.0], [1.0, 0.0])


def test_hit_rates_by_side() -> None:
    signal = np.array([[2.0, 0.5, -1.0, 0.0], [1.0, np.nan, -3.0, -2.0]])
    returns = np.array([[0.1, 0.0, -0.2, 0.3], [0.2, 0.1, 0.1, -0.1]])
    found = c.side_hit_rates(signal, returns)
    assert (found["long"]["hits"], found["long"]["count"]) == (2, 3)
    assert (found["short"]["hits"], found["short"]["count"]) == (2, 3)
    assert found["long"]["rate"] == pytest.approx(2 / 3)
    assert found["long"]["low"] < 2 / 3 < found["long"]["high"]
    assert found["short"]["p"] == 1
