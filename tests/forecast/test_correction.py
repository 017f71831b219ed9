from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.factors.chain import tradable
from alphaloom.factors.options import Options
from alphaloom.forecast import LightGBM, Ridge, load_model, save_model
from alphaloom.forecast.correction import Correction, uniqueness
from alphaloom.forecast.inputs import Inputs, learn
from alphaloom.market import Market
from alphaloom.metrics import ranking
from alphaloom.signal import forward_returns
from alphaloom.testing import check_forecaster, check_learner

OFF = Correction(
    mask="none",
    winsorize=False,
    fill=False,
    standardise="none",
    neutralise=False,
    orient=False,
    redundancy=1.0,
    uniqueness=False,
)


@pytest.fixture(scope="module")
def panel():
    return simulate(EmbeddedMarket(days=420, assets=40, seed=5, halts=0.01, price_limit=0.05))


@pytest.fixture(scope="module")
def few():
    texts = {
        "reversal": "close / delay(close, 5) - 1",
        "again": "2 * (close / delay(close, 5))",
        "distance": "close / ts_mean(close, 10)",
        "spread": "ts_std(returns, 10)",
        "noise": "rank(volume) - rank(open)",
    }
    return FactorSet("few", tuple(Factor(name, parse(text)) for name, text in texts.items()))


def grids(inputs, panel):
    return np.concatenate([block for _, block in inputs.grids(panel, np.arange(len(panel)))])


def test_a_correction_with_every_step_off_changes_nothing(panel, few):
    plain, off = Inputs(few), Inputs(few, correction=OFF)
    np.testing.assert_array_equal(grids(plain, panel), grids(off, panel))
    assert Ridge(few).fit(panel, Market()).slopes == Ridge(few, correction=OFF).fit(panel, Market()).slopes


def test_masked_cells_are_unknown_and_never_entered_a_window_when_the_mask_comes_first(panel, few):
    keep = tradable(panel)
    assert 0.001 < (~keep & panel.member & panel.listed).mean() < 0.2
    settings = {"neutralise": False, "fill": False, "orient": False, "redundancy": 1.0}
    first, late = (grids(Inputs(few, correction=Correction(mask=m, **settings)), panel) for m in ("first", "post_hoc"))
    assert np.isnan(first.transpose(0, 2, 1)[~keep]).all()
    assert np.isnan(late.transpose(0, 2, 1)[~keep]).all()
    distance = few.names.index("distance")
    told = np.isfinite(first[:, distance]), np.isfinite(late[:, distance])
    assert not (told[0] & ~told[1]).any()
    assert (told[1] & ~told[0]).sum() > 100  # windows that held an untradable close


def test_neutralised_factors_have_no_group_left_and_no_size(panel, few):
    correction = Correction(mask="none", again=False, orient=False, redundancy=1.0, exposures=("size",))
    block = grids(Inputs(few, "zscore", correction=correction), panel)
    t, spread = 300, few.names.index("spread")
    x, known = block[t, spread], np.isfinite(block[t, spread])
    weight = np.sqrt(panel["cap"][t].astype(float))
    mean = np.nansum(np.where(known, x, 0.0) * weight) / weight[known].sum()
    raw = np.where(known, x - mean, 0.0)
    groups = [known & (panel.labels["sector"][t] == code) for code in np.unique(panel.labels["sector"][t][known])]
    left = [abs((weight * raw)[mine].sum() / weight[mine].sum()) for mine in groups]
    assert sum(part < 1e-5 for part in left) >= len(groups) - 2  # a lone member joins another group
    size = np.log(panel["cap"][t].astype(float))[known]
    apart = np.corrcoef((weight[known] * raw[known]), size)[0, 1], np.corrcoef(raw[known], size)[0, 1]
    assert min(map(abs, apart)) < 0.35


def test_directions_and_choice_come_from_training_rows_alone(panel, few):
    learner = Ridge(few, horizon=2, correction=Correction(exposures=("size",)))
    fitted = learner.fit(panel[:300], Market())
    assert len({"reversal", "again"} & set(fitted.inputs.names)) == 1
    assert sum(fitted.importance.values()) == pytest.approx(1.0)
    assert set(fitted.importance) == set(fitted.inputs.names)
    changed = panel.with_field(
        "close", np.where(np.arange(len(panel))[:, None] < 300, panel["close"], 7.0), panel.units["close"]
    )
    assert learner.fit(changed[:300], Market()) == fitted
    assert any("duplicates" in note for note in fitted.notes)


def test_the_law_of_time_holds(panel, few):
    for correction in (
        Correction(exposures=("size",), lag=1, seasoning=3),
        Correction(mask="post_hoc", standardise="normal", exposures=()),
    ):
        learner = Ridge(few, horizon=2, known=0.3, correction=correction)
        check_learner(learner, panel)
        check_forecaster(learner.fit(panel[:250], Market()), panel)


