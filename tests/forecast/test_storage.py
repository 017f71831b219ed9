from __future__ import annotations

import json

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.factors.options import Options
from alphaloom.forecast import LightGBM, Ridge, load_model, save_model, storage, to_state
from alphaloom.market import Market


def test_what_is_not_a_forecaster_is_refused(planted, factors, tmp_path):
    panel = planted(40, 10)
    good = json.loads(save_model(Ridge(factors).fit(panel, Market()), tmp_path / "good.json").read_text())
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
            load_model(path)
    with pytest.raises(DataError, match="readable JSON"):
        load_model(tmp_path / "absent.json")


def test_the_options_of_the_factors_are_stored_with_them(planted, factors, tmp_path):
    panel = planted(40, 10)
    loose = FactorSet("loose", (Factor("m", parse("ts_mean(x, 5)")),), Options(min_periods=2))
    fitted = Ridge(loose).fit(panel, Market())
    again = load_model(save_model(fitted, tmp_path / "loose.json"))
    assert again.inputs.factors == loose
    assert again.predict(panel).values.tobytes() == fitted.predict(panel).values.tobytes()
    plain = json.loads(save_model(Ridge(factors).fit(panel, Market()), tmp_path / "plain.json").read_text())
    assert "options" not in plain["inputs"]


def test_damaged_trees_are_refused_at_the_door(planted, factors, tmp_path):
    fitted = LightGBM(factors, trees=3, min_rows=20).fit(planted(60, 10), Market())
    state = {"format": 1, **to_state(fitted), "trees": "tree\nnothing"}
    path = tmp_path / "trees.json"
    path.write_text(json.dumps(state))
    with pytest.raises(DataError, match="trees"):
        load_model(path)


def test_a_foreign_forecaster_has_no_stored_form(tmp_path):
    class Foreign:
        lookback = 0

        def predict(self, panel):
            raise NotImplementedError

    with pytest.raises(DataError, match="Foreign"):
        save_model(Foreign(), tmp_path / "foreign.json")
    assert not list(tmp_path.iterdir())


class Held:
    """A forecaster whose state holds arrays."""

    lookback = 0

    def __init__(self, parts):
        self.parts = parts

    def predict(self, panel):
        raise NotImplementedError

    def state(self):
        return {"parts": self.parts, "deep": [{"x": self.parts["x"] + 1}], "plain": [1, 0.5, "a", None]}

    @classmethod
    def from_state(cls, state):
        assert state["plain"] == [1, 0.5, "a", None]
        np.testing.assert_array_equal(state["deep"][0]["x"], state["parts"]["x"] + 1)
        return cls(state["parts"])


@pytest.fixture
def held(monkeypatch):
    monkeypatch.setitem(storage.MODELS, "held", (__name__, "Held"))
    rng = np.random.default_rng(0)
    return Held({"x": rng.normal(size=(3, 4)).astype(np.float32), "y": np.arange(5), "z": np.zeros((0, 2))})


def test_arrays_lie_beside_the_text_and_come_back_bit_by_bit(held, tmp_path):
    path = save_model(held, tmp_path / "held.json")
    first = {item.name: item.read_bytes() for item in tmp_path.iterdir()}
    assert sorted(name.rpartition(".")[2] for name in first) == ["json", "safetensors"]
    back = load_model(path)
    for name, values in held.parts.items():
        assert back.parts[name].dtype == values.dtype
        assert back.parts[name].tobytes() == values.tobytes()
    save_model(held, path)
    assert {item.name: item.read_bytes() for item in tmp_path.iterdir()} == first
    save_model(Held({"x": np.ones(2)}), path)
    assert len(list(tmp_path.iterdir())) == 2


def test_lost_or_changed_arrays_are_refused(held, tmp_path):
    path = save_model(held, tmp_path / "held.json")
    (arrays,) = tmp_path.glob("*.safetensors")
    blob = arrays.read_bytes()
    arrays.write_bytes(blob[:-1] + b"\x09")
    with pytest.raises(DataError, match="other bytes"):
        load_model(path)
    arrays.unlink()
    with pytest.raises(DataError, match="beside"):
        load_model(path)
