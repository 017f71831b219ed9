"""The daily job's tables: tonight's orders for a person, and a line a day for a replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloom.study.serving import columns_of

if TYPE_CHECKING:
    from rich.console import Console

    from alphaloom.app.daily import Timed
    from alphaloom.production import Day

__all__ = ["show_days"]

_SHOWN = 40
_ODD = {
    "members_without_price": "of the members without a price today",
    "held_without_price": "of the holdings without a price today, which keep their weight",
    "delisted_holdings": "of the holdings delisted and paid out at the last close",
    "unstored_models": "model without a stored form: learned again in this process",
    "weekdays_skipped": "of the weekdays before today without a bar",
}


def show_days(done: Sequence[Timed], console: Console, *, rows: int = _SHOWN) -> None:
    """Print one day with its orders, or several with a line each and the last one's orders."""
    if len(done) > 1:
        _show_span(done, console)
    _show_day(done[-1].day, console, rows=rows)
    took = np.array([one.seconds for one in done])
    if len(done) == 1:
        console.print(f"took {took[0]:.2f} s")
    else:
        middle, most = np.median(took), took.max()
        console.print(
            f"took {took.sum():.1f} s for {len(done)} days: {middle:.3f} s a day (median), {most:.2f} s at most"
        )


def _show_span(done: Sequence[Timed], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("day", "equity", "cash", "held", "orders", "refused", "ended", ""):
        table.add_column(title, justify="left" if title in ("day", "") else "right")
    shown = done if len(done) <= 30 else [*done[:10], None, *done[-10:]]
    for one in shown:
        if one is None:
            table.add_row("...")
            continue
        day = one.day
        ended = f"{sum(report.status == 'filled' for report in day.heard)}/{len(day.heard)}" if day.heard else ""
        cells = [_money(day.facts["book"][name]) for name in ("equity", "cash")]
        counts = [str(day.counts[name]) for name in ("held", "orders", "refused")]
        table.add_row(str(day.time)[:10], *cells, *counts, ended, "again" if day.repeated else "")
    console.print(table)
    console.print()


def _show_day(day: Day, console: Console, *, rows: int) -> None:
    from rich.text import Text

    book = day.facts["book"]
    word = "run before, nothing changed" if day.repeated else "done"
    console.print(
        Text(str(day.time)[:10], style="bold")
        + Text(f"  {word}; fold {day.facts['fold']}, {day.counts['views']} views, {day.counts['held']} held")
    )
    console.print(f"equity {_money(book['equity'])}, cash {_money(book['cash'])} at the close")
    if day.stopped:
        console.print(Text(f"stopped by {day.stopped}: nothing was sent", style="bold red"))
    _show_orders(day, console, rows=rows)
    for name, meaning in _ODD.items():
        if day.counts.get(name):
            console.print(Text(f"note: {day.counts[name]} {meaning}", style="yellow"))
    for name, number in day.counts.items():
        if name.startswith("policy.") and number:
            console.print(f"policy: {number} {name.removeprefix('policy.')}")
    for note in day.facts["notes"]:
        console.print(Text(f"note: {note}"))
    _show_agreement(day, console)
    console.print(f"files: {day.folder}", soft_wrap=True)


def _show_orders(day: Day, console: Console, *, rows: int) -> None:
    from rich.table import Table

    columns = columns_of((day.folder / "orders.parquet").read_bytes())[0]
    count = len(columns["asset"])
    if not count:
        console.print("no orders: everything that is held is kept")
        return
    held = _held(day)
    table = Table(box=None, pad_edge=False)
    for title in ("", "asset", "shares", "price", "value", "weight", "refused because"):
        table.add_column(title, justify="right" if title in ("shares", "price", "value", "weight") else "left")
    # Sales first, the largest on top: they pay for the rest.
    order = np.lexsort((-np.abs(columns["value"]), columns["value"] > 0))
    for at in order[:rows]:
        refused = str(columns["refused"][at])
        before = held.get(str(columns["asset"][at]), 0.0)
        after = before + columns["weight"][at]
        table.add_row(
            "refused" if refused else ("buy" if columns["shares"][at] > 0 else "sell"),
            str(columns["asset"][at]),
            f"{abs(columns['raw_shares'][at]):,.{_digits(columns['raw_shares'][at])}f}",
            f"{columns['raw_price'][at]:,.2f}",
            _money(abs(columns["value"][at])),
            f"{before:.1%} to {after:.1%}",
            refused,
            style="red" if refused else None,
        )
    console.print(table)
    if count > rows:
        console.print(f"and {count - rows} smaller ones")
    bought = columns["value"][(columns["value"] > 0) & (columns["refused"] == "")].sum()
    sold = -columns["value"][(columns["value"] < 0) & (columns["refused"] == "")].sum()
    word = "sent" if day.facts["broker"] != "none" else "not sent, there is no broker"
    console.print(f"{len(day.orders)} orders {word}: buys {_money(bought)}, sells {_money(sold)}")


def _held(day: Day) -> dict[str, float]:
    """Fractions of equity that are held, by asset."""
    columns = columns_of((day.folder / "book.parquet").read_bytes())[0]
    equity = float(day.facts["book"]["equity"])
    rows = np.flatnonzero(columns["shares"])
    return {str(columns["asset"][at]): float(columns["shares"][at] * columns["mark"][at] / equity) for at in rows}


def _show_agreement(day: Day, console: Console) -> None:
    from rich.text import Text

    told: Any = day.agreed
    if told is None:
        return
    if told.agreed:
        console.print("reconciled: the broker says the same about every order and every position")
        return
    console.print(Text(f"not reconciled: {told.silent or 'the broker says something else'}", style="bold red"))
    for name in ("resent", "adopted", "retracted", "lapsed", "foreign", "positions"):
        if found := getattr(told, name):
            console.print(f"  {name}: {', '.join(found[:5])}{' ...' if len(found) > 5 else ''}")


def _digits(shares: float) -> int:
    return 0 if abs(shares - round(shares)) < 1e-6 * max(1.0, abs(shares)) else 2


def _money(value: float) -> str:
    return f"{value:,.0f}"
