"""The judge's kernel against a slow loop: medians, robust limits, unknown cells, ties and constant dates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.mining.judge_kernels import standardise


def slowly(values, target, *, least, clip):
    """One date after the other, as one would write it on paper."""
    z, b, facts = np.zeros(values.shape), np.zeros(len(values)), np.zeros((len(values), 2))
    for t, (x, y) in enumerate(zip(values.astype(np.float64), target, strict=True)):
        known = np.isfinite(x) & np.isfinite(y)
        facts[t, 0] = known.sum()
        if known.sum() < least:
            continue
        held = x[known]
        if clip:
            middle = np.median(held)
            reach = 1.4826 * clip * np.median(np.abs(held - middle))
            if reach > 0:
                held = np.clip(held, middle - reach, middle + reach)
        centred = held - held.mean()
        if not centred @ centred > 1e-12 * (held @ held):
            facts[t, 1] = 1.0
            continue
        z[t, known] = centred / np.sqrt(centred @ centred)
        b[t] = z[t, known] @ y[known]
    return z, b, facts


def quickly(values, target, *, least, clip):
    z, b, facts = np.empty(values.shape, np.float32), np.empty(len(values)), np.empty((len(values), 2))
    standardise(values, target, least, clip, z, b, facts)
    return z, b, facts


def agrees(values, target, clip):
    for found, expected in zip(
        quickly(values, target, least=5, clip=clip), slowly(values, target, least=5, clip=clip), strict=True
    ):
        assert np.allclose(found, expected, atol=2e-7)


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "ties", "few known", "constant dates", "infinite"])
@pytest.mark.parametrize("clip", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("assets", [7, 40, 41])
def test_dates_are_standardised_as_on_paper(kind, clip, assets):
    random = np.random.default_rng(assets)
    values = random.normal(size=(30, assets)).astype(np.float32)
    target = random.normal(size=values.shape)
    target[random.random(values.shape) < 0.1] = np.nan
    if kind == "heavy tails":
        values = np.exp(3 * values)
    elif kind == "ties":
        values = np.round(values)
    elif kind == "few known":
        values[random.random(values.shape) < 0.7] = np.nan
    elif kind == "constant dates":
        values[::2] = 3.0
    elif kind == "infinite":
        values[random.random(values.shape) < 0.1] = np.inf
    agrees(values, target, clip)


@given(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 1e6, np.nan]), min_size=5, max_size=24),
    st.sampled_from([0.0, 0.5, 3.0]),
)
@settings(max_examples=150, deadline=None)
def test_any_row_is_standardised_as_on_paper(row, clip):
    values = np.array([row], np.float32)
    agrees(values, np.cos(np.arange(len(row)))[None, :], clip)
