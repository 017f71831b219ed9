from __future__ import annotations

import numpy as np
import pytest

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError, SolveError
from alphaloom.factors import evaluate, load_library
from alphaloom.forecast.augmentation import Augmentation
from alphaloom.forecast.augmentation_fit import fit_past, shrunk_correlation
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns

MODES = ("iid", "correlated", "block", "regime")


def returns(panel: Panel) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.diff(np.log(panel["close"].astype(np.float64)), axis=0)


def mean_correlation(values: np.ndarray) -> float:
    matrix = np.corrcoef(values.T)
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def clustering(values: np.ndarray) -> float:
    """Mean autocorrelation of the common factor's square over the first five lags."""
    square = values.mean(axis=1) ** 2
    return float(np.mean([np.corrcoef(square[k:], square[:-k])[0, 1] for k in range(1, 6)]))


@pytest.fixture(scope="module")
def clustered() -> Panel:
    """Assets that share a factor whose volatility comes and goes."""
    rng = np.random.default_rng(3)
    T, N = 1500, 20
    wild = (np.arange(T) // 100) % 2 * 0.02 + 0.004
    steps = wild[:, None] * (rng.normal(size=(T, 1)) + 0.7 * rng.normal(size=(T, N))) + 0.0004
    close = 40.0 * np.exp(np.cumsum(steps, axis=0))
    open_ = close * np.exp(0.003 * rng.normal(size=(T, N)))
    high = np.maximum(open_, close) * (1.0 + 0.01 * rng.random((T, N)))
    low = np.minimum(open_, close) * (1.0 - 0.01 * rng.random((T, N)))
    fields = {"open": open_, "high": high, "low": low, "close": close, "vwap": (high + low) / 2}
    fields["volume"] = np.exp(rng.normal(12, 0.3, (T, N)))
    times = (np.datetime64("2010-01-04") + np.arange(T)).astype("datetime64[ns]")
    return Panel(times=times, assets=tuple(f"A{j}" for j in range(N)), fields=fields)


@pytest.fixture(scope="module")
def gappy() -> Panel:
    return simulate(EmbeddedMarket(days=500, assets=30, seed=5, halts=0.02, late=0.3, delistings=5.0, price_limit=0.1))


def test_blocks_keep_what_independent_draws_lose(clustered):
    real = returns(clustered)
    made = {mode: returns(Augmentation(mode, seed=1).paths_of(clustered)[0]) for mode in MODES}
    assert mean_correlation(real) > 0.6
    assert clustering(real) > 0.1
    assert abs(mean_correlation(made["iid"])) < 0.02
    for mode in ("correlated", "block", "regime"):
        assert mean_correlation(made[mode]) == pytest.approx(mean_correlation(real), abs=0.06)
    assert clustering(made["iid"]) < 0.05 > clustering(made["correlated"])
    assert clustering(made["block"]) > 0.6 * clustering(real)
    assert clustering(made["regime"]) > 0.5 * clustering(real)


@pytest.mark.parametrize("mode", MODES)
def test_drift_and_volatility_are_the_slice_s(clustered, mode):
    real = returns(clustered)
    paths = Augmentation(mode, paths=8, seed=2).paths_of(clustered)
    made = np.stack([returns(path) for path in paths])
    assert made.std(axis=(0, 1)) == pytest.approx(real.std(axis=0), rel=0.12)
    error = real.std() / np.sqrt(8 * len(real) / 20)  # assets move together: count bars, not cells; blocks are fewer
    assert abs(made.mean() - real.mean()) < 4 * error


@pytest.mark.parametrize("mode", MODES)
def test_bars_are_whole_and_gaps_masks_and_labels_are_the_slice_s(gappy, mode):
    (made,) = Augmentation(mode, seed=4).paths_of(gappy)
    assert set(made.fields) == set(gappy.fields)
    for name, values in made.fields.items():
        np.testing.assert_array_equal(np.isfinite(values), np.isfinite(gappy[name]), err_msg=name)
        assert values.dtype == gappy[name].dtype
    known = np.isfinite(gappy["close"])
    assert not known.all()
    top, bottom = np.maximum(made["open"], made["close"]), np.minimum(made["open"], made["close"])
    assert (made["high"] >= top)[known].all()
    assert (made["low"] <= bottom)[known].all()
    inside = (made["vwap"] >= made["low"] * (1 - 1e-6)) & (made["vwap"] <= made["high"] * (1 + 1e-6))
    assert inside[known & np.isfinite(made["vwap"])].all()
    assert (made["volume"] >= 0)[known].all()
    for mask in ("member", "listed", "buyable", "sellable"):
        np.testing.assert_array_equal(getattr(made, mask), getattr(gappy, mask))
    np.testing.assert_array_equal(made.labels["sector"], gappy.labels["sector"])
    assert made.assets == gappy.assets
    assert (made.times == gappy.times).all()
    moved = np.abs(made["close"] / gappy["close"] - 1.0)
    assert np.nanmean(moved) > 0.05
    assert len(made.corpus) == 0
    assert "synthetic" in made.notes[0]


def test_a_synthetic_bar_has_the_shape_of_one_past_bar(clustered):
    """In block mode the return, the gap, the range and the volume of a bar come from one and the same past bar."""
    (made,) = Augmentation("block", seed=9, block=30).paths_of(clustered)
    real, fake = returns(clustered), returns(made)
    for t, j in ((10, 0), (400, 3), (1200, 19)):
        at = int(np.argmin(np.abs(real[:, j] - fake[t, j])))
        assert real[at, j] == pytest.approx(fake[t, j], abs=1e-9)
        a, b = at + 1, t + 1
        for top, bottom in (("high", "low"), ("open", "close"), ("vwap", "low")):
            expected = clustered[top][a, j] / clustered[bottom][a, j]
            assert made[top][b, j] / made[bottom][b, j] == pytest.approx(expected, rel=1e-9)
        assert made["volume"][b, j] == pytest.approx(clustered["volume"][a, j], rel=1e-9)
        assert real[at - 1, j] == pytest.approx(fake[t - 1, j], abs=1e-9) or (t + 1) % 30 in (0, 1, 2)


def test_limits_and_capitalisation_follow_the_price(gappy):
    (made,) = Augmentation("correlated", seed=1).paths_of(gappy)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(made["cap"] / made["close"], gappy["cap"] / gappy["close"], rtol=1e-4)
    index = made.series["index"]
    assert np.isfinite(index).all()
    assert index[0] == pytest.approx(gappy.series["index"][0])
    assert not np.allclose(index, gappy.series["index"])
    np.testing.assert_array_equal(made.series["vix"], gappy.series["vix"])


@pytest.mark.parametrize("mode", MODES)
def test_equal_seeds_give_equal_panels_and_the_future_is_not_read(gappy, mode):
    recipe = Augmentation(mode, paths=2, seed=11)
    one, two = recipe.paths_of(gappy[:300])
    again = recipe.paths_of(gappy[:300])
    assert [path.source for path in again] == [one.source, two.source]
    assert one.source != two.source
    assert Augmentation(mode, seed=12).paths_of(gappy[:300])[0].source != one.source
    late = {k: np.where(np.arange(500)[:, None] < 300, v, v * 3) for k, v in gappy.fields.items()}
    other = gappy.replace(fields=late)
    assert recipe.paths_of(other[:300])[0].source == one.source
    # Another number of paths does not change the first of them.
    assert Augmentation(mode, paths=1, seed=11).paths_of(gappy[:300])[0].source == one.source


def test_a_synthetic_panel_can_be_learnt_from(gappy):
    (made,) = Augmentation(seed=1).paths_of(gappy)
    values = evaluate(load_library("classic"), made).values
    known = np.isfinite(values[300:]).mean()
    assert known == pytest.approx(np.isfinite(evaluate(load_library("classic"), gappy).values[300:]).mean(), abs=0.05)
    target = forward_returns(made, Market(), horizon=5).values
    assert np.isfinite(target).sum() == np.isfinite(forward_returns(gappy, Market(), horizon=5).values).sum()


def test_prices_alone_suffice(planted):
    panel = planted(80, 6)  # open and close, and fields that are no prices
    (made,) = Augmentation("regime").paths_of(panel)
    np.testing.assert_array_equal(made["x"], panel["x"])
    assert not np.allclose(made["close"], panel["close"])


def test_an_asset_without_returns_stays_as_it_is(planted):
    panel = planted(80, 6)
    one = np.zeros(panel.shape, bool)
    one[40, 2] = True  # a single known bar
    fields = {k: np.where((np.arange(6) == 2) & ~one, np.nan, v) for k, v in panel.fields.items()}
    for mode in MODES:
        (made,) = Augmentation(mode).paths_of(panel.replace(fields=fields))
        np.testing.assert_array_equal(made["close"][:, 2], fields["close"][:, 2])


def test_the_shrunk_correlation_by_hand_and_against_scikit_learn():
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 90)) + rng.normal(size=(60, 1))
    x /= np.sqrt((x**2).mean(axis=0))
    expected, _ = ledoit_wolf(x, assume_centered=True)
    np.testing.assert_allclose(shrunk_correlation(x), expected, atol=1e-9)
    assert np.linalg.eigvalsh(shrunk_correlation(x)).min() > 0
    lonely = np.column_stack([x[:, 0], np.zeros(60)])
    assert shrunk_correlation(lonely)[0, 1] == 0


def test_states_follow_volatility(clustered):
    past = fit_past(clustered)
    assert past.state.min() == 0
    assert past.state.max() == 2
    assert (past.sigma_by_state[2] > 2 * past.sigma_by_state[0]).all()


def test_settings_that_no_fit_could_use_are_refused(clustered):
    for bad in ({"mode": "gbm"}, {"paths": 0}, {"block": 0}, {"weight": 0.6}, {"weight": 0.0}, {"seed": -1}):
        with pytest.raises(DataError) as fault:
            Augmentation(**bad)
        assert fault.value.where == f"Augmentation.{next(iter(bad))}"
    with pytest.raises(SolveError):
        Augmentation(block=50).paths_of(clustered[:20])
