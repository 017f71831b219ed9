"""The regression that takes sectors and styles out of factors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.errors import AxisError, DataError
from alphaloom.factors.chain import design, neutralise, regress_out


def oracle(y, xs, weights, labels):
    """Least squares with explicit dummies, date by date; whichever solution is taken, the residual is the same."""
    out = np.full(y.shape, np.nan)
    for t in range(len(y)):
        ok = np.isfinite(y[t]) & np.isfinite(xs[:, t]).all(axis=0) & (labels[t] >= 0)
        kinds = np.unique(labels[t][ok])
        columns = [np.ones(ok.sum()), *(labels[t][ok] == kind for kind in kinds), *xs[:, t, ok]]
        table, root = np.column_stack(columns).astype(float), np.sqrt(weights[t][ok])
        found = np.linalg.lstsq(table * root[:, None], y[t][ok] * root, rcond=None)[0]
        out[t, ok] = y[t, ok] - table @ found
    return out


def draws(seed=0, T=12, N=60, K=3, F=None, holes=0.1):
    rng = np.random.default_rng(seed)
    y = rng.normal(2.0, 3.0, (T, N) if F is None else (T, N, F))
    y[rng.random(y.shape) < holes] = np.nan
    xs = rng.normal(size=(K, T, N))
    weights = np.exp(rng.normal(size=(T, N)))
    labels = rng.integers(-1, 4, (T, N)).astype(np.int16)
    return y, xs, weights, labels


def test_a_group_mean_is_taken_out_by_hand():
    y = np.array([[1.0, 3.0, 10.0, 30.0]])
    labels = np.array([[0, 0, 1, 1]], np.int16)
    np.testing.assert_allclose(regress_out(y, labels=labels), [[-1.0, 1.0, -10.0, 10.0]])
    weights = np.array([[3.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(regress_out(y, weights=weights, labels=labels), [[-0.5, 1.5, -10.0, 10.0]])


def test_a_line_is_taken_out_by_hand():
    x = np.array([[0.0, 1.0, 2.0, 3.0]])
    y = np.array([[0.0, 2.0, 2.0, 4.0]])  # slope 1.2, intercept 0.2
    np.testing.assert_allclose(regress_out(y, [x]), [[-0.2, 0.6, -0.6, 0.2]], atol=1e-12)


@given(st.integers(0, 10_000), st.sampled_from([0, 1, 3]), st.sampled_from([0.0, 0.15]))
@settings(max_examples=25, deadline=None)
def test_residuals_equal_least_squares_with_dummies(seed, K, holes):
    y, xs, weights, labels = draws(seed, K=K, holes=holes)
    ours = regress_out(y, list(xs), weights, labels)
    np.testing.assert_allclose(ours, oracle(y, xs, weights, labels), atol=1e-9)


def test_many_factors_at_once_equal_each_by_itself():
    y, xs, weights, labels = draws(3, F=70, holes=0.0)
    rng = np.random.default_rng(1)
    y[:, :5, 10:20] = np.nan  # some factors share a pattern of missing values,
    y[rng.random(y.shape) < 0.02] = np.nan  # others have their own
    plan = design(y.shape, list(xs), weights=weights, labels=labels)
    together = neutralise(y, plan).values
    for k in (0, 10, 11, 63, 64, 69):
        np.testing.assert_array_equal(together[:, :, k], regress_out(y[:, :, k], list(xs), weights, labels))


def test_residuals_are_orthogonal_to_styles_and_groups():
    y, xs, weights, labels = draws(5)
    left = regress_out(y, list(xs), weights, labels)
    part = np.nan_to_num(left) * weights
    for x in xs:
        np.testing.assert_allclose((part * x).sum(axis=1), 0.0, atol=1e-9)
    for kind in range(4):
        np.testing.assert_allclose((part * (labels == kind)).sum(axis=1), 0.0, atol=1e-9)


def test_the_order_of_assets_does_not_matter():
    y, xs, weights, labels = draws(7)
    order = np.random.default_rng(2).permutation(y.shape[1])
    one = regress_out(y, list(xs), weights, labels)[:, order]
    other = regress_out(y[:, order], list(xs[:, :, order]), weights[:, order], labels[:, order])
    np.testing.assert_allclose(one, other, atol=1e-11)


def test_cells_outside_the_design_are_unknown_and_change_nothing():
    y, xs, weights, labels = draws(9, holes=0.0)
    member = np.random.default_rng(3).random(y.shape) < 0.8
    clean = regress_out(y, list(xs), weights, labels, member)
    assert np.isnan(clean[~member]).all()
    assert np.isnan(clean[labels < 0]).all()
    poisoned, wild = y.copy(), xs.copy()
    poisoned[~member], wild[:, ~member] = 1e9, 1e9
    np.testing.assert_array_equal(regress_out(poisoned, list(wild), weights, labels, member), clean)


def test_what_is_fully_explained_is_unknown_instead_of_amplified_noise():
    _, xs, weights, labels = draws(11, holes=0.0)
    exact = 5.0 + 2.0 * xs[0] - 3.0 * xs[1]
    assert np.isnan(regress_out(exact, list(xs), weights, labels)).all()
    assert np.isnan(regress_out(exact.astype(np.float32) * 1e3, list(xs), weights, labels)).all()
    assert np.isnan(regress_out(np.full_like(exact, 7.0), list(xs), weights, labels)).all()
    plan = design(exact.shape, list(xs), weights=weights, labels=labels)
    found = neutralise(np.stack([exact, exact + xs[0] ** 2], axis=2), plan)
    assert found.explained[:, 0].all()
    assert not found.explained[:, 1].any()


def test_a_style_that_repeats_another_is_counted_and_harmless():
    y, xs, weights, labels = draws(13, K=2)
    plain = regress_out(y, list(xs), weights, labels)
    twice = design(y.shape, [*xs, xs[0] + 3.0, np.ones_like(xs[0])], weights=weights, labels=labels)
    found = neutralise(y, twice)
    assert found.ridge.all()
    np.testing.assert_allclose(found.values, plain, atol=1e-5)
    single = neutralise(y, design(y.shape, list(xs), weights=weights, labels=labels))
    assert not single.ridge.any()


def test_a_lone_member_joins_its_parent_then_the_rest_then_the_largest_group():
    y = np.array([[1.0, 3.0, 5.0, 10.0, 20.0, 60.0]])
    labels = np.array([[0, 0, 0, 1, 2, 3]], np.int16)
    parents = np.array([[0, 0, 0, 1, 1, 2]], np.int16)
    # 1 and 2 are alone and share parent 1; 3 is alone with nobody beside it and goes to the largest group, 0.
    found = neutralise(y, design(y.shape, labels=labels, parents=parents)).values
    np.testing.assert_allclose(found, [[-16.25, -14.25, -12.25, -5.0, 5.0, 42.75]])
    # Without parents the three lone members are "the rest".
    found = regress_out(y, labels=labels)
    np.testing.assert_allclose(found, [[-2.0, 0.0, 2.0, -20.0, -10.0, 30.0]])


def test_too_few_assets_say_nothing():
    y, xs, weights, _ = draws(15, T=3, N=4, K=3, holes=0.0)
    assert np.isnan(regress_out(y, list(xs), weights)).all()


def test_float32_is_kept_and_close_to_float64():
    y, xs, weights, labels = draws(17)
    narrow = regress_out(y.astype(np.float32), list(xs), weights, labels)
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, regress_out(y, list(xs), weights, labels), atol=2e-6)


def test_blocks_of_dates_give_the_same_bits():
    y, xs, weights, labels = draws(19, F=5)
    plan = design(y.shape, list(xs), weights=weights, labels=labels)
    whole = neutralise(y, plan).values
    parts = [neutralise(y[a : a + 5], plan[a : a + 5]).values for a in range(0, len(y), 5)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_faulty_input_is_refused():
    y, xs, _, _ = draws(21)
    with pytest.raises(AxisError, match="times and assets"):
        regress_out(y, [xs[0][:-1], xs[1][:-1]])
    with pytest.raises(AxisError, match="design's times"):
        neutralise(y[:-1], design(y.shape))
    with pytest.raises(DataError, match="float32 or float64"):
        neutralise(np.ones(y.shape, int), design(y.shape))
