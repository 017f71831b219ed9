"""The embedded market's returns: nothing to find in the noise twin, the planted effects where they were planted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from alphaloom.data.simulate import EmbeddedMarket, planted_signal, simulate
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns

Grid = NDArray[np.float64]
SEEDS = (1, 2, 3, 4, 5)
GOOD = ("beats", "raises", "upgrade", "wins", "favour", "breakthrough", "Improved")
BAD = ("misses", "cuts", "downgrade", "loses", "probe", "warns", "Lawsuit")


def lag(values: Grid, bars: int) -> Grid:
    out = np.full_like(values, np.nan)
    out[bars:] = values[:-bars]
    return out


def mean_of(values: Grid, bars: int) -> Grid:
    out = np.full_like(values, np.nan)
    out[bars - 1 :] = np.lib.stride_tricks.sliding_window_view(values, bars, axis=0).mean(axis=-1)
    return out


def tone_of(panel: Panel) -> Grid:
    """Words of the headlines, counted as a reader would, with a memory of a few bars."""
    tone = np.zeros(panel.shape)
    for available, asset, text, _ in panel.corpus:
        row = np.searchsorted(panel.times, available, side="left")
        tone[row, asset] += any(word in text for word in GOOD) - any(word in text for word in BAD)
    for row in range(1, len(panel)):
        tone[row] += 0.75 * tone[row - 1]
    return tone


def factors_of(panel: Panel) -> dict[str, Grid]:
    close, volume = np.asarray(panel["close"], np.float64), np.asarray(panel["volume"], np.float64)
    move = close / lag(close, 1) - 1.0
    usual = lag(mean_of(volume, 20), 1)
    variance = mean_of(move**2, 20)
    return {
        "reversal": 1.0 - close / lag(close, 5),
        "momentum": lag(close, 21) / lag(close, 252),
        "volatility": np.sqrt(variance),
        "abnormal volume": volume / usual,
        "size": np.log(panel["cap"]),
        "value": np.log(panel["book_equity"] / panel["cap"]),
        "volume": np.sign(move) * (volume / usual - 1.0),
        "news": tone_of(panel),
    }


def daily_rank_ic(factor: Grid, earned: Grid) -> Grid:
    """Spearman's correlation of each bar, nothing clever."""
    out = []
    for score, outcome in zip(factor, earned, strict=True):
        both = np.isfinite(score) & np.isfinite(outcome)
        if both.sum() >= 10 and np.ptp(score[both]) > 0:
            ranks = [np.argsort(np.argsort(values[both], kind="stable"), kind="stable") for values in (score, outcome)]
            out.append(np.corrcoef(*ranks)[0, 1])
    return np.array(out)


def newey_west(values: Grid, lags: int) -> tuple[float, float]:
    """Mean and standard error that allow for what one bar says about the next."""
    rest = values - values.mean()
    variance = rest @ rest / len(rest)
    for k in range(1, lags + 1):
        variance += 2 * (1 - k / (lags + 1)) * (rest[k:] @ rest[:-k]) / len(rest)
    return float(values.mean()), float(np.sqrt(variance / len(rest)))


