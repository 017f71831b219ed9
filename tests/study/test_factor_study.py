"""A set of factors judged one by one: what was planted is found, noise is not, and the time of each row is kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from study_cases import MARKET, planted_panel

from alphaloom.errors import DataError, FormulaError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.metrics import ranking
from alphaloom.signal import forward_returns
from alphaloom.study import FactorAnalysis, analyse_factors, analysis_place, write_analysis
from alphaloom.study.tables import columns_of
from alphaloom.units import ONE


def factor_set(**formulas: str) -> FactorSet:
    return FactorSet("tested", tuple(Factor(name, parse(text), "made up") for name, text in formulas.items()))


SET = factor_set(
    tip="tip",
    against="-rank(tip)",
    past="close / delay(close, 5) - 1",
    calm="-ts_std(close / delay(close, 1) - 1, 20)",
    flat="volume - volume",
)


@pytest.fixture(scope="module")
def panel():
    return planted_panel(T=420, N=40, strength=0.3)


@pytest.fixture(scope="module")
def found(panel) -> FactorAnalysis:
    return analyse_factors(SET, panel, market=MARKET, horizons=(1, 5))


def column(found: FactorAnalysis, name: str) -> dict[str, float]:
    return dict(zip(found.names, found.table[name], strict=True))


def test_what_was_planted_is_found_and_nothing_else(found):
    t = column(found, "rank_ic_t")
    assert t["tip"] > 10
    assert t["against"] == pytest.approx(-t["tip"], rel=1e-6)
    assert abs(t["past"]) < 3.5
    stands = column(found, "stands_bh")
    assert stands["tip"]
    assert stands["against"]
    assert column(found, "stands_bonferroni")["tip"]
    assert found.ranking[0] in (0, 1)
    assert found.ranking[-1] == 4
    assert found.facts["stands_bonferroni"] >= 2
    assert column(found, "cluster")["tip"] == column(found, "cluster")["against"]
    assert column(found, "cluster")["tip"] != column(found, "cluster")["calm"]
    assert column(found, "spread")["tip"] > 0 > column(found, "spread")["against"]
    assert column(found, "monotonicity")["tip"] == 1
    assert column(found, "turnover")["calm"] < 0.4 < column(found, "turnover")["tip"]


def test_numbers_equal_those_of_one_factor_alone(found, panel):
    tip = panel["tip"].astype(np.float32).astype(float)
    for h, horizon in enumerate((1, 5)):
        later = np.where(panel.member, forward_returns(panel, MARKET, horizon=horizon).values, np.nan)
        daily = ranking.rank_ic(tip, later)
        facts = ranking.ic_summary(daily, periods_per_year=panel.periods_per_year, horizon=horizon)
        assert found.decay["rank_ic"][0, h] == pytest.approx(facts["mean"])
        assert found.decay["rank_ic_se"][0, h] == pytest.approx(facts["mean"] / facts["t"])
        buckets = ranking.quantile_returns(tip, later)
        assert found.quantiles[0, h] == pytest.approx(np.nanmean(buckets, axis=0), abs=1e-7)
        assert column(found, "strongest_horizon")["tip"] == 1
        if h == 0:
            assert found.rank_ic[:, 0] == pytest.approx(daily, abs=1e-6, nan_ok=True)
            for name, key in (("rank_ic_ir", "ir"), ("rank_ic_annual_ir", "annual_ir"), ("hit_rate", "hit_rate")):
                assert column(found, name)["tip"] == pytest.approx(facts[key])
            assert column(found, "dates")["tip"] == facts["count"]
            half = len(panel) // 2
            assert column(found, "first_half")["tip"] == pytest.approx(np.nanmean(daily[:half]))
            years = panel.times.astype("datetime64[Y]").astype(int) + 1970
            for y, year in enumerate(found.years):
                assert found.yearly[0, y] == pytest.approx(np.nanmean(daily[years == year]))


def test_a_factor_that_never_varies_is_unknown_and_not_zero(found, panel):
    assert np.isnan(column(found, "rank_ic")["flat"])
    assert not column(found, "stands_bh")["flat"]
    assert found.facts["trials"] == 5
    assert column(found, "missing")["calm"] == 0
    assert found.coverage[:20, 3].max() == 0
    assert found.coverage[-1, 3] == 1
    assert column(found, "first")["calm"] == panel.times[20]


def test_earlier_rows_serve_as_look_back_only(panel):
    whole = analyse_factors(SET, panel, market=MARKET, horizons=(1,))
    late = analyse_factors(SET, panel, market=MARKET, horizons=(1,), start=100)
    assert len(late.times) == len(panel) - 100
    assert late.rank_ic == pytest.approx(whole.rank_ic[100:], abs=1e-6, nan_ok=True)
    assert np.isfinite(late.rank_ic[0, 3])
    cut = analyse_factors(SET, panel[100:], market=MARKET, horizons=(1,))
    assert np.isnan(cut.rank_ic[0, 3])


def test_batches_and_threads_change_nothing(panel, found, monkeypatch):
    monkeypatch.setattr("alphaloom.study.factor_study._BATCH_BYTES", 4 * panel.shape[0] * panel.shape[1] * 2)
    told = []
    again = analyse_factors(
        SET, panel, market=MARKET, horizons=(1, 5), threads=3, progress=lambda *step: told.append(step)
    )
    for name in found.table:
        assert np.array_equal(again.table[name], found.table[name]) or np.array_equal(
            again.table[name], found.table[name], equal_nan=True
        )
    assert np.array_equal(again.correlation, found.correlation, equal_nan=True)
    assert told == [("factors", 0, 5), ("factors", 2, 5), ("factors", 4, 5), ("factors", 5, 5)]


def test_outsiders_and_the_future_change_nothing(panel):
    member = np.ones(panel.shape, bool)
    member[:, ::4] = False
    inside = replace(panel, member=member, source="")
    tip = np.array(panel["tip"])
    tip[:, ::4] = 1e6
    poisoned = inside.with_field("tip", tip, ONE)
    clean, dirty = (analyse_factors(SET, one, market=MARKET, horizons=(1,)) for one in (inside, poisoned))
    assert np.array_equal(clean.rank_ic[:, :2], dirty.rank_ic[:, :2], equal_nan=True)
    early = analyse_factors(SET, inside[:300], market=MARKET, horizons=(1,))
    assert np.array_equal(early.rank_ic[:298], clean.rank_ic[:298], equal_nan=True)
    assert np.isnan(early.rank_ic[298:]).all()


def test_notes_are_honest(found, panel):
    said = " ".join(found.notes)
    assert found.notes[0] == "made up"
    for word in ("trials: 5 factors", "in sample", "overlap", "before costs", "next open"):
        assert word in said
    alone = analyse_factors(factor_set(tip="tip"), panel, market=MARKET, horizons=(1,))
    assert "overlap" not in " ".join(alone.notes)
    lacking = analyse_factors(factor_set(tip="tip", gone="nowhere + 1"), panel, market=MARKET, horizons=(1,))
    assert lacking.names == ("tip",)
    assert any("left out: 1 factors" in note and "gone" in note for note in lacking.notes)
    assert lacking.facts["trials"] == 1


def test_noise_is_told_from_skill():
    # One of a hundred worthless factors at most may stand, and their t spread as a standard normal does.
    rng = np.random.default_rng(12)
    panel = planted_panel(T=300, N=60, strength=0.0, seed=9)
    names = {f"noise_{k}": f"noise_{k}" for k in range(100)}
    for name in names:
        panel = panel.with_field(name, rng.normal(size=panel.shape), ONE)
    found = analyse_factors(factor_set(**names), panel, market=MARKET, horizons=(1, 5))
    assert found.facts["stands_bh"] <= 1
    assert found.facts["clusters"] == 100
    assert found.table["rank_ic_t"].std() == pytest.approx(1, abs=0.2)
    # Overlapping returns would spread them twice as wide without the correction.
    overlapping = found.decay["rank_ic"][:, 1] / found.decay["rank_ic_se"][:, 1]
    assert overlapping.std() == pytest.approx(1, abs=0.25)
    strongest = abs(column(found, "rank_ic_t")[found.names[found.ranking[0]]])
    assert strongest == pytest.approx(found.facts["expected_max_t"], abs=1.0)


def test_tables_on_disk_are_complete_and_the_same_twice(found, tmp_path):
    one, two = write_analysis(found, tmp_path / "one"), write_analysis(found, tmp_path / "two")
    files = sorted(path.name for path in one.iterdir())
    tables = ("correlation", "coverage", "decay", "factors", "quantiles", "rank_ic", "yearly")
    assert files == sorted(["factors.json", *(f"{name}.parquet" for name in tables)])
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)
    columns, _ = columns_of((one / "factors.parquet").read_bytes())
    assert columns["name"].tolist() == list(found.names)
    assert columns["rank_ic"] == pytest.approx(found.table["rank_ic"], nan_ok=True)
    decay, _ = columns_of((one / "decay.parquet").read_bytes())
    assert decay["horizon"].tolist() == [1, 5] * 5
    index = json.loads((one / "factors.json").read_text())
    assert [row["rank"] for row in index["factors"]] == [1, 2, 3, 4, 5]
    assert index["factors"][-1]["rank_ic"] is None
    assert index["facts"]["trials"] == 5
    write_analysis(found, one)


def test_a_foreign_folder_is_left_alone(found, tmp_path):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(DataError, match="new folder"):
        write_analysis(found, tmp_path)
    with pytest.raises(DataError, match="into a folder"):
        analysis_place(tmp_path / "result.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json"]


def test_a_factor_may_be_called_time(panel, tmp_path):
    found = analyse_factors(factor_set(time="tip", name="close"), panel, market=MARKET, horizons=(1,))
    place = write_analysis(found, tmp_path / "out")
    columns, _ = columns_of((place / "rank_ic.parquet").read_bytes())
    assert columns["time"][0] == panel.times[0]
    assert np.isfinite(columns["time_"]).sum() > 100


def test_misuse_is_refused(panel):
    for horizons in ((), (0,), (1, 1)):
        with pytest.raises(DataError, match="horizons"):
            analyse_factors(SET, panel, horizons=horizons)
    with pytest.raises(DataError, match="starts inside"):
        analyse_factors(SET, panel, start=len(panel))
    with pytest.raises(FormulaError):
        analyse_factors(factor_set(gone="nowhere"), panel)
