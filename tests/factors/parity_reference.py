"""The usual pandas way to write the 101 formulas: rounded windows, ts_rank as a count, comparisons with NaN false.

Written from the paper's formulas for the tests, with pandas doing the work. Conventions that are plain errors (reversed
decay weights, means divided twice) are left out; the errata page measures those. Also left out are formulas 13, 15, 16,
78, 85, 88, 92, 94 and 98: they rank statistics of a few ranks, which tie in exact arithmetic, and the running sums of
pandas break such ties by rounding noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

Frame = pd.DataFrame


def rank(x: Frame) -> Frame:
    return x.rank(axis=1, pct=True)


def delta(x: Frame, d: int) -> Frame:
    return x.diff(d)


def delay(x: Frame, d: int) -> Frame:
    return x.shift(d)


def total(x: Frame, d: int) -> Frame:
    return x.rolling(d).sum()


def mean(x: Frame, d: int) -> Frame:
    return x.rolling(d).mean()


def std(x: Frame, d: int) -> Frame:
    return x.rolling(d).std()


def low(x: Frame, d: int) -> Frame:
    return x.rolling(d).min()


def high(x: Frame, d: int) -> Frame:
    return x.rolling(d).max()


def trank(x: Frame, d: int) -> Frame:
    """The rank of today's value in its window as a count, 1 to d."""
    return x.rolling(d).rank()


def argmax(x: Frame, d: int) -> Frame:
    return x.rolling(d).apply(np.argmax, raw=True) + 1


def argmin(x: Frame, d: int) -> Frame:
    return x.rolling(d).apply(np.argmin, raw=True) + 1


def product(x: Frame, d: int) -> Frame:
    return x.rolling(d).apply(np.prod, raw=True)


def decay(x: Frame, d: int) -> Frame:
    weights = np.arange(1, d + 1) / (d * (d + 1) / 2)
    return x.rolling(d).apply(lambda w: float(w @ weights), raw=True)


def constant(x: Frame, d: int) -> Frame:
    return (high(x, d) - low(x, d)) < 1e-12 * high(x.abs(), d)


def corr(x: Frame, y: Frame, d: int) -> Frame:
    # Where a side is constant the running sums of pandas leave noise; nobody means that number.
    return x.rolling(d).corr(y).clip(-1, 1).mask(constant(x, d) | constant(y, d))


def cov(x: Frame, y: Frame, d: int) -> Frame:
    return x.rolling(d).cov(y)


def scale(x: Frame) -> Frame:
    return x.div(x.abs().sum(axis=1), axis=0)


def where(condition: Frame, x: Frame | float, y: Frame | float) -> Frame:
    return pd.DataFrame(np.where(condition, x, y), index=condition.index, columns=condition.columns)


def both(pick: Callable[[np.ndarray, np.ndarray], np.ndarray], x: Frame, y: Frame) -> Frame:
    return pd.DataFrame(pick(x.to_numpy(), y.to_numpy()), index=x.index, columns=x.columns)


def reference(fields: Mapping[str, np.ndarray]) -> dict[str, Frame]:
    """The formulas by name, computed on fields of shape (T, N)."""
    frames = {name: pd.DataFrame(values) for name, values in fields.items()}
    first = _to_50(**{name[0] if name not in ("volume", "vwap") else name: f for name, f in frames.items()})
    second = _to_101(**{name[0] if name not in ("volume", "vwap") else name: f for name, f in frames.items()})
    return {f"alpha{k:03d}": frame for k, frame in {**first, **second}.items()}


