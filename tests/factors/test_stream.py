"""Factors bar by bar against the same factors on the whole history."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import AxisError, DataError, FormulaError
from alphaloom.factors import OPERATORS, Factor, FactorSet, evaluate, load_library, parse
from alphaloom.factors.stream import load, start

FORMULAS = {
    "rank": "rank(close / delay(close, 5))",
    "line": "ts_slope(close, 12) + ema(volume, 3)",
    "order": "ts_rank(vwap, 9) - ts_median(high, 8)",
    "filled": "ts_backfill(close, 4) + ts_argmax(low, 6)",
    "group": "group_mean(ts_corr(close, volume, 7), sector)",
    "today": "high - low",
    "market": "ts_beta(returns, rate, 15)",
    "constant": "2",
}
SMALL = FactorSet("small", tuple(Factor(name, parse(text)) for name, text in FORMULAS.items()))
FIRST = FactorSet("first", (Factor("today", parse("rank(high - low)")),))


@pytest.fixture
def panel(make_panel):
    whole = make_panel(70, 9, seed=4, holes=0.03)
    rng = np.random.default_rng(1)
    member = rng.random(whole.shape) < 0.9
    return whole.replace(member=member, series={"rate": rng.normal(0, 0.01, 70)})


def with_everything(panel):
    """The fields that the classic library reads beside prices and volume."""
    rng = np.random.default_rng(2)
    names = ("book_equity", "cap", "net_income", "revenue", "total_assets", "shares_out")
    extra = {name: np.exp(rng.normal(10, 0.3, panel.shape)) for name in names}
    return panel.replace(fields={**panel.fields, **extra})


def stream_equals_batch(factors, panel, begin, dtype):
    batch = evaluate(factors, panel, dtype=dtype).values
    state = start(factors, panel[:begin], dtype=dtype)
    for t in range(begin, len(panel)):
        row = state.update(panel[t : t + 1])
        assert row.dtype == batch.dtype
        assert row.tobytes() == batch[t].tobytes(), t
    assert state.last == panel.times[-1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("begin", [1, 10, 50])
def test_every_bar_has_the_bits_of_the_batch(panel, begin, dtype):
    stream_equals_batch(SMALL, panel, begin, dtype)


def every_operator() -> FactorSet:
    """One formula for each operator of the table."""
    words = {
        "series": ("close", "volume", "vwap", "high", "low"),
        "group": ("sector",),
        "window": ("6",),
        "constant": ("0.5", "1.5"),
    }

    def written(operator) -> str:
        given = {kind: iter(names) for kind, names in words.items()}
        return f"{operator.name}({', '.join(next(given[argument.kind]) for argument in operator.arguments)})"

    return FactorSet("all", tuple(Factor(operator.name, parse(written(operator))) for operator in OPERATORS))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_operator_has_the_bits_of_the_batch(panel, dtype):
    stream_equals_batch(every_operator(), panel, 60, dtype)


def test_the_classic_library_has_the_bits_of_the_batch(make_panel):
    panel = with_everything(make_panel(270, 6, seed=8, holes=0.01))
    stream_equals_batch(load_library("classic"), panel, 259, np.float32)


def test_a_set_without_memory_keeps_no_rows(panel):
    stream_equals_batch(FIRST, panel, 1, np.float32)


def test_what_is_kept_does_not_grow_with_the_history(panel, tmp_path):
    sizes = []
    for begin in (45, 65):
        state = start(SMALL, panel[:begin])
        state.update(panel[begin : begin + 1])
        sizes.append(state.save(tmp_path / f"{begin}.npz").stat().st_size)
    assert sizes[0] == sizes[1]


def test_a_saved_state_goes_on_to_the_bit(panel, tmp_path):
    whole = start(SMALL, panel[:30])
    part = start(SMALL, panel[:30])
    for t in range(30, len(panel)):
        file = part.save(tmp_path / "state.npz")
        part = load(file)
        assert part.factors == SMALL
        assert part.names == SMALL.names
        assert part.update(panel[t : t + 1]).tobytes() == whole.update(panel[t : t + 1]).tobytes()


def test_equal_states_are_equal_files_and_none_lies_beside_them(panel, tmp_path):
    first = start(SMALL, panel[:30]).save(tmp_path / "a.npz").read_bytes()
    again = start(SMALL, panel[:30]).save(tmp_path / "b.npz").read_bytes()
    assert first == again
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_options_of_the_set_are_kept(panel, tmp_path):
    from alphaloom.factors.options import Options

    factors = FactorSet(
        "flat", (Factor("c", parse("ts_corr(close, 0 * close, 5)")),), Options(zero_variance_corr="zero")
    )
    state = load(start(factors, panel[:20]).save(tmp_path / "s.npz"))
    assert state.factors.options == factors.options
    assert state.update(panel[20:21]).tobytes() == evaluate(factors, panel[:21]).values[-1].tobytes()


def test_a_row_of_another_float_type_is_taken_as_the_historys(panel):
    state = start(SMALL, panel[:40])
    single = panel.replace(fields={name: grid.astype(np.float32) for name, grid in panel.fields.items()})
    mixed = {name: grid.copy() for name, grid in panel.fields.items()}
    for name, grid in mixed.items():
        grid[40] = single[name][40]
    expected = evaluate(SMALL, panel.replace(fields=mixed)).values[40]
    assert state.update(single[40:41]).tobytes() == expected.tobytes()


# Bad input


@pytest.mark.parametrize("late", [-1, 0])
def test_a_bar_that_is_not_later_is_refused_and_changes_nothing(panel, late):
    state, twin = start(SMALL, panel[:40]), start(SMALL, panel[:40])
    with pytest.raises(DataError, match="later"):
        state.update(panel[39 + late : 40 + late])
    assert state.update(panel[40:41]).tobytes() == twin.update(panel[40:41]).tobytes()


def test_other_assets_are_refused_and_named(panel, make_panel):
    state = start(FIRST, panel[:40])
    with pytest.raises(AxisError, match="A009"):
        state.update(make_panel(70, 10)[40:41])
    swapped = panel.replace(assets=(panel.assets[1], panel.assets[0], *panel.assets[2:]))
    with pytest.raises(AxisError, match="order"):
        state.update(swapped[40:41])


def test_a_bar_without_a_field_series_or_label_is_refused_and_named(panel):
    state = start(SMALL, panel[:40])
    row = panel[40:41]
    with pytest.raises(DataError, match="vwap"):
        state.update(row.replace(fields={name: v for name, v in row.fields.items() if name != "vwap"}))
    with pytest.raises(DataError, match="rate"):
        state.update(row.replace(series={}))
    with pytest.raises(DataError, match="sector"):
        state.update(row.replace(labels={}, label_names={}))
    assert np.isfinite(state.update(row)).any()


def test_more_or_less_than_one_bar_is_refused(panel):
    state = start(SMALL, panel[:40])
    for stop in (40, 42):
        with pytest.raises(AxisError, match="one bar"):
            state.update(panel[40:stop])


def test_a_history_must_have_rows_and_names(panel):
    with pytest.raises(AxisError):
        start(SMALL, panel[:0])
    with pytest.raises(FormulaError, match="rate"):
        start(SMALL, panel.replace(series={}))
    with pytest.raises(FormulaError, match="float"):
        start(SMALL, panel, dtype=np.int64)


def test_a_damaged_or_absent_file_is_said_so(panel, tmp_path):
    file = start(SMALL, panel[:40]).save(tmp_path / "state.npz")
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"text", whole.replace(b'"format": 1', b'"format": 7')):
        file.write_bytes(damaged)
        with pytest.raises(DataError):
            load(file)
    with pytest.raises(DataError):
        load(tmp_path / "absent.npz")
    with pytest.raises(DataError, match="folder"):
        start(SMALL, panel[:40]).save(tmp_path / "absent" / "state.npz")
