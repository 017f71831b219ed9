"""Screens: rows that may be true and deserve a look. They are flagged, counted and kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from alphaloom.data.adjust import adjustment_factors
from alphaloom.data.calendars import sessions
from alphaloom.data.findings import Finding, finding_of

__all__ = ["screen"]

_LARGE, _NOTABLE, _APART = 0.4, 0.2, 0.05
_RATIOS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 1.5)
_STALE = 5

_Screened = tuple[str, str, str, pl.DataFrame, tuple[str, ...]]


def screen(
    frame: pl.DataFrame, method: str, *, splits_in_close: bool, calendar: str | None
) -> tuple[list[Finding], pl.DataFrame]:
    """Findings about a whole table sorted by asset and time, and every flagged row with the rule that flagged it.

    Returns findings and flags; flags hold rule, asset, time, value (what the rule measured).
    """
    moves = _moves(frame, method, splits_in_close)
    screened = [*_move_screens(moves, method), *_stale_screens(frame), *_calendar_screens(frame, calendar)]
    findings, flags = [], []
    for rule, severity, sentence, rows, columns in screened:
        found = finding_of(rule, severity, sentence, rows, columns)
        if found is not None:
            findings.append(found)
            kept = [name for name in ("asset", "time", "value") if name in rows.columns]
            flags.append(rows.select(pl.lit(rule).alias("rule"), *kept))
    empty = pl.DataFrame(schema={"rule": pl.String, "asset": pl.String, "time": pl.Datetime("ns"), "value": pl.Float64})
    return findings, pl.concat([empty, *flags], how="diagonal").sort("rule", "asset", "time", nulls_last=True)


def _moves(frame: pl.DataFrame, method: str, splits_in_close: bool) -> pl.DataFrame:
    """One row per bar that has a known bar before it: the raw and the adjusted return, and the split of the day."""
    factor, _ = adjustment_factors(frame, method, splits_in_close=splits_in_close)
    split = pl.col("split").fill_null(1.0).replace(0.0, 1.0) if "split" in frame.columns else pl.lit(1.0)
    bars = frame.select("asset", "time", "open", "close", split=split if splits_in_close else pl.lit(1.0))
    bars = bars.with_columns(factor=pl.Series(factor)).filter(pl.col("close").is_not_null())
    same = pl.col("asset") == pl.col("asset").shift(1)
    bars = bars.with_columns(
        raw=pl.when(same).then(pl.col("close") / pl.col("close").shift(1) - 1),
        adjusted=pl.when(same).then(
            pl.col("close") * pl.col("factor") / (pl.col("close") * pl.col("factor")).shift(1) - 1
        ),
        opening=pl.when(same).then(pl.col("open") / pl.col("close").shift(1)),
    )
    return bars.filter(pl.col("raw").is_not_null())


def _move_screens(moves: pl.DataFrame, method: str) -> Iterator[_Screened]:
    size = pl.col("adjusted").abs()
    apart = ((1 + pl.col("raw")) * pl.col("split") - 1 - pl.col("adjusted")).abs()
    large = moves.filter((size > _LARGE) | ((size > _NOTABLE) & (apart > _APART)))
    yield (
        "large_move",
        "warning",
        "adjusted returns beyond 40 %, or beyond 20 % with the raw return more than 5 points away; kept: some are real",
        large.with_columns(value=pl.col("adjusted")).sort(
            pl.col("adjusted").abs(), descending=True, maintain_order=True
        ),
        ("adjusted", "raw"),
    )
    if method != "none":
        differing = moves.filter(apart > _APART)
        given = method in ("adj_close", "chained")
        yield (
            "adjusted_raw_disagreement",
            "warning" if given else "info",
            "adjusted and raw return more than 5 points apart without a split that explains it "
            + ("(spin-offs, special dividends, wrong adjustment)" if given else "(large dividends and ex-rights days)"),
            differing.with_columns(value=apart).sort(apart, descending=True, maintain_order=True),
            ("raw", "adjusted"),
        )
    ratio = (1 + pl.col("adjusted")).log().abs()
    opened = (pl.col("opening") * (1 + pl.col("adjusted")) / (1 + pl.col("raw"))).log().abs()
    nearest = pl.min_horizontal([(ratio - float(np.log(k))).abs() for k in _RATIOS])
    # A missed split shows at the open already; a crash that ends the day near one half seldom does.
    like = moves.filter((ratio > 0.38) & (nearest < 0.06) & ((opened - ratio).abs() < 0.1))
    yield (
        "split_like_jump",
        "warning",
        "prices that jump by a split's ratio (2, 3, 1/2 ...) from close to open, with no event to explain it",
        like.with_columns(value=1 + pl.col("adjusted")).sort(ratio, descending=True, maintain_order=True),
        ("value", "raw", "adjusted"),
    )


def _stale_screens(frame: pl.DataFrame) -> Iterator[_Screened]:
    """Runs of bars without any movement: all four prices equal the close before."""
    same = pl.col("asset") == pl.col("asset").shift(1)
    still = (
        same
        & (pl.col("close") == pl.col("close").shift(1))
        & (pl.col("open") == pl.col("close"))
        & (pl.col("high") == pl.col("close"))
        & (pl.col("low") == pl.col("close"))
    ).fill_null(False)
    runs = (
        frame.select("asset", "time", "close", still=still)
        .with_columns(run=(~pl.col("still")).cum_sum())
        .filter(pl.col("still"))
        .group_by("asset", "run", maintain_order=True)
        .agg(pl.col("time").first(), last=pl.col("time").last(), value=pl.len().cast(pl.Float64))
        .filter(pl.col("value") >= _STALE)
        .sort("value", descending=True, maintain_order=True)
    )
    yield (
        "stale_run",
        "warning",
        f"runs of at least {_STALE} bars that repeat one price; `value` counts their bars",
        runs,
        ("last", "value"),
    )


def _calendar_screens(frame: pl.DataFrame, calendar: str | None) -> Iterator[_Screened]:
    if frame.height == 0:
        return
    priced = frame.lazy().filter(pl.col("close").is_not_null()).select("asset", "time").collect()
    days = priced.select("asset", time=pl.col("time").dt.truncate("1d"))
    span = days["time"]
    if calendar is None:
        # Without a calendar a session is a day on which at least half of the assets then alive have a bar.
        known = span.unique().sort().to_numpy()
    else:
        stamps = span.to_numpy()
        known = sessions(calendar, stamps.min(), stamps.max())
        odd = days.join(pl.DataFrame({"time": known}), on="time", how="anti")
        yield (
            "not_a_session",
            "warning",
            f"rows on days on which {calendar} was closed; stored, left out of panels",
            odd.sort("time"),
            (),
        )
    daily = days.unique() if (priced["time"] != days["time"]).any() else days
    if calendar is None:
        lives = daily.group_by("asset").agg(first=pl.col("time").min(), last=pl.col("time").max())
        alive = np.searchsorted(np.sort(lives["first"].to_numpy()), known, side="right") - np.searchsorted(
            np.sort(lives["last"].to_numpy()), known, side="left"
        )
        count = daily.group_by("time").len().sort("time")["len"].to_numpy()
        known = known[count * 2 >= alive]
    yield _missing_sessions(daily, known, calendar)


def _missing_sessions(daily: pl.DataFrame, known: np.ndarray, calendar: str | None) -> _Screened:
    """Sessions inside an asset's life without a bar, one row per gap."""
    ordinal = pl.DataFrame({"time": known, "place": np.arange(len(known))})
    placed = daily.join(ordinal, on="time").sort("asset", "place")
    same = pl.col("asset") == pl.col("asset").shift(1)
    gaps = (
        placed.with_columns(
            value=pl.when(same).then(pl.col("place") - pl.col("place").shift(1) - 1).cast(pl.Float64),
            after=pl.col("time").shift(1),
        )
        .filter(pl.col("value") > 0)
        .sort("value", descending=True, maintain_order=True)
    )
    total = int(gaps["value"].sum()) if gaps.height else 0
    named = f"sessions of {calendar}" if calendar else "common trading days"
    return (
        "missing_sessions",
        "info",
        f"gaps inside an asset's life ({total} {named} without a bar); halts to the panel",
        gaps,
        ("after", "value"),
    )
