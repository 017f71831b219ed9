"""What an agent sees: scales of the training rows alone, whole windows, nothing of the future."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from alphaloom.agents.observation import Observation, Observed, Observer
from alphaloom.agents.risk_vector import risk_names
from alphaloom.errors import AxisError, DataError, FormulaError
from alphaloom.factors import Factor, FactorSet, evaluate, load_library, parse
from alphaloom.testing import find_leak

MOVES = FactorSet("moves", (Factor("one", parse("returns")), Factor("five", parse("close / delay(close, 5) - 1"))))


def test_scores_have_mean_0_and_deviation_1_on_the_training_rows_and_are_held_at_the_clip(make_panel):
    panel = make_panel(200, 6)
    observer = Observation(MOVES, market=False).fit(panel[:120])
    seen = observer.observe(panel[:120])
    cells = seen.features[seen.usable].astype(np.float64)
    assert seen.features.shape == (120, 6, 2)
    assert seen.features.dtype == np.float32
    assert seen.features.flags.c_contiguous
    assert np.allclose(cells.mean(axis=0), 0.0, atol=1e-6)
    assert np.allclose(cells.std(axis=0), 1.0, atol=1e-6)
    assert seen.first == 5
    narrow = Observation(MOVES, market=False, clip=0.5).fit(panel[:120]).observe(panel)
    assert np.abs(narrow.features).max() == 0.5
    assert (np.abs(narrow.features) == 0.5).mean() > 0.3


def test_rows_after_the_training_slice_change_no_scale(make_panel):
    panel = make_panel(200, 6)
    close = panel["close"].copy()
    close[120:] *= np.linspace(1.0, 50.0, 80)[:, None]
    other = panel.replace(fields={**panel.fields, "close": close})
    assert Observation(MOVES).fit(panel[:120]) == Observation(MOVES).fit(other[:120])
    assert Observation(MOVES).fit(panel[:120]) != Observation(MOVES).fit(panel[:121])


def test_nothing_that_is_seen_changes_with_the_future(make_panel):
    panel = make_panel(420, 5, holes=0.002).replace(series={"vix": np.linspace(10.0, 30.0, 420)})
    observer = Observation("ratio", window=4).fit(panel[:330])

    def seen(part):
        found = observer.observe(part)
        return np.concatenate([found.features.reshape(len(part), -1), found.market, found.usable], axis=1)

    assert find_leak(seen, panel, rows=[290, 350, 400]) is None


@pytest.mark.parametrize("library", ["ratio", "finrl", "qtmrl"])
def test_the_rows_of_the_look_back_give_the_bits_of_the_whole_panel(make_panel, library):
    panel = make_panel(700, 5).replace(series={"vix": np.linspace(10.0, 30.0, 700)})
    observer = Observation(library, window=3).fit(panel[:600])
    whole = observer.observe(panel)
    assert observer.market_names == risk_names(panel)
    for row in (620, 699):
        tail = observer.observe(panel[row - observer.lookback : row + 1], since=observer.lookback)
        assert tail.first == observer.lookback
        assert np.array_equal(tail.windows([observer.lookback]), whole.windows([row]))
        assert np.array_equal(tail.market[-1], whole.market[row])
        assert np.array_equal(tail.usable[-1], whole.usable[row])


def test_an_asset_is_usable_when_its_whole_window_is_known(make_panel):
    panel = make_panel(60, 4)
    close, member = panel["close"].copy(), np.ones((60, 4), bool)
    close[:20, 1] = np.nan  # comes late
    close[40, 2] = np.nan  # one hole
    close[50:, 0] = np.nan  # leaves
    member[30:, 3] = False
    panel = panel.replace(fields={**panel.fields, "close": close}, member=member, listed=None)
    seen = Observation(FactorSet("one", MOVES.factors[:1]), market=False, window=3).fit(panel).observe(panel)
    usable = np.ones((60, 4), bool)
    usable[:3] = False  # the first return is on row 1, a window of three is whole on row 3
    usable[:23, 1] = False
    usable[40:44, 2] = False  # today's and tomorrow's return need the missing close, two more rows the window
    usable[50:, 0] = False
    usable[30:, 3] = False
    assert np.array_equal(seen.usable, usable)
    assert seen.first == 3
    assert np.isfinite(seen.features).all()
    assert (seen.features[40:42, 2] == 0.0).all()


def test_windows_run_from_the_oldest_row_to_the_row_itself(make_panel):
    panel = make_panel(60, 4)
    seen = Observation(MOVES, market=False, window=3).fit(panel).observe(panel)
    found = seen.windows([7, 30])
    assert found.shape == (2, 3, 4, 2)
    assert np.array_equal(found[1], seen.features[28:31])
    early = seen.windows([1])[0]
    assert (early == 0.0).all()  # nothing is usable there


def test_price_levels_are_divided_by_the_close_and_volumes_by_their_mean(make_panel):
    panel = make_panel(120, 4)
    levels = FactorSet("levels", tuple(Factor(name, parse(name)) for name in ("high", "volume", "returns", "close")))
    plain = Observation(levels, market=False, scale="none").fit(panel).observe(panel)
    row = slice(30, None)
    assert np.allclose(plain.features[row, :, 0], (panel["high"] / panel["close"])[row])
    mean = np.stack([panel["volume"][t - 19 : t + 1].mean(axis=0) for t in range(30, 120)])
    assert np.allclose(plain.features[row, :, 1], panel["volume"][row] / mean)
    assert np.allclose(plain.features[row, :, 2], panel["close"][row] / panel["close"][29:-1] - 1, atol=1e-6)
    assert (plain.features[row, :, 3] == 1.0).all()
    raw = Observation(levels, market=False, scale="none", levels="raw").fit(panel).observe(panel)
    assert np.allclose(raw.features[row, :, 0], panel["high"][row])
    scaled = Observation(levels, market=False).fit(panel)
    assert scaled.notes == ("constant on the training rows, so always 0: close",)
    assert (scaled.observe(panel).features[:, :, 3] == 0.0).all()


def test_no_feature_of_a_scaled_observation_moves_with_a_later_split(make_panel):
    panel = make_panel(300, 4)
    split = {n: v * (0.5 if n in ("open", "high", "low", "close", "vwap") else 1.0) for n, v in panel.fields.items()}
    split["volume"] = panel["volume"] * 2.0
    for name in ("ratio", "finrl", "qtmrl"):
        observer = Observation(name, market=False).fit(panel)
        before, after = observer.observe(panel), observer.observe(panel.replace(fields=split))
        assert np.allclose(before.features, after.features, atol=2e-3)


def test_the_market_is_scaled_too_and_a_row_without_it_is_no_row_to_act_on(make_panel):
    vix = np.linspace(10.0, 30.0, 300)
    vix[250:270] = np.nan
    panel = make_panel(300, 5).replace(series={"vix": vix})
    observer = Observation(MOVES).fit(panel[:200])
    # 200 training rows hold neither 252 bars of an index nor 252 returns: those columns are left out, and said to be.
    assert observer.market_names == tuple(n for n in risk_names(panel) if not n.endswith("252"))
    assert observer.notes == ("left out, known on less than half of the training rows: drawdown_252, turbulence_252",)
    seen = observer.observe(panel)
    assert seen.first == 63
    assert np.allclose(seen.market[:200, -1][63:].mean(), observer.observe(panel[:200]).market[63:, -1].mean())
    assert seen.usable[254].all()  # a series may be five rows old
    assert not seen.usable[255:270].any()
    assert seen.usable[270:].all()
    assert np.isfinite(seen.market).all()
    with pytest.raises(DataError, match="vix"):
        observer.observe(panel.replace(series={}))


def test_an_own_index_takes_the_place_of_the_mean_of_the_universe(make_panel):
    level = 100.0 * np.cumprod(1.0 + np.random.default_rng(3).normal(0.0, 0.01, 200))
    panel = make_panel(200, 5).replace(series={"sp500": level})
    observer = Observation(MOVES, index="sp500", scale="none").fit(panel)
    found = observer.observe(panel).market[:, observer.market_names.index("index_return_1")]
    assert np.allclose(found[70:], level[70:] / level[69:-1] - 1.0, atol=1e-6)
    with pytest.raises(DataError, match="one of: sp500"):
        Observation(MOVES, index="sp50").fit(panel)


def test_the_layout_has_a_name_that_does_not_depend_on_the_assets_or_the_scales(make_panel):
    base = Observation("ratio", window=2)
    spec = base.fit(make_panel(150, 4)).spec
    assert base.fit(make_panel(180, 7, seed=3)).spec == spec
    others = (
        replace(base, window=3),
        replace(base, clip=4.0),
        replace(base, scale="none"),
        replace(base, market=False),
    )
    assert len({spec, *(other.fit(make_panel(150, 4)).spec for other in others)}) == 5


def test_an_observer_is_stored_as_text_and_numbers(make_panel):
    panel = make_panel(260, 4).replace(series={"vix": np.linspace(10.0, 30.0, 260)})
    for library in ("ratio", "qtmrl"):
        observer = Observation(library, window=2, index="vix").fit(panel[:220])
        again = Observer.from_state(json.loads(json.dumps(observer.state())))
        assert again == observer
        assert again.spec == observer.spec
        assert np.array_equal(again.observe(panel).features, observer.observe(panel).features)
    broken = observer.state() | {"mean": [0.0]}
    with pytest.raises(DataError, match="parts fit"):
        Observer.from_state(broken)


def test_the_order_of_the_assets_has_no_meaning(make_panel):
    panel = make_panel(330, 6)
    turned = np.array([3, 0, 5, 1, 4, 2])
    other = panel.replace(
        assets=tuple(panel.assets[j] for j in turned),
        fields={name: values[:, turned] for name, values in panel.fields.items()},
        labels={},
    )
    observation = Observation("ratio", window=2)
    one, two = (observation.fit(part[:310]).observe(part) for part in (panel, other))
    assert np.allclose(two.features, one.features[:, turned], atol=1e-5)
    assert np.allclose(two.market, one.market, atol=1e-5)
    assert np.array_equal(two.usable, one.usable[:, turned])


def test_assets_outside_the_universe_change_nothing_that_is_looked_at(make_panel):
    panel = make_panel(330, 6)
    member = np.ones(panel.shape, bool)
    member[:, 4] = False
    panel = panel.replace(member=member)
    rng = np.random.default_rng(5)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    for values in fields.values():
        values[:, 4] = rng.lognormal(3.0, 2.0, len(values))
    observer = Observation("ratio", window=3).fit(panel[:310])
    other = panel.replace(fields=fields)
    assert Observation("ratio", window=3).fit(other[:310]) == observer
    one, two = observer.observe(panel), observer.observe(other)
    rows = np.arange(one.first, 330)
    assert np.array_equal(one.windows(rows), two.windows(rows))
    assert np.array_equal(one.market, two.market)
    assert not one.usable[:, 4].any()


def test_formulas_without_their_fields_are_left_out_and_named(make_panel):
    panel = make_panel(120, 4)
    bare = panel.replace(fields={name: panel[name] for name in ("open", "high", "low", "close")})
    observer = Observation("ratio", market=False).fit(bare)
    assert "volume" not in observer.names
    assert observer.notes == ("left out, the panel lacks their fields: volume",)
    with pytest.raises(FormulaError):
        Observation("ratio", market=False).fit(panel).observe(bare)


def test_settings_without_a_meaning_are_refused(make_panel):
    for wrong in ({"window": 0}, {"clip": 0.0}, {"scale": "minmax"}, {"levels": "log"}):
        with pytest.raises(DataError, match=next(iter(wrong))):
            Observation(**wrong)
    with pytest.raises(DataError, match="longer training slice"):
        Observation("qtmrl").fit(make_panel(30, 4))
    with pytest.raises(FormulaError, match="ratio"):
        Observation("ratios").fit(make_panel(30, 4))


def test_own_arrays_are_taken_as_they_are(make_panel):
    panel = make_panel(40, 3)
    values = np.random.default_rng(0).normal(size=(40, 3, 2))
    seen = Observed.of(panel, values, ("x", "y"), market=values[:, 0], window=4)
    assert seen.shape == (40, 3, 2)
    assert np.array_equal(seen.features, values.astype(np.float32))
    assert seen.market_names == ("market_0", "market_1")
    assert seen.first == 3
    assert seen.usable[3:].all()
    assert seen.spec != Observed.of(panel, values, ("x", "z"), window=4).spec


def test_an_unknown_value_on_a_tradable_row_is_named(make_panel):
    panel = make_panel(40, 3)
    values = np.zeros((40, 3, 2))
    values[17, 2, 1] = np.nan
    with pytest.raises(DataError, match="y of A002 at 2015-01-26"):
        Observed.of(panel, values, ("x", "y"))
    member = np.ones((40, 3), bool)
    member[17, 2] = False
    seen = Observed.of(panel.replace(member=member), values, ("x", "y"))
    assert not seen.usable[17, 2]
    assert np.isfinite(seen.features).all()
    seen = Observed.of(panel, values, ("x", "y"), usable=member)
    assert not seen.usable[17, 2]
    with pytest.raises(AxisError, match="not \\(40, 3, 1\\)"):
        Observed.of(panel, values, ("x",))
    with pytest.raises(AxisError, match="market"):
        Observed.of(panel, np.zeros((40, 3, 1)), ("x",), market=np.zeros((39, 2)))


def test_the_ratio_library_says_what_it_says(make_panel):
    panel = make_panel(120, 5)
    factors = load_library("ratio")
    assert len(factors) == 24
    found = evaluate(factors, panel, dtype=np.float64).values[100]
    close, returns = panel["close"], panel["close"][1:] / panel["close"][:-1] - 1
    k = {name: place for place, name in enumerate(factors.names)}
    assert np.allclose(found[:, k["open_close"]], panel["open"][100] / close[100] - 1)
    assert np.allclose(found[:, k["mean_15"]], close[86:101].mean(axis=0) / close[100] - 1)
    assert np.allclose(found[:, k["return_21"]], close[100] / close[79] - 1)
    assert np.allclose(found[:, k["volatility_5"]], returns[95:100].std(axis=0, ddof=1))
    assert np.allclose(found[:, k["volume"]], np.log1p(panel["volume"][100] / panel["volume"][80:101].mean(axis=0)))
    order = (close[100] / close[95] - 1).argsort().argsort()
    assert np.array_equal(found[:, k["rank_return_5"]].argsort().argsort(), order)
