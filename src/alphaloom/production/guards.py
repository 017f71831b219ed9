"""Guards: what is checked between a decision and the broker; every refusal says why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.production.orders import Order, day_text

__all__ = ["Guards", "Refusal", "Verdict"]

_DAILY = 262.0  # markets with at most so many bars a year rest on weekends
_ROOM = 1e-9  # an order that is exactly as large as its limit passes, whatever the rounding


@dataclass(frozen=True)
class Refusal:
    """Why an order is not sent: the guard, and the number that it found."""

    guard: str
    reason: str
    order: Order


@dataclass(frozen=True)
class Verdict:
    """What may be sent, what may not and why, and the reason when the whole day is stopped ("" when it is not)."""

    allowed: tuple[Order, ...]
    refused: tuple[Refusal, ...] = ()
    stopped: str = ""


@dataclass(frozen=True)
class Guards:
    """Limits on what a day may send; infinity, -1 and "" switch one off.

    `max_order` bounds one order, `max_position` what is held after it (an order that makes a position smaller always
    passes), `max_turnover` all orders of the day together.
    `stale_bars`: a panel whose last bar lies more than so many bars before the day that is asked for stops the day,
    and so does an asset without a known close for more than so many bars stop its order. `price_today` refuses orders
    for assets whose close of today is not known. `kill_switch` is a file: while it exists nothing is sent.
    Unit: the three limits are fractions of equity, at the closes of the decision.
    Raises: DataError for a limit that is not positive.
    """

    max_order: float = np.inf
    max_position: float = np.inf
    max_turnover: float = np.inf
    stale_bars: int = -1
    price_today: bool = True
    kill_switch: str = ""

    def __post_init__(self) -> None:
        for item in fields(self)[:3]:
            if not getattr(self, item.name) > 0.0:
                raise DataError(
                    "a limit of a guard is a positive fraction of equity",
                    found=getattr(self, item.name),
                    where=f"Guards.{item.name}",
                    fix="give inf to switch it off",
                )
        if self.stale_bars < -1:
            raise DataError(
                "stale data are counted in bars",
                found=self.stale_bars,
                where="Guards.stale_bars",
                fix="give -1 to switch it off",
            )

    def check(
        self, orders: Sequence[Order], book: Book, panel: Panel, *, today: np.datetime64 | None = None
    ) -> Verdict:
        """Divide the orders into those that may be sent and those that may not.

        Time: `today` is the day that the orders are for; the panel's last bar when it is not given.
        """
        stopped = self._stop(orders, book, panel, today=today)
        if stopped:
            guard, reason = stopped
            return Verdict((), tuple(Refusal(guard, reason, order) for order in orders), f"{guard}: {reason}")
        allowed, refused = [], []
        column = {name: at for at, name in enumerate(panel.assets)}
        for order in orders:
            fault = next(self._faults(order, book, panel, at=column.get(order.asset)), None)
            if fault is None:
                allowed.append(order)
            else:
                refused.append(Refusal(fault[0], fault[1], order))
        return Verdict(tuple(allowed), tuple(refused))

    def _stop(
        self, orders: Sequence[Order], book: Book, panel: Panel, *, today: np.datetime64 | None
    ) -> tuple[str, str] | None:
        """The guard that stops the whole day and why."""
        if self.kill_switch and Path(self.kill_switch).exists():
            return "kill_switch", f"the file {self.kill_switch} exists"
        now = panel.times[-1]
        if book.now != now:
            return "stale_bars", f"the book stands at {day_text(book.now)} and the panel at {day_text(now)}"
        today = now if today is None else today
        late = _bars_between(now, today, panel.periods_per_year)
        if 0 <= self.stale_bars < late:
            return "stale_bars", f"the last bar is {day_text(now)}, {late} bars before {day_text(today)}"
        equity = book.history.equity[-1]
        if not equity > 0.0:
            return "equity", f"the book is worth {equity:,.2f}"
        column = {name: at for at, name in enumerate(panel.assets)}
        values = (abs(o.shares) * book.prices[column[o.asset]] for o in orders if o.asset in column)
        turnover = float(np.nansum(list(values))) / equity
        if turnover > self.max_turnover * (1.0 + _ROOM):
            return "max_turnover", f"the orders trade {turnover:.4f} of equity, more than {self.max_turnover:g}"
        return None

    def _faults(self, order: Order, book: Book, panel: Panel, *, at: int | None) -> Iterator[tuple[str, str]]:
        """What speaks against one order, whose asset is the panel's column `at`."""
        if at is None:
            yield "unknown", "the panel does not hold the asset"
            return
        close = panel["close"][:, at]
        if self.price_today and not 0.0 < close[-1] < np.inf:
            yield "price_today", f"no close is known on {day_text(panel.times[-1])}"
        if self.stale_bars >= 0 and not np.isfinite(close[-1 - self.stale_bars :]).any():
            yield "stale_bars", f"no close was known for more than {self.stale_bars} bars"
        equity, price, held = book.history.equity[-1], book.prices[at], book.shares[at]
        size = abs(order.shares * price) / equity
        if not size <= self.max_order * (1.0 + _ROOM):
            yield "max_order", f"the order is {size:.4f} of equity, more than {self.max_order:g}"
        after = abs((held + order.shares) * price) / equity
        if abs(held + order.shares) > abs(held) and not after <= self.max_position * (1.0 + _ROOM):
            yield "max_position", f"the position would be {after:.4f} of equity, more than {self.max_position:g}"


def _bars_between(last: np.datetime64, today: np.datetime64, periods_per_year: float) -> int:
    """Bars that should have come after `last` up to `today`: working days, or all days in a market without weekends."""
    one, other = last.astype("datetime64[D]"), today.astype("datetime64[D]")
    days = int((other - one).astype(np.int64)) if periods_per_year > _DAILY else int(np.busday_count(one, other))
    return max(days, 0)