def test_a_corrected_forecaster_is_stored_with_its_chain(panel, few, tmp_path):
    for learner in (
        Ridge(few, correction=Correction(exposures=("size",))),
        LightGBM(few, trees=4, min_rows=50, correction=Correction(fill=False)),
    ):
        fitted = learner.fit(panel[:350], Market())
        again = load_model(save_model(fitted, tmp_path / "model.json"))
        assert again == fitted
        assert again.predict(panel).values.tobytes() == fitted.predict(panel).values.tobytes()


def test_labels_that_overlap_weigh_less(panel, few):
    np.testing.assert_allclose(uniqueness(np.arange(50), 5)[10:40], 0.2)
    np.testing.assert_allclose(uniqueness(np.arange(0, 50, 5), 5), 1.0)
    np.testing.assert_allclose(uniqueness(np.array([0, 1, 9]), 2), [0.75, 0.75, 1.0])
    recipe = Ridge(few, horizon=5, correction=Correction(exposures=("size",)))
    _, table, _ = learn(recipe, panel, Market())
    assert table.weighted
    assert np.median(table.weight) == pytest.approx(0.2)
    assert not learn(Ridge(few, horizon=5), panel, Market())[1].weighted


def test_weights_count_as_repetition(panel, few):
    from alphaloom.forecast.boosting import _grown
    from alphaloom.forecast.ridge import _solved

    _, table, _ = learn(Ridge(few, horizon=1), panel[:150], Market())
    heavy = replace(table, weight=np.where(np.arange(len(table.y)) % 3 == 0, 2.0, 1.0))
    twice = np.sort(np.concatenate([np.arange(len(table.y)), np.arange(0, len(table.y), 3)]))
    doubled = replace(
        table, **{name: getattr(table, name)[twice] for name in ("x", "y", "cell", "weight", "synthetic")}
    )
    np.testing.assert_allclose(_solved(heavy, 0.01)[0], _solved(doubled, 0.01)[0], atol=1e-10)
    plain, other = (_grown(LightGBM(few, min_rows=50), part, trees=3).model_to_string() for part in (table, heavy))
    assert plain != other


def test_without_market_value_size_is_the_money_traded(panel, few):
    fields = {name: panel[name] for name in ("open", "high", "low", "close", "volume", "vwap")}
    plain = panel.replace(fields=fields, units={name: panel.units[name] for name in fields})
    fitted = Ridge(few, correction=Correction(exposures=("size",))).fit(plain, Market())
    assert any("money traded" in note for note in fitted.notes)
    assert np.isfinite(fitted.predict(plain).values[200:]).any()


def test_a_panel_without_the_label_is_refused_and_an_empty_label_means_none(panel, few):
    bare = panel.replace(labels={}, label_names={})
    with pytest.raises(DataError, match="label"):
        Ridge(few, correction=Correction()).fit(bare, Market())
    assert Ridge(few, correction=Correction(label="", exposures=("size",))).fit(bare, Market()).slopes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mask", "later"),
        ("lag", -1),
        ("deviations", 0.0),
        ("coverage", 1.5),
        ("redundancy", 0.0),
        ("standardise", "x"),
        ("exposures", ("size", "size")),
    ],
)
def test_faults_name_their_setting(name, value):
    with pytest.raises(DataError, match=f"Correction.{name}"):
        Correction(**{name: value})


def test_mask_first_foretells_better_than_post_hoc_where_limits_bind(planted):
    """A tenth of the closes stand at a limit and quote junk; a mean over five bars that saw them is worth less."""
    panel = planted(T=260, N=40, seed=3, strength=0.004)
    rng = np.random.default_rng(1)
    locked = rng.random(panel.shape) < 0.1
    slow = np.apply_along_axis(lambda x: np.convolve(x, np.ones(5) / 5.0)[: len(x)], 0, panel["x"])
    fields = dict(panel.fields)
    fields["x"] = np.where(locked, 12.0 * rng.normal(size=panel.shape), panel["x"])
    steps = 0.02 * rng.normal(size=panel.shape)
    steps[2:] += 0.01 * slow[:-2]
    fields["open"] = 30.0 * np.exp(np.cumsum(steps, axis=0))
    fields["close"] = fields["open"]
    fields["limit_up"] = np.where(locked, fields["close"], 2.0 * fields["close"])
    fields["limit_down"] = 0.5 * fields["close"]
    market = panel.replace(fields=fields, units={**panel.units})
    factor = FactorSet("mean", (Factor("mean", parse("ts_mean(x, 5)")),), Options(min_periods=2))
    target = forward_returns(market, Market(), horizon=1).values[160:]
    worth = {}
    for mask in ("first", "post_hoc"):
        learner = Ridge(factor, horizon=1, correction=replace(OFF, mask=mask))
        said = learner.fit(market[:160], Market()).predict(market).values[160:]
        worth[mask] = np.nanmean(ranking.rank_ic(said, target))
    assert worth["first"] > worth["post_hoc"] + 0.02
