from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import AxisError, DataError
from alphaloom.nn import Samples


def test_windows_equal_a_loop_and_are_made_when_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    T, N, F, L = 9, 5, 3, 4
    grid = rng.normal(size=(T, N, F)).astype(np.float32)
    grid[rng.random(grid.shape) < 0.1] = np.nan
    mapped = np.memmap(tmp_path / "grid", np.float32, "w+", shape=grid.shape)
    mapped[:] = grid
    date, column = np.nonzero(rng.random((T, N)) < 0.6)
    samples = Samples(mapped, np.zeros(len(date)), date, column=column, length=L)
    rows = np.array([0, 1, len(date) // 2, len(date) - 1])
    found = samples.inputs(rows)
    assert found.shape == (4, L, F)
    for k, r in enumerate(rows):
        for back in range(L):
            t = date[r] - (L - 1) + back
            expected = np.nan_to_num(grid[t, column[r]]) if t >= 0 else np.zeros(F)
            np.testing.assert_array_equal(found[k, back], expected)
    np.testing.assert_array_equal(
        samples.inputs(np.arange(len(date))),
        Samples(grid, np.zeros(len(date)), date, column=column, length=L).inputs(np.arange(len(date))),
    )


def test_points_are_read_as_they_are_and_the_source_stays():
    x = np.array([[1.0, np.nan], [2.0, np.inf], [3.0, 4.0]])
    samples = Samples(x, [1.0, 2.0, 3.0], [0, 0, 1])
    np.testing.assert_array_equal(samples.inputs(np.array([0, 1])), [[1, 0], [2, 0]])
    np.testing.assert_array_equal(samples.inputs(np.array([0, 2])), [[1, 0], [3, 4]])
    assert np.isnan(x[0, 1])
    assert samples.y.shape == (3, 1)


def test_dates_hold_the_samples_that_have_something_to_say():
    y = np.array([[1.0, np.nan], [np.nan, np.nan], [2.0, 3.0], [4.0, 5.0]])
    samples = Samples(np.zeros((4, 1)), y, [3, 3, 3, 7])
    assert [rows.tolist() for rows in samples.dates_of(np.ones(4, bool))] == [[0, 2], [3]]
    assert samples.dates_of(np.zeros(4, bool)) == []


def test_a_hash_sees_every_part():
    def make(**changes):
        parts = {"x": np.arange(8.0).reshape(4, 2), "y": np.arange(4.0), "date": np.arange(4)}
        return Samples(**{**parts, **changes}).digest()

    others = [
        make(x=np.arange(8.0).reshape(4, 2) + 1),
        make(y=np.ones(4)),
        make(date=[0, 0, 1, 2]),
        make(weight=[1, 1, 1, 2]),
        make(fit=[1, 1, 1, 0]),
        make(held=[0, 0, 0, 1], fit=[1, 1, 1, 0]),
    ]
    assert make() == make()
    assert len({make(), *others}) == 7


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"date": [1, 0, 2]}, "samples.date"),
        ({"date": [0, 1]}, "samples.date"),
        ({"weight": [1.0, -1.0, 1.0]}, "samples.weight"),
        ({"weight": [1.0, 1.0]}, "samples.weight"),
        ({"held": [0, 0, 1]}, "samples.held"),
        ({"x": np.zeros((2, 2))}, "samples.x"),
        ({"x": np.zeros((4, 2, 2)), "length": 2}, "samples.x"),
        ({"x": np.zeros((2, 2, 2)), "length": 2, "column": [0, 1, 1]}, "samples.column"),
        ({"x": np.zeros((4, 2, 2)), "length": 2, "column": [0, 1, 2]}, "samples.column"),
    ],
)
def test_samples_that_do_not_fit_each_other_are_refused(parts, where):
    with pytest.raises((AxisError, DataError)) as fault:
        Samples(**{"x": np.zeros((3, 2)), "y": np.zeros(3), "date": [0, 1, 2], **parts})
    assert fault.value.where == where