def _to_50(*, o: Frame, h: Frame, l: Frame, c: Frame, volume: Frame, vwap: Frame) -> dict[int, Frame]:  # noqa: E741
    returns = c / c.shift(1) - 1
    adv20 = mean(volume, 20)
    day = delta(c, 1)
    run = (delay(c, 20) - delay(c, 10)) / 10 - (delay(c, 10) - c) / 10
    five = total(o, 5) * total(returns, 5)
    inner = where(returns < 0, std(returns, 20), c)
    out = {
        1: rank(argmax(inner**2, 5)) - 0.5,
        2: -corr(rank(delta(np.log(volume), 2)), rank((c - o) / o), 6),
        3: -corr(rank(o), rank(volume), 10),
        4: -trank(rank(l), 9),
        5: rank(o - total(vwap, 10) / 10) * -rank(c - vwap).abs(),
        6: -corr(o, volume, 10),
        7: where(adv20 < volume, -trank(delta(c, 7).abs(), 60) * np.sign(delta(c, 7)), -1),
        8: -rank(five - delay(five, 10)),
        9: where(low(day, 5) > 0, day, where(high(day, 5) < 0, day, -day)),
        10: rank(where(low(day, 4) > 0, day, where(high(day, 4) < 0, day, -day))),
        11: (rank(high(vwap - c, 3)) + rank(low(vwap - c, 3))) * rank(delta(volume, 3)),
        12: np.sign(delta(volume, 1)) * -day,
        14: -rank(delta(returns, 3)) * corr(o, volume, 10),
        17: -rank(trank(c, 10)) * rank(delta(day, 1)) * rank(trank(volume / adv20, 5)),
        18: -rank(std((c - o).abs(), 5) + (c - o) + corr(c, o, 10)),
        19: -np.sign(c - delay(c, 7) + delta(c, 7)) * (1 + rank(1 + total(returns, 250))),
        20: -rank(o - delay(h, 1)) * rank(o - delay(c, 1)) * rank(o - delay(l, 1)),
        22: -(delta(corr(h, volume, 5), 5) * rank(std(c, 20))),
        23: where(mean(h, 20) < h, -delta(h, 2), 0),
        24: where(delta(mean(c, 100), 100) / delay(c, 100) <= 0.05, -(c - low(c, 100)), -delta(c, 3)),
        25: rank(-returns * adv20 * vwap * (h - c)),
        26: -high(corr(trank(volume, 5), trank(h, 5), 5), 3),
        27: where(rank(total(corr(rank(volume), rank(vwap), 6), 2) / 2) > 0.5, -1, 1),
        28: scale(corr(adv20, l, 5) + (h + l) / 2 - c),
        30: (1 - rank(np.sign(day) + np.sign(delay(day, 1)) + np.sign(delay(day, 2))))
        * total(volume, 5)
        / total(volume, 20),
        32: scale(mean(c, 7) - c) + 20 * scale(corr(vwap, delay(c, 5), 230)),
        33: rank(-1 + o / c),
        34: rank(1 - rank(std(returns, 2) / std(returns, 5)) + (1 - rank(day))),
        35: trank(volume, 32) * (1 - trank(c + h - l, 16)) * (1 - trank(returns, 32)),
        36: 2.21 * rank(corr(c - o, delay(volume, 1), 15))
        + 0.7 * rank(o - c)
        + 0.73 * rank(trank(delay(-returns, 6), 5))
        + rank(corr(vwap, adv20, 6).abs())
        + 0.6 * rank((mean(c, 200) - o) * (c - o)),
        37: rank(corr(delay(o - c, 1), c, 200)) + rank(o - c),
        38: -rank(trank(c, 10)) * rank(c / o),
        39: -rank(delta(c, 7) * (1 - rank(decay(volume / adv20, 9)))) * (1 + rank(total(returns, 250))),
        40: -rank(std(h, 10)) * corr(h, volume, 10),
        41: (h * l) ** 0.5 - vwap,
        42: rank(vwap - c) / rank(vwap + c),
        43: trank(volume / adv20, 20) * trank(-delta(c, 7), 8),
        44: -corr(h, rank(volume), 5),
        46: where(run > 0.25, -1, where(run < 0, 1, -day)),
        47: rank(1 / c) * volume / adv20 * (h * rank(h - c) / mean(h, 5)) - rank(vwap - delay(vwap, 5)),
        49: where(run < -0.1, 1, -day),
        50: -high(rank(corr(rank(volume), rank(vwap), 5)), 5),
    }
    return out


