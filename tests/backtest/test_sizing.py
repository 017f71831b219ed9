"""Orders sized outside a back-test are the orders of the back-test, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.backtest import backtest, order_shares
from alphaloom.errors import DecisionError
from alphaloom.market import Market
from alphaloom.units import ONE


class Dealt:
    """Random weights; it notes what each of its books would order."""

    lookback = 0

    def __init__(self, market, gross):
        self.market, self.gross, self.sized = market, gross, []

    def decide(self, view, book):
        rng = np.random.default_rng(len(view))
        weights = rng.dirichlet(np.ones(len(view.assets))) * self.gross * (rng.random(len(view.assets)) < 0.7)
        weights[~np.isfinite(book.prices)] = 0.0
        if len(view) % 5 == 0:
            weights = np.full(len(weights), np.nan)
        if self.market.short:
            weights *= np.sign(rng.standard_normal(len(weights)))
        self.sized.append(order_shares(weights, book, view, self.market))
        return weights


MARKETS = [
    Market(),
    Market(lot=10.0, fill="next_close"),
    Market(short=True, leverage=1.5),
    Market(fill="same_close"),
    Market(lot=100.0, impact=0.1, sell_tax=0.001),
]


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("factors", [False, True])
def test_the_sizes_are_those_of_the_back_test(make_panel, market, factors):
    panel = make_panel(T=60, N=6, holes=0.05)
    if factors:
        factor = np.random.default_rng(1).uniform(0.5, 1.5, panel.shape)
        factor[np.random.default_rng(2).random(panel.shape) < 0.2] = np.nan
        panel = panel.with_field("adj_factor", factor, ONE)
    policy = Dealt(market, market.leverage * 0.95)
    result = backtest(policy, panel, market, start=7, cash=1e5)
    ordered = np.zeros((len(result.times), panel.shape[1]))
    ordered[result.orders.decided, result.orders.asset] = result.orders.ordered
    assert np.count_nonzero(ordered) > 50
    assert np.array_equal(np.array(policy.sized[:-1]), ordered[:-1])


def test_weights_that_a_back_test_refuses_are_refused(make_panel):
    panel = make_panel(T=30, N=4)
    seen = []

    class Peek:
        lookback = 0

        def decide(self, view, held):
            seen.append((view, held))
            return np.zeros(4)

    backtest(Peek(), panel, Market())
    view, held = seen[-1]
    with pytest.raises(DecisionError, match="short sales"):
        order_shares(np.array([-0.5, 0.0, 0.0, 0.0]), held, view, Market())
    with pytest.raises(DecisionError, match="leverage"):
        order_shares(np.full(4, 0.5), held, view, Market())
    with pytest.raises(DecisionError, match="one weight for each"):
        order_shares(np.zeros(3), held, view, Market())
