"""The optimised policies on real A-shares, with their halts, new listings and price limits."""

from __future__ import annotations

import numpy as np

from alphaloom.backtest import backtest
from alphaloom.data import Store, import_market
from alphaloom.market import Market
from alphaloom.portfolio import EqualWeight, HierarchicalRiskParity, MinimumVariance, RiskParity, TailRisk
from alphaloom.portfolio.clusters import ClusteredRisk


def test_calmer_than_equal_weights_through_halts_and_listings(shared_data, tmp_path):
    import_market(shared_data / "china_a_daily" / "csi300_2020_2024.parquet", tmp_path / "cn", calendar="XSHG")
    panel = Store(tmp_path / "cn").panel()
    panel = panel[: panel.row_of("2022-04-01")]
    market = Market(lot=100.0, sell_tax=0.0005)
    equal = backtest(EqualWeight(), panel, market, start=252, cash=1e9).returns[2:].std()
    for policy, most in (
        (MinimumVariance(cap=0.05), 0.85),
        (RiskParity(), 1.0),
        (HierarchicalRiskParity(), 1.0),
        (ClusteredRisk(method="nested"), 0.85),
        (TailRisk(cap=0.05), 0.95),
    ):
        result = backtest(policy, panel, market, start=252, cash=1e9)
        assert result.returns[2:].std() < most * equal, policy
        assert policy.counts["solves"] > 10
        assert policy.counts.get("fallbacks", 0) == 0
        decided = result.weights[np.isfinite(result.weights).all(axis=1)]
        assert decided.min() >= 0.0
        assert decided.sum(axis=1).max() <= 0.99 + 1e-9
