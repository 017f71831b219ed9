from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from alphaloom.factors import load_library
from alphaloom.forecast import Blend, LightGBM, Ridge, load_model, save_model
from alphaloom.market import Market
from alphaloom.metrics import ranking
from alphaloom.roles import Forecaster, Learner
from alphaloom.signal import forward_returns
from alphaloom.testing import check_learner

SMALL = {"trees": 40, "leaves": 7, "min_rows": 100}


def mean_ic(values, panel, horizon=1):
    daily = ranking.rank_ic(values, forward_returns(panel, Market(), horizon=horizon).values)
    return float(np.nanmean(daily)), float(np.nanstd(daily) / np.sqrt(np.isfinite(daily).sum()))


def learners(factors):
    return Ridge(factors, horizon=1), LightGBM(factors, horizon=1, **SMALL)


def test_they_play_their_roles(planted, factors):
    panel = planted(60, 20)
    for learner in learners(factors):
        assert isinstance(learner, Learner)
        forecaster = learner.fit(panel, Market())
        assert isinstance(forecaster, Forecaster)
        signal = forecaster.predict(panel)
        assert (signal.kind, signal.horizon, signal.values.shape) == ("score", 1, (60, 20))
        assert hash(learner) == hash(type(learner)(**learner.__dict__))


def test_a_planted_line_is_found(planted, factors):
    panel = planted(400, 40)
    train, test = panel[:250], panel[250:]
    oracle, _ = mean_ic(test["x"] - 0.5 * test["y"], test)
    for learner in (*learners(factors), Blend(learners(factors))):
        forecaster = learner.fit(train, Market())
        found, _ = mean_ic(forecaster.predict(test).values, test)
        assert found > 0.9 * oracle > 0.2
        importance = forecaster.importance
        assert sum(importance.values()) == pytest.approx(1.0)
        assert importance["x"] > importance["y"] > importance["z"]


def test_noise_is_not_found(planted, factors):
    panel = planted(500, 40, strength=0.0, seed=3)
    for learner in learners(factors):
        found, error = mean_ic(learner.fit(panel[:250], Market()).predict(panel[250:]).values, panel[250:])
        assert abs(found) < 3 * error


def test_trees_find_what_a_line_cannot(planted, factors):
    panel = planted(400, 40, bend=True)
    line, trees = (x.fit(panel[:250], Market()).predict(panel[250:]).values for x in learners(factors))
    assert mean_ic(trees, panel[250:])[0] > mean_ic(line, panel[250:])[0] + 0.15


def test_a_line_by_hand(planted, factors):
    panel = planted(60, 20)
    fitted = Ridge(factors, horizon=1, target="return", scale="zscore", alpha=0.0).fit(panel, Market())
    rows, labels = [], forward_returns(panel, Market(), horizon=1).values
    for t in range(58):
        values = np.stack([panel[name][t] for name in "xyz"], axis=1).astype(np.float32).astype(np.float64)
        rows.append((values - values.mean(axis=0)) / values.std(axis=0))
    design = np.column_stack([np.concatenate(rows), np.ones(58 * 20)])
    expected = np.linalg.lstsq(design, labels[:58].ravel(), rcond=None)[0]
    np.testing.assert_allclose([*fitted.slopes, fitted.intercept], expected, rtol=1e-5, atol=1e-9)
    signal = fitted.predict(panel)
    assert signal.kind == "return"
    np.testing.assert_allclose(signal.values[:58].ravel(), design @ expected, rtol=1e-4, atol=1e-8)
    slopes = [abs(np.array(Ridge(factors, horizon=1, alpha=a).fit(panel, Market()).slopes)).sum() for a in (0, 1, 10)]
    assert slopes[0] > slopes[1] > slopes[2] > 0


def test_dates_without_any_known_factor_have_no_view(planted, factors):
    panel = planted(120, 20)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    for name in "xyz":
        fields[name][90:] = np.nan
    for learner in learners(factors):
        forecaster = learner.fit(panel[:80], Market())
        silent = forecaster.predict(panel.replace(fields=fields)).values
        assert np.isnan(silent[90:]).all()
        assert np.isfinite(silent[:90]).all()
        assert np.isnan(forecaster.predict(panel.replace(fields=fields)[100:]).values).all()


@pytest.mark.parametrize("kind", [0, 1])
def test_no_row_depends_on_later_rows_or_on_its_company(planted, factors, kind):
    panel = planted(120, 20)
    forecaster = learners(factors)[kind].fit(panel[:80], Market())
    whole = forecaster.predict(panel).values
    np.testing.assert_array_equal(forecaster.predict(panel[:100]).values, whole[:100])
    np.testing.assert_array_equal(forecaster.predict(panel[97:98]).values, whole[97:98])


