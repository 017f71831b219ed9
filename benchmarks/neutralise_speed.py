"""Neutralisation, the chain and the risk model: CPU seconds, after checking agreement with least squares.

The peer of the regression is the plain way: numpy's least squares with explicit dummies, date by date, on a part of
the dates and scaled up; for one factor at a time, as it must be when factors miss different assets, and for all
factors of a date at once, which is only right when none is missing.

    python benchmarks/neutralise_speed.py            # 45 factors x 2,500 days x 500 assets; risk on 2,000 assets
    python benchmarks/neutralise_speed.py --quick    # a tenth of the days
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from alphaloom.factors.chain import Chain, Neutralise, design, neutralise
from alphaloom.factors.risk import RiskModel
from alphaloom.factors.style import style_exposures
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import Features, forward_returns

SECTORS, STYLES = 11, 3


def market(T: int, N: int, seed: int = 0) -> Panel:
    """Random walks with accounts and sectors."""
    rng = np.random.default_rng(seed)
    start = np.datetime64("2010-01-04")
    times = np.array([np.busday_offset(start, k, roll="forward") for k in range(T)], dtype="datetime64[ns]")
    close = 20.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (T, N)), axis=0))
    cap = close * np.exp(rng.normal(15.0, 1.0, N))
    volume = np.exp(rng.normal(10.0, 1.0, (T, N)))
    fields = {"open": close, "close": close, "cap": cap, "volume": volume, "shares_out": cap / close}
    fields |= {"book_equity": 0.5 * cap, "net_income": 0.05 * cap, "revenue": 0.8 * cap, "total_assets": 2.0 * cap}
    sector = np.broadcast_to((np.arange(N) % SECTORS).astype(np.int16), (T, N))
    return Panel(
        times,
        tuple(f"A{j}" for j in range(N)),
        {name: values.astype(np.float32) for name, values in fields.items()},
        labels={"sector": sector},
        label_names={"sector": tuple(f"sector {k}" for k in range(SECTORS))},
    )


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def plain(y: np.ndarray, xs: np.ndarray, weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Least squares with dummies: (N, F), (N, K), (N,), (N,) -> (N, F)."""
    dummies = (codes[:, None] == np.arange(SECTORS)).astype(float)
    table, root = np.column_stack([dummies, xs]), np.sqrt(weights)[:, None]
    return y - table @ np.linalg.lstsq(table * root, y * root, rcond=None)[0]


def regression(T: int, N: int, F: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((T, N, F), dtype=np.float32)
    xs, weights = rng.normal(size=(T, N, STYLES)), np.exp(rng.normal(size=(T, N)))
    codes = np.broadcast_to((np.arange(N) % SECTORS).astype(np.int16), (T, N))
    plan = design(values.shape, xs, weights=weights, labels=codes)
    neutralise(values[:2], plan[:2])  # load the kernels
    ours = neutralise(values, plan).values
    dates = range(0, T, max(1, T // 20))
    worst = max(np.abs(ours[t] - plain(values[t].astype(float), xs[t], weights[t], codes[t])).max() for t in dates)
    assert worst < 1e-5, worst
    whole = seconds(lambda: neutralise(values, plan))
    holes = values.copy()
    holes[rng.random(values.shape) < 0.02] = np.nan
    pieces = seconds(lambda: neutralise(holes, plan))
    scale = T / len(dates)
    at_once = scale * seconds(lambda: [plain(values[t].astype(float), xs[t], weights[t], codes[t]) for t in dates])
    by_one = scale * seconds(
        lambda: [
            plain(values[t, ok, k].astype(float)[:, None], xs[t, ok], weights[t, ok], codes[t, ok])
            for t in dates
            for k in range(F)
            for ok in (np.isfinite(holes[t, :, k]),)
        ]
    )
    print(f"{F} factors x {T} days x {N} assets, {SECTORS} sectors + {STYLES} styles; worst difference {worst:.1e}")
    print(f"  nothing missing: ours {whole:.2f} s, least squares a date {at_once:.2f} s, {at_once / whole:.1f} x")
    print(f"  2 % missing:     ours {pieces:.2f} s, least squares a factor {by_one:.1f} s, {by_one / pieces:.0f} x")


def chain(T: int, N: int, F: int) -> None:
    panel = market(T, N)
    values = np.random.default_rng(2).standard_normal((T, N, F), dtype=np.float32)
    features = Features(panel.times, panel.assets, tuple(f"f{k}" for k in range(F)), values)
    target, steps = forward_returns(panel, Market()), Chain.standard()
    steps.fit(features[:300], target[:300], panel[:300]).score(features[:300], panel[:300])
    print(f"the chain on {F} factors x {T} days x {N} assets")
    for step in steps.steps:
        if not hasattr(step, "learn"):
            kind = " (styles included)" if isinstance(step, Neutralise) else ""
            print(f"  {type(step).__name__}{kind}: {seconds(lambda step=step: step.transform(features, panel)):.2f} s")
    fitted = []
    print(f"  fit: {seconds(lambda: fitted.append(steps.fit(features, target, panel))):.2f} s")
    print(f"  score: {seconds(lambda: fitted[0].score(features, panel)):.2f} s")


def risk(T: int, N: int) -> None:
    panel = market(T, N)
    RiskModel().fit(panel[:40])
    styles = seconds(lambda: style_exposures(panel))
    kept = []
    whole = seconds(lambda: kept.append(RiskModel().fit(panel)))
    one = seconds(lambda: kept[0].at(-1))
    print(f"risk model, {N} assets x {T} days, {len(kept[0].factors)} factors")
    returns = seconds(lambda: RiskModel(styles=()).fit(panel))
    print(f"  ten styles {styles:.2f} s, fit with its styles {whole:.2f} s, fit without styles {returns:.2f} s")
    print(f"  one forecast {one:.3f} s")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the days")
    days = 300 if arguments.parse_args().quick else 2500
    regression(days, 500, 45)
    chain(days, 500, 45)
    risk(days, 2000)


if __name__ == "__main__":
    main()
