from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloom.compute import processes
from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.factors.options import Options
from alphaloom.forecast import Blend, LightGBM, Ridge, sharing
from alphaloom.forecast.correction import Correction
from alphaloom.forecast.inputs import Inputs, cross_zscore
from alphaloom.market import Market
from alphaloom.portfolio import TopK
from alphaloom.study import Study, WalkForward
from alphaloom.units import ONE


@pytest.fixture
def counted(monkeypatch):
    calls, real = [], sharing.evaluate

    def evaluate(factors, panel, **rest):
        calls.append(len(panel))
        return real(factors, panel, **rest)

    monkeypatch.setattr(sharing, "evaluate", evaluate)
    return calls


def test_a_blend_computes_its_factors_once(planted, factors, counted):
    panel = planted(100, 20)
    blend = Blend((Ridge(factors), LightGBM(factors, trees=5, min_rows=50)), weighting="ic")
    forecaster = blend.fit(panel, Market())
    assert counted == [100]
    forecaster.predict(panel)
    assert counted == [100, 100]
    Ridge(factors).fit(panel, Market())
    assert counted == [100, 100, 100]


def test_slices_get_their_own_rows_and_other_panels_their_own_values(planted, factors, counted):
    panel = planted(60, 10)
    inputs = Inputs(factors, "zscore")

    def read(part):
        return np.concatenate([block for _, block in inputs.grids(part, np.arange(len(part)))])[:, 0]

    with sharing.shared_factors(panel):
        whole = cross_zscore(panel["x"].astype(np.float32))
        for rows in (slice(0, 60), slice(0, 40), slice(13, 60), slice(20, 30)):
            np.testing.assert_array_equal(read(panel[rows]), whole[rows])
        assert counted == [60]
        other = panel.with_field("x", panel["x"] ** 2, ONE)
        np.testing.assert_array_equal(read(other), cross_zscore((panel["x"] ** 2).astype(np.float32)))
        with sharing.shared_factors(panel[5:20]):
            read(panel[5:20])
    assert counted == [60, 60]


def test_sharing_changes_no_forecast(planted, factors):
    panel = planted(150, 20)
    learner = Ridge(factors, horizon=2)
    alone = learner.fit(panel[:100], Market())
    with sharing.shared_factors(panel):
        assert learner.fit(panel[:100], Market()) == alone
        np.testing.assert_array_equal(alone.predict(panel[50:]).values, alone.predict(panel).values[50:])


@pytest.fixture(scope="module")
def wide():
    return simulate(EmbeddedMarket(days=330, assets=25, seed=3, halts=0.02, price_limit=0.05))


@pytest.fixture(scope="module")
def mixed():
    texts = ["ts_mean(close, 20) / close", "rank(ts_std(returns, 9))", "ts_corr(close, volume, 10)", "zscore(cap)"]
    options = Options(min_periods=3)
    return FactorSet("mixed", tuple(Factor(f"f{k}", parse(text)) for k, text in enumerate(texts)), options)


def bytes_of(inputs, panel):
    return b"".join(block.tobytes() for _, block in inputs.grids(panel, np.arange(len(panel))))


@pytest.mark.parametrize("correction", [None, Correction(lag=2, seasoning=4), Correction(mask="post_hoc")])
def test_shared_or_alone_in_memory_or_on_disk_the_bits_are_the_same(wide, mixed, correction, tmp_path, monkeypatch):
    part = wide[17:]
    for scale in ("rank", "zscore"):
        inputs = Inputs(mixed, scale, correction=correction)
        alone = bytes_of(inputs, part)
        # Small groups and blocks: how the work is cut must not show.
        monkeypatch.setattr(sharing, "_GROUP_BYTES", 1 << 15)
        monkeypatch.setattr(sharing, "_BLOCK_BYTES", 1 << 14)
        for settings in ({}, {"limit": 0}, {"directory": tmp_path / "kept"}, {"directory": tmp_path / "kept"}):
            with sharing.shared_factors(wide, **settings):
                assert bytes_of(inputs, part) == alone
        monkeypatch.undo()


def test_a_named_directory_is_used_again_and_repaired(wide, mixed, counted, tmp_path):
    inputs = Inputs(mixed, "zscore")

    def read():
        with sharing.shared_factors(wide, tmp_path):
            return bytes_of(inputs, wide)

    first = read()
    assert len(counted) == 1
    assert read() == first
    assert len(counted) == 1
    (values,) = tmp_path.glob("*.f4")
    for damage in (lambda b: b[:-4], lambda b: b[:999] + b"\x00\x01\x02\x03" + b[1003:]):
        values.write_bytes(damage(values.read_bytes()))
        before = len(counted)
        assert read() == first
        assert len(counted) == before + 1
    next(tmp_path.glob("*.json")).write_text("{")
    assert read() == first
    assert sorted(item.suffix for item in tmp_path.iterdir()) == [".f4", ".json"]


def test_a_temporary_folder_is_removed_also_after_a_failure(wide, mixed, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail():
        with sharing.shared_factors(wide, limit=0):
            bytes_of(Inputs(mixed), wide)
            assert len(list(tmp_path.rglob("*.f4"))) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_study_gives_the_same_bytes_with_and_without_sharing_and_in_two_processes(wide, mixed):
    study = Study(
        "s", Ridge(mixed, correction=Correction(exposures=("size",))), Market(), WalkForward(200, 60), TopK(5)
    )
    plain = study.run(wide)
    with sharing.shared_factors(wide, limit=0):
        shared = study.run(wide)
    apart = study.run(wide, executor=processes(2))
    for other in (shared, apart):
        assert other.daily["equity"].tobytes() == plain.daily["equity"].tobytes()
        assert other.ic["rank_ic"].tobytes() == plain.ic["rank_ic"].tobytes()


def test_slices_of_slices_are_served_and_what_only_learns_shares_its_factors(planted, factors, counted):
    panel, ridge = planted(200, 20), Ridge(factors, horizon=2, correction=Correction(exposures=(), label=""))
    alone = ridge.fit(panel[10:190][:150], Market())
    counted.clear()
    with sharing.shared_factors(panel):
        within = ridge.fit(panel[10:190][:150], Market())
        for other in ({"orient": False}, {"redundancy": 1.0}, {"uniqueness": False}):
            replace(ridge, correction=replace(ridge.correction, **other)).fit(panel[5:180][3:150], Market())
    assert counted == [200]
    assert within.slopes == alone.slopes