def measure(
    noise: bool, seeds: tuple[int, ...], horizons: tuple[int, ...]
) -> dict[tuple[str, int], tuple[float, float]]:
    """Mean rank IC over members and its standard error, pooled over seeds; returns that do not overlap."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for seed in seeds:
        market = EmbeddedMarket(days=900, assets=80, seed=seed, noise=noise)
        panel = simulate(market)
        factors = factors_of(panel)
        if not noise:
            factors["truth"] = np.array(planted_signal(market).values)
        for horizon in horizons:
            earned = forward_returns(panel, Market(), horizon=horizon).values
            for name, factor in factors.items():
                ic = daily_rank_ic(np.where(panel.member, factor, np.nan)[::horizon], earned[::horizon])
                found.setdefault((name, horizon), []).append(newey_west(ic, 3))
    return {
        key: (float(np.mean([m for m, _ in each])), float(np.sqrt(np.sum([se**2 for _, se in each])) / len(each)))
        for key, each in found.items()
    }


def test_nothing_predicts_the_noise_twin() -> None:
    for (name, horizon), (mean, error) in measure(True, SEEDS, (1, 5)).items():
        assert error < 0.01
        assert abs(mean) < 2.5 * error, f"{name} over {horizon}: {mean:.4f} +- {error:.4f}"


def test_the_planted_effects_are_found_at_about_their_strength() -> None:
    found = measure(False, SEEDS[:2], (1,))
    for name in ("reversal", "value", "volume", "news"):
        mean, error = found[name, 1]
        assert mean > 5 * error
        assert 0.02 < mean < 0.045, f"{name}: {mean:.4f}"
    mean, error = found["truth", 1]
    assert 0.05 < mean < 0.08
    assert mean > 15 * error


@pytest.mark.parametrize("effect", ["reversal", "value", "volume", "news"])
def test_each_effect_has_its_own_strength(effect: str) -> None:
    alone = dict.fromkeys(("reversal", "value", "volume", "news"), 0.0) | {effect: 0.06}
    panel = simulate(EmbeddedMarket(days=700, assets=80, seed=3, **alone))
    earned = forward_returns(panel, Market()).values
    for name, factor in factors_of(panel).items():
        mean, error = newey_west(daily_rank_ic(np.where(panel.member, factor, np.nan), earned), 2)
        if name == effect:
            assert mean > 0.035
        elif name in alone and {name, effect} != {"reversal", "volume"}:  # both read the last bar's direction
            assert abs(mean) < 4 * error


def test_the_planted_return_is_earned_after_the_next_open() -> None:
    market = EmbeddedMarket(days=900, assets=80, seed=5, reversal=0.1, value=0.1, volume=0.1, news=0.1)
    panel, truth = simulate(market), planted_signal(market).values
    opened, closed = np.asarray(panel["open"], np.float64), np.asarray(panel["close"], np.float64)
    overnight, session = opened[1:] / closed[:-1] - 1.0, closed[1:] / opened[1:] - 1.0
    before, error = newey_west(daily_rank_ic(truth[:-1], overnight), 2)
    after, _ = newey_west(daily_rank_ic(truth[:-1], session), 2)
    assert abs(before) < 3 * error
    assert after > 0.1
    # The truth is an unbiased forecast: the slope of what was earned on what was expected is one.
    both = np.isfinite(truth[:-1]) & np.isfinite(session)
    excess = np.where(both, session, 0.0) - np.where(both, session, 0.0).sum(1, keepdims=True) / both.sum(
        1, keepdims=True
    )
    slope = (truth[:-1] * excess)[both].sum() / (truth[:-1] ** 2)[both].sum()
    assert slope == pytest.approx(1.0, abs=0.1)


def test_the_truth_of_the_noise_twin_is_nothing() -> None:
    market = EmbeddedMarket(days=200, assets=20, noise=True)
    truth = planted_signal(market)
    listed = simulate(market).listed
    assert (truth.values[listed] == 0).all()
    assert np.isnan(truth.values[~listed]).all()


def test_a_bankruptcy_is_not_a_foreseeable_slide() -> None:
    earned = []
    for seed in SEEDS:
        panel = simulate(EmbeddedMarket(days=900, assets=80, seed=seed, noise=True, delistings=4.0, halts=0.0))
        forward = forward_returns(panel, Market()).values
        known = np.isfinite(forward)
        excess = (
            forward
            - np.where(known, forward, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1), 1)[:, None]
        )
        close = np.asarray(panel["close"], np.float64)
        peak = np.fmax.accumulate(np.where(np.isfinite(close), close, 0.0), axis=0)
        fallen = panel.listed & (close < 0.4 * peak) & np.isfinite(excess)
        earned.append(excess[fallen])
    pooled = np.concatenate(earned)
    assert len(pooled) > 2000
    assert abs(pooled.mean()) < 3 * pooled.std() / np.sqrt(len(pooled))
    assert (pooled < -0.35).sum() >= 5  # the ruins are in the sample


@pytest.fixture(scope="module")
def stylised() -> list[tuple[Panel, Grid, Grid]]:
    """Panels of several seeds with the index's returns and those of the assets that were always there."""
    out = []
    for seed in SEEDS[:4]:
        panel = simulate(EmbeddedMarket(days=1500, assets=50, seed=seed, headlines=0.0))
        level, close = panel.series["index"], np.asarray(panel["close"], np.float64)
        moves = close[1:] / close[:-1] - 1.0
        out.append((panel, level[1:] / level[:-1] - 1.0, moves[:, np.isfinite(moves).all(axis=0)]))
    return out


