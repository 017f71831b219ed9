"""From a panel and a market to the arrays that the ledger reads, and to the notes that a reader needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest.result import STATUS, Orders
from alphaloom.market import Market
from alphaloom.panel import Panel, last_known

if TYPE_CHECKING:
    from alphaloom.backtest.ledger import Tape

__all__ = ["describe", "draw_tape", "first_marks", "impact_rates", "latest_values", "lot_sizes", "read_only"]

WINDOW = 20
LEAST = 5
CAUTIOUS = 0.9
# Prices this close to a limit stand at it: far below a tick, far above the rounding of adjusted prices.
AT_LIMIT = 1e-6
_HALTED, _LIMIT, _UNLISTED = (STATUS.index(word) for word in ("halted", "limit", "unlisted"))

_FILLS = {
    "next_open": "weights decided at a close are filled at the open of the next bar",
    "next_close": "weights decided at a close are filled at the close of the next bar",
    "same_close": "weights decided at a close are filled at that same close, which no one can do; use it to compare",
}


def draw_tape(panel: Panel, market: Market, start: int) -> Tape:
    """The rows from `start` on as plain arrays.

    Unit: with a field `adj_factor` (adjusted price = raw price * factor) a value v is v / raw price raw
    shares and v / (raw price * factor) adjusted ones, so a lot of raw shares is lot / factor adjusted shares.
    Missing: a factor that is not known is the last known one, or 1.
    """
    from alphaloom.backtest.ledger import Tape

    none = _floats(np.empty((0, 0)))
    # Rates read 20 bars back and no further, so a book that goes on need not go through its panel's whole past.
    early = max(0, start - WINDOW)
    rows = panel[start:]
    close = _floats(rows["close"])
    price = _floats(rows["open"]) if market.fill == "next_open" else close
    purchase, sale = _verdicts(rows, market, price)
    return Tape(
        price=price,
        close=close,
        listed=rows.listed,
        purchase=purchase,
        sale=sale,
        lot=_floats(lot_sizes(panel, market, start)) if market.lot > 0 else none,
        impact=_floats(impact_rates(panel[early:], market)[start - early :]) if market.impact > 0 else none,
    )


def _verdicts(panel: Panel, market: Market, price: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The status that an order to buy, and one to sell, meets at each bar.

    Time: the flags of the panel speak about the open. For a fill at the close they still tell a halt (neither side is
    open), but whether the price stands at a limit is read from the close and the panel's limits, where it has them.
    """
    closed = ~(panel.buyable | panel.sellable) | ~((price > 0.0) & (price < np.inf))
    sides = []
    for flag, limit, sign in ((panel.buyable, "limit_up", 1.0), (panel.sellable, "limit_down", -1.0)):
        locked = ~flag
        if market.fill != "next_open" and limit in panel.fields:
            # A limit that is not known compares false.
            locked = sign * price >= sign * panel[limit] * (1.0 - sign * AT_LIMIT)
        status = locked * np.int8(_LIMIT)
        np.putmask(status, closed, _HALTED)
        np.putmask(status, ~panel.listed, _UNLISTED)
        sides.append(read_only(status))
    return sides[0], sides[1]


def first_marks(panel: Panel, start: int) -> NDArray[np.float64]:
    """The last known close before `start`, NaN where there is none.   Shape: (N,)."""
    return latest_values(panel["close"], start - 1) if start else np.full(panel.shape[1], np.nan)


def latest_values(values: NDArray[Any], row: int) -> NDArray[np.float64]:
    """The last positive value of each asset at or before a row.   Shape: (T, N) -> (N,).   Missing: NaN without one."""
    last: NDArray[np.float64] = _carried(values[: row + 1], row)[0]
    return last


def _carried(values: NDArray[Any], start: int) -> NDArray[np.float64]:
    """The rows from `start` on, each with the last positive value at or before it.

    Missing: NaN where there is none; only columns that start without a value are looked up in the rows before.
    """
    rows = np.asarray(values[start:], dtype=np.float64)
    rows = np.where((rows > 0.0) & (rows < np.inf), rows, np.nan)
    unknown = np.flatnonzero(np.isnan(rows[0]))
    if start and len(unknown):
        before = np.asarray(values[:start, unknown], dtype=np.float64)
        known = (before > 0.0) & (before < np.inf)
        latest = start - 1 - np.argmax(known[::-1], axis=0)
        rows[0, unknown] = np.where(known.any(axis=0), before[latest, np.arange(len(unknown))], np.nan)
    return last_known(rows)


