"""Analysis of many factors at once, against alphalens-reloaded on the same factors and the same returns.

Both are given the same prices and the same factor values; mean information coefficients and mean returns by quantile
are compared first. alphalens works factor by factor, so a few factors are enough to price one. What is timed on our
side is everything from factor values to the judged table: both coefficients, decay, quantiles, turnover, rank
autocorrelation, correlations between factors. The last lines add the evaluation of the formulas themselves.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
import warnings

import numpy as np
import pandas as pd

from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.market import Market
from alphaloom.metrics import factors as judging
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns
from alphaloom.study import analyse_factors

HORIZONS = (1, 5, 10, 20)
MARKET = Market(fill="same_close")


def market(days: int, assets: int) -> Panel:
    """Random walks with a field that foretells a little of the next return, over whole business days."""
    rng = np.random.default_rng(0)
    times = np.busday_offset("2014-01-02", np.arange(days), roll="forward").astype("datetime64[ns]")
    tip = rng.normal(size=(days, assets))
    moves = 0.015 * rng.normal(size=(days, assets))
    moves[1:] += 0.0006 * tip[:-1]
    close = 40.0 * np.exp(np.cumsum(moves, axis=0))
    open_ = close * np.exp(0.004 * rng.normal(size=close.shape))
    high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
    volume = np.exp(rng.normal(13.0, 0.6, close.shape))
    fields = {"open": open_, "high": high, "low": low, "close": close, "volume": volume, "tip": tip}
    return Panel(times, tuple(f"A{k:04d}" for k in range(assets)), {k: v.astype(np.float32) for k, v in fields.items()})


def formulas(count: int) -> FactorSet:
    """A sweep of short formulas over windows: ranks, correlations, deviations, moves, the planted field."""
    shapes = (
        "close / delay(close, {d}) - 1",
        "-ts_std(close / delay(close, 1) - 1, {d})",
        "ts_mean(tip, {d})",
        "rank(ts_sum(volume, {d}) / volume)",
        "ts_corr(close, volume, {d})",
        "(close - ts_min(low, {d})) / (ts_max(high, {d}) - ts_min(low, {d}))",
        "ts_zscore(volume, {d})",
        "rank(high / low) - rank(close / ts_mean(close, {d}))",
    )
    texts = [shape.format(d=d) for d in range(3, 3 + -(-count // len(shapes))) for shape in shapes][:count]
    return FactorSet("sweep", tuple(Factor(f"f{k:03d}", parse(text)) for k, text in enumerate(texts)))


def peer(values: np.ndarray, panel: Panel) -> tuple[pd.Series, pd.DataFrame, float]:
    """Mean IC by horizon, mean return by quantile and horizon, and the CPU seconds that alphalens took for them."""
    import alphalens

    days = pd.DatetimeIndex(panel.times, tz="UTC", freq="B", name="date")
    prices = pd.DataFrame(panel["close"].astype(np.float64), index=days, columns=list(panel.assets))
    series = pd.DataFrame(values.astype(np.float64), index=days, columns=list(panel.assets)).stack().dropna()
    series.index = series.index.set_names(["date", "asset"])
    start = time.process_time()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        table = alphalens.utils.get_clean_factor_and_forward_returns(
            series, prices, periods=HORIZONS, quantiles=5, max_loss=1.0, filter_zscore=None
        )
        ic = alphalens.performance.factor_information_coefficient(table).mean()
        means, _ = alphalens.performance.mean_return_by_quantile(table, by_date=True, demeaned=False)
        for quantile in range(1, 6):
            alphalens.performance.quantile_turnover(table["factor_quantile"], quantile)
        alphalens.performance.factor_rank_autocorrelation(table)
    seconds = time.process_time() - start
    # The mean of daily means, as ours; alphalens by default pools all dates.
    return ic, means.groupby(level="factor_quantile").mean(), seconds


def compare(panel: Panel, values: np.ndarray) -> float:
    """Check that both say the same about each factor, and return alphalens' CPU seconds a factor."""
    later = {h: forward_returns(panel, MARKET, horizon=h).values for h in HORIZONS}
    # alphalens keeps a row only where every horizon has a return.
    whole = np.logical_and.reduce([np.isfinite(returns) for returns in later.values()])
    ranked = judging.rank_targets({h: np.where(whole, r, np.nan) for h, r in later.items()}, member=panel.member)
    found = judging.factor_scores(values, ranked)
    taken = []
    for k in range(values.shape[2]):
        ic, buckets, seconds = peer(values[:, :, k], panel)
        taken.append(seconds)
        mine = [np.nanmean(found.rank_ic[h, k]) for h in range(len(HORIZONS))]
        apart = float(np.abs(ic.to_numpy() - mine).max())
        means = float(np.abs(buckets.to_numpy() - np.nanmean(found.buckets[:, k], axis=1).T).max())
        holes = not np.isfinite(values[:, :, k]).all()
        print(f"factor {k}{' with holes' if holes else ''}: mean IC within {apart:.1e}, quantile means {means:.1e}")
        assert apart < 1e-9, "the information coefficients disagree"
        # Fifths of a number that five does not divide: alphalens cuts at interpolated percentiles, we at ranks, so an
        # asset at a border may stand on the other side.
        assert means < (1e-4 if holes or panel.shape[1] % 5 else 1e-7), "the quantile means disagree"
    return float(np.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=2520)
    parser.add_argument("--assets", type=int, default=1000)
    parser.add_argument("--factors", type=int, default=500)
    parser.add_argument("--peer-factors", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    panel, library = market(given.days, given.assets), formulas(given.factors)
    print(f"{given.days} days x {given.assets} assets, horizons {HORIZONS}, {given.threads} threads")

    rng = np.random.default_rng(1)
    # Factor by factor in memory, as the engine leaves them.
    values = np.moveaxis(rng.normal(size=(max(given.peer_factors, 16), *panel.shape)).astype(np.float32), 0, 2)
    values[:, :, 0] += panel["tip"]
    values[:, :, 1] = np.where(rng.random(panel.shape) < 0.03, np.nan, values[:, :, 1])
    judging.factor_scores(values[:30], judging.rank_targets({1: values[:30, :, 0]}, member=panel.member[:30]))
    theirs = compare(panel, values[:, :, : given.peer_factors]) if given.peer_factors else float("nan")

    later = {h: forward_returns(panel, MARKET, horizon=h).values for h in HORIZONS}
    used = time.process_time()
    ranked = judging.rank_targets(later, member=panel.member)
    prepared = time.process_time() - used
    start, used = time.perf_counter(), time.process_time()
    found = judging.factor_scores(values, ranked, sample=range(0, given.days, 40), threads=given.threads)
    judging.mean_rank_correlation(found.ranks)
    wall, spent = time.perf_counter() - start, time.process_time() - used
    count, cells = values.shape[2], given.days * given.assets
    print(f"returns sorted once: {prepared:.2f} s of CPU")
    print(f"alphaloom: {spent / count * 1e3:.1f} ms of CPU a factor ({spent / count / cells * 1e9:.1f} ns a cell)")
    print(f"alphalens: {theirs * 1e3:.0f} ms of CPU a factor; ratio {theirs / (spent / count):.0f}x")
    clock = wall / count * given.factors
    spent = prepared + spent / count * given.factors
    print(f"{given.factors} factors from their values: {spent:.1f} s of CPU, {clock:.1f} s by the clock")

    start, used = time.perf_counter(), time.process_time()
    whole = analyse_factors(library, panel, market=MARKET, horizons=HORIZONS, threads=given.threads)
    wall, spent = time.perf_counter() - start, time.process_time() - used
    print(f"{len(whole)} formulas from text to judged table, evaluation included: {wall:.1f} s ({spent:.1f} s of CPU)")


if __name__ == "__main__":
    main()
