"""Momentum and reversion over a few bars: by hand, by the law of time, and out of range."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.agents.recent_return import RecentReturn
from alphaloom.backtest import backtest
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.testing import check_policy


def test_who_rose_and_who_fell_by_hand(make_panel):
    panel = make_panel(T=12, N=5, seed=3)
    close = panel["close"]
    mean = (close[1:] / close[:-1] - 1.0)[6:11].mean(axis=0)
    rose, fell = (RecentReturn(side=side).weights(panel)[11] for side in ("momentum", "reversion"))
    assert rose == pytest.approx(0.99 * (mean > 0) / max(1, (mean > 0).sum()))
    assert fell == pytest.approx(0.99 * (mean < 0) / max(1, (mean < 0).sum()))
    assert (RecentReturn().weights(panel)[:5] == 0.0).all()


def test_an_asset_with_a_hole_in_its_window_is_not_held(make_panel):
    panel = make_panel(T=20, N=4)
    close = np.array(panel["close"])
    close[15, 1] = np.nan
    held = RecentReturn(window=3).weights(panel.replace(fields={**panel.fields, "close": close}))
    assert (held[15:19, 1] == 0.0).all()


@pytest.mark.parametrize("side", ["momentum", "reversion"])
def test_the_table_says_what_the_decisions_say(make_panel, side):
    panel = make_panel(T=80, N=6, holes=0.02)
    check_policy(RecentReturn(side=side), panel)
    assert backtest(RecentReturn(side=side), panel, Market()).equity[-1] > 0.0


def test_settings_out_of_range_are_refused():
    for name, found in (("window", 0), ("side", "sideways"), ("cash", 1.0)):
        with pytest.raises(DataError) as caught:
            RecentReturn(**{name: found})
        assert caught.value.where == f"RecentReturn.{name}"