def impact_rates(panel: Panel, market: Market) -> NDArray[np.float64]:
    """Impact of an order as money per value ** 1.5: coefficient * daily volatility / sqrt(daily money volume).

    Shape: (T, N).
    Time: row t reads rows t-20..t: the standard deviation of the last 20 close-to-close returns and the mean of the
    last 20 money volumes (volume * vwap, or close), so a decision on row t knows them.
    Missing: with fewer than 5 of either known, an asset is charged the 90th percentile of its row, since what is not
    known is seldom cheap; where a row knows no asset, nothing is charged.
    """
    close = np.asarray(panel["close"], dtype=np.float64)
    price = np.asarray(panel["vwap"], dtype=np.float64) if "vwap" in panel.fields else close
    returns = np.full_like(close, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        returns[1:] = close[1:] / close[:-1] - 1.0
        money = np.asarray(panel["volume"], dtype=np.float64) * price
        count, _, deviation = _rolling(returns)
        days, daily, _ = _rolling(money)
        rates = market.impact * deviation / np.sqrt(daily)
    known = (count >= LEAST) & (days >= LEAST) & np.isfinite(rates) & panel.listed
    for row in np.flatnonzero(~known.all(axis=1)):
        here = known[row]
        rates[row, ~here] = np.quantile(rates[row, here], CAUTIOUS) if here.any() else 0.0
    return rates


def _rolling(values: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Count, mean and sample deviation of the known values among the last 20, row by row; exact, no running sums."""
    T, N = values.shape
    padded = np.concatenate([np.full((WINDOW - 1, N), np.nan), values])
    count, total = np.zeros((T, N)), np.zeros((T, N))
    for back in range(WINDOW):
        part = padded[back : back + T]
        known = np.isfinite(part)
        count += known
        total += np.where(known, part, 0.0)
    mean = total / count
    squares = np.zeros((T, N))
    for back in range(WINDOW):
        part = padded[back : back + T]
        squares += np.where(np.isfinite(part), (part - mean) ** 2, 0.0)
    return count, mean, np.sqrt(squares / (count - 1.0))


def lot_sizes(panel: Panel, market: Market, start: int) -> NDArray[np.float64]:
    """The trading unit in adjusted shares on the rows from `start` on.   Shape: (T - start, N)."""
    if "adj_factor" not in panel.fields:
        return np.full((len(panel) - start, panel.shape[1]), market.lot)
    factor = _carried(panel["adj_factor"], start)
    return np.asarray(market.lot / np.where(np.isnan(factor), 1.0, factor))


def _floats(array: NDArray[Any]) -> NDArray[np.float64]:
    """Read-only and contiguous, so that the compiled functions meet one type only."""
    return read_only(np.ascontiguousarray(array, dtype=np.float64))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def describe(
    panel: Panel, market: Market, *, orders: Orders, settled: NDArray[np.float64], bankrupt: np.datetime64 | None
) -> tuple[str, ...]:
    """What a reader of the result must know: the fill, what was not filled, what left the market, what was assumed."""
    notes = [f"fills: {_FILLS[market.fill]}; the last row's weights are not traded"]
    counts = {word: np.count_nonzero(orders.status == code) for code, word in enumerate(STATUS)}
    lapsed = [f"{count} {word}" for word, count in counts.items() if count and word not in ("filled", "partial")]
    if counts["partial"]:
        notes.append(f"orders: {counts['partial']} of {len(orders)} were cut to fit the cash")
    if lapsed:
        notes.append(f"orders: {', '.join(lapsed)} of {len(orders)} were not filled and lapsed")
    if settled[0]:
        less = f" less {market.delist_loss:.0%}, a loss of {settled[1]:,.2f}" if market.delist_loss else ""
        notes.append(f"delistings: {int(settled[0])} holdings were paid their last close{less}")
    if market.impact > 0:
        notes.append(
            f"impact: {market.impact:g} * volatility * sqrt(value / money volume) over {WINDOW} bars; an asset with "
            f"fewer than {LEAST} known bars pays the {CAUTIOUS:.0%} quantile of its row"
        )
    if market.lot > 0 and "adj_factor" not in panel.fields:
        notes.append("lots: the panel has no adj_factor, so a lot counts adjusted shares")
    if market.fill != "next_open" and not {"limit_up", "limit_down"} <= set(panel.fields):
        notes.append("limits: the panel has no price limits, so fills at the close obey the flags of the open")
    if bankrupt is not None:
        notes.append(
            f"bankrupt: equity was gone at {np.datetime_as_string(bankrupt, unit='D')}; nothing was traded after"
        )
    return tuple(notes)
