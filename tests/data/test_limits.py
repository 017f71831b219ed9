"""Price limits made from a market's rules."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from alphaloom.data import MarketFiles, Store, import_market
from alphaloom.errors import DataError

START = datetime(2020, 8, 20)


def bars(code: str, *, first: datetime = START, days: int = 8, preclose: float = 10.05, **more) -> pl.DataFrame:
    times = [first + timedelta(days=k) for k in range(days)]
    columns = {name: [10.0] * days for name in ("open", "high", "low", "close")}
    return pl.DataFrame({"date": times, "asset": [code] * days, **columns, "volume": [100.0] * days,
                         "preclose": [preclose] * days, **{k: [v] * days for k, v in more.items()}})  # fmt: skip


def limits(tmp_path, *frames: pl.DataFrame, limits: str = "a_share") -> dict[str, tuple[list[float], list[float]]]:
    import_market(
        [pl.concat(frames, how="diagonal")], tmp_path / "s", calendar=None,
        extras=MarketFiles(limits=limits, adjustment="none"),
    )  # fmt: skip
    panel = Store(tmp_path / "s").panel()
    return {
        name: (
            panel["limit_up"][:, j].astype(float).round(4).tolist(),
            panel["limit_down"][:, j].astype(float).round(4).tolist(),
        )
        for j, name in enumerate(panel.assets)
    }


def test_a_main_board_share_moves_by_a_tenth_rounded_half_up_to_a_cent(tmp_path):
    up, down = limits(tmp_path, bars("sh.600000"))["sh.600000"]
    assert set(up) == {11.06}  # 11.055
    assert set(down) == {9.05}  # 9.045


def test_the_growth_boards_move_by_a_fifth_from_their_reform_on(tmp_path):
    found = limits(tmp_path, bars("300001.SZ", preclose=10.0), bars("688001", preclose=10.0))
    assert found["300001.SZ"][0] == [11.0] * 4 + [12.0] * 4
    assert found["688001"][0] == [12.0] * 8


def test_special_treatment_halves_the_limit_of_a_main_board_share(tmp_path):
    assert set(limits(tmp_path, bars("000001", preclose=10.0, isST=1))["000001"][0]) == {10.5}


def test_a_new_listing_has_no_limit_at_first(tmp_path):
    old, late = bars("600000", preclose=10.0), datetime(2020, 8, 22)
    found = limits(tmp_path, old, bars("688002", first=late, days=6, preclose=10.0), bars("600009", first=late, days=6))
    assert str(found["688002"][0]) == str([float("nan")] * 7 + [12.0])
    assert str(found["600009"][0][2:4]) == str([float("nan"), 11.06])


def test_an_open_at_the_limit_cannot_be_bought(tmp_path):
    frame = bars("600000", preclose=10.0).with_columns(open=pl.Series([11.0, 9.0] + [10.0] * 6).cast(pl.Float32))
    frame = frame.with_columns(high=pl.lit(11.0), low=pl.lit(9.0))
    import_market([frame], tmp_path / "s", calendar=None, extras=MarketFiles(limits="a_share", adjustment="none"))
    panel = Store(tmp_path / "s").panel()
    assert panel.buyable[:3, 0].tolist() == [False, True, True]
    assert panel.sellable[:3, 0].tolist() == [True, False, True]


def test_days_that_are_appended_do_not_make_a_share_new(tmp_path):
    extras = MarketFiles(limits="a_share", adjustment="none")
    import_market([bars("688001", preclose=10.0)], tmp_path / "s", calendar=None, extras=extras)
    more = [bars("688001", first=START + timedelta(days=9), days=2, preclose=10.0),
            bars("600000", first=START + timedelta(days=8), days=3, preclose=10.0)]  # fmt: skip
    import_market([pl.concat(more)], tmp_path / "s", calendar=None, extras=extras)
    panel = Store(tmp_path / "s").panel()
    assert panel["limit_up"][-2:, panel.columns_of(["688001"])[0]].tolist() == [12.0, 12.0]


@pytest.mark.parametrize(
    ("frame", "limits", "said"),
    [
        (bars("AAPL"), "a_share", "six digits"),
        (bars("600000").drop("preclose"), "a_share", "reference price"),
        (bars("600000"), "b_share", "known market"),
    ],
)
def test_what_cannot_have_such_limits_is_refused(tmp_path, frame, limits, said):
    with pytest.raises(DataError, match=said):
        import_market([frame], tmp_path / "s", calendar=None, extras=MarketFiles(limits=limits, adjustment="none"))
