"""The libraries on real prices with halts and limits: nearly every member has nearly every value."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.data import MarketFiles, Store, import_market
from alphaloom.factors import FactorSet, evaluate, load_library


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("coverage")


def coverage(factors: FactorSet, panel, batch: int = 60) -> dict[str, float]:
    """The share of members with a price that have a value, once the set is warm."""
    warm = slice(factors.lookback, None)
    wanted = (panel.member & np.isfinite(panel["close"]))[warm]
    found = {}
    for k in range(0, len(factors), batch):
        part = FactorSet(factors.name, factors.factors[k : k + batch], factors.options)
        values = evaluate(part, panel).values[warm]
        for j, name in enumerate(part.names):
            found[name] = float((np.isfinite(values[:, :, j]) & wanted).sum() / wanted.sum())
    return found


def test_coverage_on_the_csi_300(shared_data, folder):
    china = shared_data / "china_a_daily"
    extras = MarketFiles(sectors=china / "industry.csv")
    import_market(china / "csi300_2020_2024.parquet", folder / "cn", extras=extras, calendar="XSHG")
    panel = Store(folder / "cn").panel()
    sizes = {}
    for name, mean, least in (("alpha101", 0.98, 0.8), ("alpha158", 0.995, 0.99), ("micro", 0.98, 0.94)):
        factors, _ = load_library(name).supported_by(panel)
        found = coverage(factors, panel)
        sizes[name] = len(found)
        assert np.mean(list(found.values())) > mean, name
        assert min(found.values()) > least, (name, min(found, key=found.get))
        # Divided by the distance of the open from the middle of the day, which is often exactly 0.
        assert name != "alpha101" or min(found, key=found.get) == "alpha066"
    assert sizes["alpha158"] == 158
    assert sizes["alpha101"] >= 90
    assert sizes["micro"] >= 220
