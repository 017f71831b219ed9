from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphaloom.errors import DataError
from alphaloom.portfolio import LongShort
from alphaloom.roles import ScheduledPolicy
from alphaloom.signal import Signal
from alphaloom.testing import check_policy


def test_a_fifth_of_five_is_one_on_each_side(make_panel, book_of):
    panel = make_panel(1, 5)
    policy = LongShort(quantile=0.2, gross=1.0).policy(Signal(panel.times, panel.assets, [[3, 1, 5, 2, 4]]))
    assert isinstance(policy, ScheduledPolicy)
    assert policy.weights(panel).tolist() == [[0, -0.5, 0.5, 0, 0]]
    assert policy.decide(panel, book_of(panel)).tolist() == [0, -0.5, 0.5, 0, 0]


def test_only_members_with_a_score_and_a_close_count(make_panel):
    panel = make_panel(2, 6)
    member = panel.member.copy()
    member[1, 0] = False
    close = panel["close"].copy()
    close[1, 1] = np.nan
    panel = panel.replace(member=member, fields={**panel.fields, "close": close})
    values = [[1, 2, 3, 4, 5, 6], [9, 8, 3, 4, np.nan, 6]]
    weights = LongShort(quantile=0.5, gross=2.0).policy(Signal(panel.times, panel.assets, values)).weights(panel)
    np.testing.assert_allclose(weights[0], [-1 / 3] * 3 + [1 / 3] * 3, rtol=1e-14)
    assert weights[1].tolist() == [0, 0, -1, 0, 0, 1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.1, 0.2, 1 / 3, 0.5]), st.integers(1, 4))
def test_both_sides_weigh_the_same_and_decisions_agree(make_panel, book_of, seed, quantile, every):
    rng = np.random.default_rng(seed)
    panel = make_panel(9, 11, seed=seed % 50, holes=0.1)
    values = np.where(rng.random(panel.shape) < 0.2, np.nan, rng.integers(0, 5, panel.shape).astype(float))
    policy = LongShort(quantile=quantile, gross=1.6, every=every).policy(Signal(panel.times, panel.assets, values))
    table = policy.weights(panel)
    for t in range(len(panel)):
        row = policy.decide(panel[: t + 1], book_of(panel[: t + 1]))
        np.testing.assert_array_equal(row, table[t])
        if t % every:
            assert np.isnan(row).all()
        elif np.isfinite(row).all():
            able = panel.member[t] & np.isfinite(panel["close"][t]) & np.isfinite(values[t])
            assert abs(row.sum()) < 1e-12
            assert abs(np.abs(row).sum() - 1.6) < 1e-12
            assert (row[able & (row > 0)].size, row[able & (row < 0)].size) == ((row > 0).sum(), (row < 0).sum())
            assert values[t][row > 0].min() >= values[t][row < 0].max()
            middle = values[t][able & (row == 0)]
            if middle.size:
                assert values[t][row > 0].min() >= middle.max()
                assert values[t][row < 0].max() <= middle.min()
    np.testing.assert_array_equal(policy.weights(panel[:5]), table[:5])


def test_the_days_do_not_depend_on_where_the_panel_starts(make_panel):
    panel = make_panel(30, 8)
    signal = Signal(panel.times, panel.assets, np.random.default_rng(2).normal(size=panel.shape))
    policy = LongShort(every=4).policy(signal)
    np.testing.assert_array_equal(policy.weights(panel[7:]), policy.weights(panel)[7:])
    check_policy(policy, panel)


def test_too_few_assets_hold(make_panel):
    panel = make_panel(1, 4)
    policy = LongShort(quantile=0.2).policy(Signal(panel.times, panel.assets, [[1, 2, 3, 4]]))
    assert np.isnan(policy.weights(panel)).all()


def test_faults_are_named():
    for wrong in ({"quantile": 0.6}, {"quantile": 0.0}, {"gross": 0.0}, {"every": 0}):
        with pytest.raises(DataError, match="where: LongShort"):
            LongShort(**wrong)
