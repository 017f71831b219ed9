"""What the trades earned, against the same arithmetic done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alphaloom.metrics import inference
from alphaloom.study.curves import index_curve
from alphaloom.study.earning import luck


def test_a_slow_riskless_rate_does_not_stretch_the_blocks_of_the_interval() -> None:
    rng = np.random.default_rng(5)
    returns = 0.0005 + 0.01 * rng.normal(size=800)
    rate = (0.02 + 0.01 * np.sin(np.arange(800) / 150)) / 252
    assert inference.block_length(rate) > 10 * inference.block_length(returns - rate)

    def interval(rf: Any) -> tuple[float, float]:
        found = luck(returns, trials=1, seed=0, periods_per_year=252.0, rf=rf)["sharpe"]
        return found["low"] - found["value"], found["high"] - found["value"]

    # A steady rate of the same mean has no memory at all; the interval around the ratio must be the same.
    assert interval(rate) == pytest.approx(interval(np.full(800, rate.mean())), abs=0.02)


def test_an_index_that_stops_before_the_panel_does_is_no_benchmark(make_panel):
    panel = make_panel(60, 5)
    level = np.linspace(100.0, 120.0, 60)
    gap, ended = level.copy(), level.copy()
    gap[30:40] = np.nan
    ended[40:] = np.nan
    assert index_curve(panel.replace(series={"index": gap}), 1.0) is not None
    assert index_curve(panel.replace(series={"index": ended}), 1.0) is None