def test_the_law_of_learners(make_panel):
    panel = make_panel(330, 12, holes=0.02)
    library = load_library("classic")
    small = LightGBM(library, trees=8, leaves=4, min_rows=20, patience=3)
    check_learner(Blend((Ridge(library), small)), panel, rows=2, split=0.9)


def test_early_stopping_keeps_fewer_trees_on_noise(planted, factors):
    settings = {"horizon": 1, "trees": 60, "leaves": 7, "min_rows": 100, "patience": 5, "learning_rate": 0.1}
    noise = LightGBM(factors, **settings).fit(planted(250, 30, strength=0.0), Market())
    signal = LightGBM(factors, **settings).fit(planted(250, 30, strength=0.02), Market())
    kept = [int(fitted.notes[0].split()[-2]) for fitted in (noise, signal)]
    assert kept[0] < 20 < kept[1]
    assert [fitted.model.count("Tree=") for fitted in (noise, signal)] == kept


def test_early_stopping_fits_on_labels_that_end_before_the_cut(planted, factors, monkeypatch):
    from alphaloom.forecast import boosting

    calls, grown = [], boosting._grown

    def spy(recipe, table, **rest):
        calls.append((len(table.y), None if rest.get("held") is None else len(rest["held"].y)))
        return grown(recipe, table, **rest)

    monkeypatch.setattr(boosting, "_grown", spy)
    LightGBM(factors, horizon=5, trees=5, min_rows=50, patience=2, holdout=0.25).fit(planted(100, 20), Market())
    # 94 rows have labels; the last 25 bars judge (19 labels); before the cut, 75 - 6 rows have labels that end there.
    assert calls == [(69 * 20, 19 * 20), (94 * 20, None)]


PROGRAM = """
import sys
import numpy as np
from alphaloom import Market, Panel
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.forecast import Blend, LightGBM, Ridge, save_model
rng = np.random.default_rng(5)
x, y, steps = rng.normal(size=(3, 150, 30))
close = np.exp(np.cumsum(0.01 * steps + 0.002 * x, axis=0))
times = (np.datetime64("2010-01-04") + np.arange(150)).astype("datetime64[ns]")
fields = {"open": close, "close": close, "x": x, "y": y}
panel = Panel(times=times, assets=tuple(map(str, range(30))), fields=fields)
factors = FactorSet("f", (Factor("x", parse("x")), Factor("y", parse("y")), Factor("r", parse("ts_mean(x, 5)"))))
learner = Blend((Ridge(factors), LightGBM(factors, trees=30, min_rows=50)), weighting="equal")
forecaster = learner.fit(panel, Market())
save_model(forecaster, sys.argv[1] + ".json")
np.save(sys.argv[1] + ".npy", forecaster.predict(panel).values)
"""


def test_two_processes_give_the_same_bytes(tmp_path, monkeypatch):
    names = {"__name__": "program", "sys": sys}
    monkeypatch.setattr(sys, "argv", ["program", str(tmp_path / "a")])
    exec(compile(PROGRAM, "program", "exec"), names)
    settings = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "b")]
    subprocess.run(command, check=True, env={**os.environ, **settings})
    for suffix in (".json", ".npy"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_scores_depend_on_the_seed_and_not_on_the_threads(planted, factors, monkeypatch):
    monkeypatch.setattr("alphaloom.forecast.boosting._ROWS_PER_THREAD", 1)
    panel = planted(120, 30)

    def values(**settings):
        learner = LightGBM(factors, horizon=1, trees=6, leaves=7, min_rows=100, **settings)
        return learner.fit(panel, Market()).predict(panel).values

    np.testing.assert_array_equal(values(threads=1), values(threads=2))
    assert not np.array_equal(values(seed=0), values(seed=1))


def test_stored_and_loaded_predict_the_same_bits(planted, factors, tmp_path):
    panel = planted(120, 20)
    for learner in (*learners(factors), Blend(learners(factors), weighting="equal")):
        forecaster = learner.fit(panel, Market())
        path = save_model(forecaster, tmp_path / "model.json")
        loaded = load_model(path)
        assert loaded == forecaster
        np.testing.assert_array_equal(loaded.predict(panel).values, forecaster.predict(panel).values)
        assert [item.name for item in tmp_path.iterdir()] == ["model.json"]
