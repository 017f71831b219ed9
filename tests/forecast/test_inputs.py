from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from alphaloom.errors import DataError, FormulaError, SolveError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.forecast import Inputs, LightGBM, Ridge
from alphaloom.forecast.inputs import cross_rank, cross_zscore, learn
from alphaloom.market import Market
from alphaloom.signal import forward_returns


def test_ranks_by_hand():
    row = np.array([[3.0, np.nan, 1.0, 3.0, 2.0]])
    np.testing.assert_allclose(cross_rank(row), [[0.25, np.nan, -0.375, 0.25, -0.125]])
    assert np.isnan(cross_rank(np.full((2, 3), np.nan))).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([np.float32, np.float64]))
def test_ranks_agree_with_scipy_and_scores_with_a_loop(seed, dtype):
    rng = np.random.default_rng(seed)
    grid = rng.integers(0, 5, (3, 4, 9)).astype(dtype)
    grid[rng.random(grid.shape) < 0.3] = np.nan
    rank, score = cross_rank(grid), cross_zscore(grid)
    assert rank.dtype == score.dtype == dtype
    for at in np.ndindex(3, 4):
        row = grid[at]
        known = np.isfinite(row)
        assert np.isnan(rank[at][~known]).all()
        assert np.isnan(score[at][~known]).all()
        if known.any():
            values = row[known].astype(np.float64)
            np.testing.assert_allclose(rank[at][known], (rankdata(values) - 0.5) / known.sum() - 0.5, atol=1e-6)
            spread = values.std() or 1.0
            np.testing.assert_allclose(score[at][known], (values - values.mean()) / spread, atol=1e-5)


def test_a_spread_of_rounding_errors_is_none():
    row = np.array([[0.1 + 0.2, 0.3, 0.3, 0.3]])
    assert cross_zscore(row).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("scale", ["rank", "zscore"])
def test_blocks_see_members_only_and_put_the_unknown_in_the_middle(planted, factors, scale, monkeypatch):
    panel = planted(30, 12)
    rng = np.random.default_rng(1)
    x = np.where(rng.random(panel.shape) < 0.3, np.nan, panel["x"])
    panel = panel.replace(fields={**panel.fields, "x": x}, member=rng.random(panel.shape) < 0.8)
    monkeypatch.setattr("alphaloom.forecast.inputs._BLOCK_BYTES", 4 * 12 * 3 * 7)
    poisoned = panel.replace(
        fields={k: np.where(panel.member, v, 1e9) if k in "xyz" else v for k, v in panel.fields.items()}
    )
    inputs = Inputs(factors, scale, known=0.9)
    seen = 0
    dates = np.arange(30)
    pairs = zip(inputs.blocks(panel, dates), inputs.blocks(poisoned, dates), strict=True)
    for (rows, block, able), (_, other, _) in pairs:
        assert len(rows) <= 7
        np.testing.assert_array_equal(able, panel.member[rows] & np.isfinite(x[rows]))
        np.testing.assert_array_equal(block[able], other[able])
        missing = panel.member[rows] & ~np.isfinite(x[rows])
        assert not block[missing][:, 0].any()
        seen += len(rows)
    assert seen == 30


def test_labels_that_need_later_bars_are_not_learned(planted, factors):
    panel = planted(40, 10)
    for fill, horizon, last in (("next_open", 5, 33), ("same_close", 3, 36)):
        market = Market(fill=fill)
        _, table, _ = learn(Ridge(factors, horizon=horizon, target="return"), panel, market)
        assert table.cell.max() // 10 == last
        truth = forward_returns(panel, market, horizon=horizon).values
        np.testing.assert_array_equal(table.y, truth.ravel()[table.cell])


def test_the_future_of_the_slice_changes_nothing(planted, factors):
    panel = planted(80, 10)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    for values in fields.values():
        values[50:] = 1e6 * np.random.default_rng(0).random(values[50:].shape)
    poisoned = panel.replace(fields=fields)
    for recipe in (Ridge(factors), LightGBM(factors, trees=5, min_rows=20, patience=2)):
        assert recipe.fit(panel[:50], Market()) == recipe.fit(poisoned[:50], Market())
        assert recipe.fit(panel[:50], Market()) != recipe.fit(panel[:60], Market())


def test_labels_are_ranked_among_members_and_dates_are_thinned(planted, factors):
    panel = planted(30, 10)
    member = panel.member.copy()
    member[:, 7:] = False
    panel = panel.replace(member=member)
    _, table, _ = learn(Ridge(factors, horizon=1, every=4), panel, Market())
    rows, columns = np.divmod(table.cell, 10)
    assert sorted(set(rows)) == [0, 4, 8, 12, 16, 20, 24]
    assert columns.max() == 6
    for row in set(rows):
        np.testing.assert_allclose(np.sort(table.y[rows == row]), (np.arange(7) + 0.5) / 7 - 0.5)


def test_factors_without_fields_are_left_out_with_a_note(planted, factors):
    panel = planted(40, 10)
    wanted = FactorSet("more", (*factors.factors, Factor("value", parse("book_equity / cap"))))
    fitted = Ridge(wanted).fit(panel, Market())
    assert fitted.inputs.factors.names == ("x", "y", "z")
    assert fitted.notes == ("1 of 4 factors left out, the panel lacks their fields: value",)
    with pytest.raises(FormulaError, match="book_equity"):
        Ridge(FactorSet("none", (Factor("value", parse("book_equity / cap")),))).fit(panel, Market())


def test_faults_are_named(planted, factors):
    for wrong in ({"horizon": 0}, {"every": 0}, {"known": 0.0}, {"target": "up"}, {"scale": "none"}, {"alpha": -1.0}):
        with pytest.raises(DataError, match="where: Ridge"):
            Ridge(factors, **wrong)
    for wrong in ({"trees": 0}, {"subsample": 0.0}, {"holdout": 1.0}, {"l2": -1.0}, {"patience": -1}):
        with pytest.raises(DataError, match="where: LightGBM"):
            LightGBM(factors, **wrong)
    with pytest.raises(SolveError, match="factors and a label"):
        Ridge(factors, horizon=20).fit(planted(21, 10), Market())
    with pytest.raises(SolveError, match="min_rows"):
        LightGBM(factors).fit(planted(30, 10), Market())
