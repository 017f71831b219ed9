from __future__ import annotations

import json

import pytest

from alphaloom.errors import DataError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.factors.options import Options
from alphaloom.forecast import LightGBM, Ridge, load_forecaster, save_forecaster, to_state
from alphaloom.market import Market


def test_what_is_not_a_forecaster_is_refused(planted, factors, tmp_path):
    panel = planted(40, 10)
    good = json.loads(save_forecaster(Ridge(factors).fit(panel, Market()), tmp_path / "good.json").read_text())
    broken = {
        "text": "not json",
        "list": "[]",
        "format": json.dumps({**good, "format": 9}),
        "model": json.dumps({**good, "model": "oracle"}),
        "part": json.dumps({key: value for key, value in good.items() if key != "slopes"}),
        "count": json.dumps({**good, "slopes": [0.1]}),
        "members": json.dumps({"format": 1, "model": "blend", "members": [3], "weights": [1.0]}),
        "formula": json.dumps(good).replace('"formula": "x"', '"formula": "x +"'),
    }
    for name, text in broken.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        with pytest.raises(DataError):
            load_forecaster(path)
    with pytest.raises(DataError, match="readable JSON"):
        load_forecaster(tmp_path / "absent.json")


def test_the_options_of_the_factors_are_stored_with_them(planted, factors, tmp_path):
    panel = planted(40, 10)
    loose = FactorSet("loose", (Factor("m", parse("ts_mean(x, 5)")),), Options(min_periods=2))
    fitted = Ridge(loose).fit(panel, Market())
    again = load_forecaster(save_forecaster(fitted, tmp_path / "loose.json"))
    assert again.inputs.factors == loose
    assert again.predict(panel).values.tobytes() == fitted.predict(panel).values.tobytes()
    plain = json.loads(save_forecaster(Ridge(factors).fit(panel, Market()), tmp_path / "plain.json").read_text())
    assert "options" not in plain["inputs"]


def test_damaged_trees_are_refused_at_the_door(planted, factors, tmp_path):
    fitted = LightGBM(factors, trees=3, min_rows=20).fit(planted(60, 10), Market())
    state = {"format": 1, **to_state(fitted), "trees": "tree\nnothing"}
    path = tmp_path / "trees.json"
    path.write_text(json.dumps(state))
    with pytest.raises(DataError, match="trees"):
        load_forecaster(path)


def test_a_foreign_forecaster_has_no_stored_form(tmp_path):
    class Foreign:
        lookback = 0

        def predict(self, panel):
            raise NotImplementedError

    with pytest.raises(DataError, match="Foreign"):
        save_forecaster(Foreign(), tmp_path / "foreign.json")
    assert not list(tmp_path.iterdir())