def averaged(stylised: list[tuple[Panel, Grid, Grid]], fact: Callable[[Panel, Grid, Grid], float]) -> float:
    return float(np.mean([fact(*each) for each in stylised]))


def kurtosis(values: Grid) -> float:
    rest = values - values.mean(axis=0)
    return float(np.mean((rest**4).mean(axis=0) / (rest**2).mean(axis=0) ** 2))


def echo(values: Grid, bars: int) -> float:
    return float(np.corrcoef(values[bars:], values[:-bars])[0, 1])


def test_the_market_drifts_and_swings_like_a_market(stylised: list[tuple[Panel, Grid, Grid]]) -> None:
    drift = averaged(stylised, lambda p, index, _: float(index.mean() * 252))
    swing = averaged(stylised, lambda p, index, _: float(index.std() * np.sqrt(252)))
    assert 0.0 < drift < 0.14  # 0.07 +- 2 standard errors of 24 years
    assert 0.14 < swing < 0.21
    fear = averaged(stylised, lambda p, index, _: float(p.series["vix"].mean() / 100))
    assert fear == pytest.approx(swing, abs=0.04)


def test_tails_are_fat_and_volatility_clusters(stylised: list[tuple[Panel, Grid, Grid]]) -> None:
    assert averaged(stylised, lambda p, index, moves: kurtosis(moves)) > 4
    assert averaged(stylised, lambda p, index, moves: kurtosis(index)) > 4
    for bars in (1, 5, 10):
        assert averaged(stylised, lambda p, index, moves, bars=bars: echo(np.abs(index), bars)) > 0.03
        assert averaged(stylised, lambda p, index, moves, bars=bars: abs(echo(index, bars))) < 0.06


def test_a_fall_makes_the_market_swing_more(stylised: list[tuple[Panel, Grid, Grid]]) -> None:
    def leverage(_: Panel, index: Grid, __: Grid) -> float:
        size = np.abs(index)
        return float(np.mean([np.corrcoef(index[:-k], size[k:])[0, 1] for k in range(1, 21)]))

    assert averaged(stylised, leverage) < 0.0


def test_assets_move_together_in_stress(stylised: list[tuple[Panel, Grid, Grid]]) -> None:
    def together(panel: Panel, _: Grid, moves: Grid) -> float:
        fear = panel.series["vix"][1:]
        stressed = fear > 25.0
        off = ~np.eye(moves.shape[1], dtype=bool)
        return float(np.corrcoef(moves[stressed].T)[off].mean() - np.corrcoef(moves[~stressed].T)[off].mean())

    assert averaged(stylised, together) > 0.1


def test_volume_grows_with_the_move(stylised: list[tuple[Panel, Grid, Grid]]) -> None:
    def link(panel: Panel, _: Grid, __: Grid) -> float:
        close, volume = np.asarray(panel["close"], np.float64), np.asarray(panel["volume"], np.float64)
        size, traded = np.abs(np.diff(np.log(close[:, :30]), axis=0)), volume[1:, :30]
        both = np.isfinite(size) & (traded > 0)
        return float(
            np.mean(
                [np.corrcoef(size[b, j], np.log(traded[b, j]))[0, 1] for j, b in enumerate(both.T) if b.sum() > 200]
            )
        )

    assert averaged(stylised, link) > 0.2
