"""Was the direction right? Counts and scores of predicted classes and probabilities.

Missing: pairs with a NaN on either side are left out; a ratio with nothing below its line is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics.inference import binomial_p, wilson_interval

__all__ = ["accuracy", "brier", "confusion", "f1", "log_loss", "matthews", "precision", "recall", "side_hit_rates"]


def confusion(actual: ArrayLike, predicted: ArrayLike, *, classes: ArrayLike) -> NDArray[np.int64]:
    """How often each class (row) was called each class (column).

    Shape: two arrays of one shape -> (C, C).   Raises: DataError if a value is none of the classes.
    """
    true, called = _pairs(actual, predicted)
    names = np.asarray(classes, dtype=np.float64)
    order = np.argsort(names)
    rows, columns = (np.minimum(np.searchsorted(names[order], side), len(names) - 1) for side in (true, called))
    for values, place in ((true, rows), (called, columns)):
        strange = values[names[order][place] != values]
        if len(strange):
            raise DataError("every value is one of the classes", found=float(strange[0]), where="confusion")
    table = np.zeros((len(names), len(names)), np.int64)
    np.add.at(table, (order[rows], order[columns]), 1)
    return table


def accuracy(actual: ArrayLike, predicted: ArrayLike) -> float:
    """The share of predictions that were right."""
    true, called = _pairs(actual, predicted)
    return _ratio(float((true == called).sum()), len(true))


def precision(actual: ArrayLike, predicted: ArrayLike, *, positive: float = 1.0) -> float:
    """Of the calls of a class, the share that was right."""
    right, called, _, _ = _counts(actual, predicted, positive)
    return _ratio(right, called)


def recall(actual: ArrayLike, predicted: ArrayLike, *, positive: float = 1.0) -> float:
    """Of the cases of a class, the share that was called."""
    right, _, cases, _ = _counts(actual, predicted, positive)
    return _ratio(right, cases)


def f1(actual: ArrayLike, predicted: ArrayLike, *, positive: float = 1.0) -> float:
    """The harmonic mean of precision and recall: 2 TP / (calls + cases)."""
    right, called, cases, _ = _counts(actual, predicted, positive)
    return _ratio(2.0 * right, called + cases)


def matthews(actual: ArrayLike, predicted: ArrayLike, *, positive: float = 1.0) -> float:
    """The correlation of calls and cases of a class, in [-1, 1]; 0 is no better than chance."""
    right, called, cases, count = _counts(actual, predicted, positive)
    below = math.sqrt(called * (count - called) * cases * (count - cases))
    return _ratio(right * count - called * cases, below)


def brier(actual: ArrayLike, probability: ArrayLike) -> float:
    """The mean squared error of probabilities; 0.25 is what a constant one half gets.   Shape: actual in {0, 1}."""
    true, called = _probabilities(actual, probability)
    return float(((called - true) ** 2).mean()) if len(true) else math.nan


def log_loss(actual: ArrayLike, probability: ArrayLike) -> float:
    """The mean of -log of the probability given to what happened; a certain call that was wrong costs infinity."""
    true, called = _probabilities(actual, probability)
    if not len(true):
        return math.nan
    given = np.where(true == 1.0, called, 1.0 - called)
    return math.inf if (given == 0.0).any() else float(-np.log(given).mean())


def side_hit_rates(signal: ArrayLike, returns: ArrayLike, *, level: float = 0.95) -> dict[str, dict[str, float]]:
    """How often longs rose and shorts fell, each with its Wilson interval and its exact binomial p against chance.

    Shape: two arrays of one shape; the sign of `signal` is the side, 0 is no view. A return of zero is a miss.
    """
    side, moved = _pairs(np.sign(np.asarray(signal, dtype=np.float64)), returns)
    table = {}
    for name, sign in (("long", 1.0), ("short", -1.0)):
        here = side == sign
        count, hits = int(here.sum()), int((moved[here] * sign > 0).sum())
        rate, low, high = wilson_interval(hits, count, level=level)
        p = binomial_p(hits, count)
        table[name] = {"count": float(count), "hits": float(hits), "rate": rate, "low": low, "high": high, "p": p}
    return table


def _pairs(left: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if a.shape != b.shape:
        raise AxisError("both sides have one shape", found=f"{a.shape} and {b.shape}", where="classification")
    known = np.isfinite(a) & np.isfinite(b)
    return a[known], b[known]


def _probabilities(actual: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, called = _pairs(actual, probability)
    if len(true) and (called.min() < 0 or called.max() > 1 or not np.isin(true, (0.0, 1.0)).all()):
        raise DataError("outcomes are 0 or 1 and probabilities lie in [0, 1]", where="probability")
    return true, called


def _counts(actual: ArrayLike, predicted: ArrayLike, positive: float) -> tuple[float, float, float, float]:
    true, called = _pairs(actual, predicted)
    case, call = true == positive, called == positive
    return float((case & call).sum()), float(call.sum()), float(case.sum()), float(len(true))


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else math.nan