def _to_101(*, o: Frame, h: Frame, l: Frame, c: Frame, volume: Frame, vwap: Frame) -> dict[int, Frame]:  # noqa: E741
    returns = c / c.shift(1) - 1
    adv = {d: mean(volume, d) for d in (10, 15, 20, 30, 40, 50, 60, 120, 180)}
    middle = (h + l) / 2
    run = (delay(c, 20) - delay(c, 10)) / 10 - (delay(c, 10) - c) / 10
    place = (c - l - (h - c)) / (h - l)
    width = (h - l) / mean(c, 5)
    low12, high12 = low(l, 12), high(h, 12)
    mix64 = o * 0.178404 + l * (1 - 0.178404)
    mix73 = o * 0.147155 + l * (1 - 0.147155)
    return {
        51: where(run < -0.05, 1, -delta(c, 1)),
        52: (-low(l, 5) + delay(low(l, 5), 5))
        * rank((total(returns, 240) - total(returns, 20)) / 220)
        * trank(volume, 5),
        53: -delta((c - l - (h - c)) / (c - l), 9),
        54: -((l - c) * o**5) / ((l - h) * c**5),
        55: -corr(rank((c - low12) / (high12 - low12)), rank(volume), 6),
        57: -((c - vwap) / decay(rank(argmax(c, 30)), 2)),
        60: -(2 * scale(rank(place * volume)) - scale(rank(argmax(c, 10)))),
        61: 1.0 * (rank(vwap - low(vwap, 16)) < rank(corr(vwap, adv[180], 18))),
        62: -1.0
        * (rank(corr(vwap, total(adv[20], 22), 10)) < rank(1.0 * (rank(o) + rank(o) < rank(middle) + rank(h)))),
        64: -1.0
        * (
            rank(corr(total(mix64, 13), total(adv[120], 13), 17))
            < rank(delta(middle * 0.178404 + vwap * (1 - 0.178404), 4))
        ),
        65: -1.0 * (rank(corr(o * 0.00817205 + vwap * (1 - 0.00817205), total(adv[60], 9), 6)) < rank(o - low(o, 14))),
        66: -(rank(decay(delta(vwap, 4), 7)) + trank(decay((l - vwap) / (o - middle), 11), 7)),
        68: -1.0 * (trank(corr(rank(h), rank(adv[15]), 9), 14) < rank(delta(c * 0.518371 + l * (1 - 0.518371), 1))),
        71: both(
            np.maximum,
            trank(decay(corr(trank(c, 3), trank(adv[180], 12), 18), 4), 16),
            trank(decay(rank(l + o - (vwap + vwap)) ** 2, 16), 4),
        ),
        72: rank(decay(corr(middle, adv[40], 9), 10)) / rank(decay(corr(trank(vwap, 4), trank(volume, 19), 7), 3)),
        73: -both(np.maximum, rank(decay(delta(vwap, 5), 3)), trank(decay(-(delta(mix73, 2) / mix73), 3), 17)),
        74: -1.0
        * (
            rank(corr(c, total(adv[30], 37), 15))
            < rank(corr(rank(h * 0.0261661 + vwap * (1 - 0.0261661)), rank(volume), 11))
        ),
        75: 1.0 * (rank(corr(vwap, volume, 4)) < rank(corr(rank(l), rank(adv[50]), 12))),
        77: both(np.minimum, rank(decay(middle + h - (vwap + h), 20)), rank(decay(corr(middle, adv[40], 3), 6))),
        81: -1.0
        * (
            rank(np.log(product(rank(rank(corr(vwap, total(adv[10], 50), 8)) ** 4), 15)))
            < rank(corr(rank(vwap), rank(volume), 5))
        ),
        83: rank(delay(width, 2)) * rank(rank(volume)) / (width / (vwap - c)),
        86: -1.0 * (trank(corr(c, total(adv[20], 15), 6), 20) < rank(o + c - (vwap + o))),
        95: 1.0 * (rank(o - low(o, 12)) < trank(rank(corr(total(middle, 19), total(adv[40], 19), 13)) ** 5, 12)),
        99: -1.0 * (rank(corr(total(middle, 20), total(adv[60], 20), 9)) < rank(corr(l, volume, 6))),
        101: (c - o) / (h - l + 0.001),
    }
