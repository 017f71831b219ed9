"""Many accounts on one tape: each is a row of the same arrays, and every one is moved by the ledger's own functions.

The accounts share one scratch page in place of a journal each: what a bar costs is read from it and forgotten. They
may stand at different bars. Everything here is for compiled callers, and importing it costs numba.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import intrinsic
from numpy.typing import NDArray

from alphaloom.backtest.engine import lay_out, rules_of
from alphaloom.backtest.ledger import Journal, Ledger, Position, Rules, Tape, advance, afford, place
from alphaloom.backtest.tape import WINDOW, impact_rates, lot_sizes
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel, last_known

__all__ = ["Books", "Rules", "account", "afford", "latest_terms", "lend", "lent", "live", "open_account", "open_books"]

Floats = NDArray[np.float64]


class Books(NamedTuple):
    """B accounts, and the market in which they trade.

    Shape: cash, equity (at the last close, before trading) and dead (B,); shares, waiting, mark (B, N); `rank` (B, N),
    the assets in the order in which purchases are served, or (B, 0): all are cut alike; `marks` (T, N) last known
    closes, with which an account is opened; `page` has two rows, a decision's and the next bar's, and is nobody's.
    """

    tape: Tape
    rules: Rules
    cash: Floats
    equity: Floats
    dead: NDArray[np.bool_]
    shares: Floats
    waiting: Floats
    mark: Floats
    rank: NDArray[np.int64]
    marks: Floats
    page: Journal


_compiled = njit(cache=True, nogil=True, error_model="numpy")
_inlined = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


def open_books(panel: Panel, market: Market, *, count: int, ranked: bool = False) -> Books:
    """Accounts in a market, none of them opened yet.

    Raises: DataError for a market that lends: an account here never owes cash.
    """
    if market.leverage != 1.0 or market.short:
        raise DataError(
            "many accounts trade with their own money, long only",
            found=f"leverage {market.leverage:g}, short {market.short}",
            where="market",
            fix="leverage = 1, short = false",
        )
    (_, N), B = panel.shape, count
    nobody = Position(np.zeros(1), np.zeros(1, bool), np.zeros(N), np.zeros(N), np.zeros(N))
    ledger = lay_out(panel, market, start=0, book=nobody, periods_per_year=panel.periods_per_year)
    pages = lay_out(panel[:2], replace(market, impact=0.0), start=0, book=nobody, periods_per_year=1.0)
    close = np.asarray(panel["close"], dtype=np.float64)
    page = pages.journal._replace(
        rows=np.empty((3, 2 * N), np.int32), numbers=np.empty((7, 2 * N)), status=np.empty(2 * N, np.int8)
    )
    return Books(
        tape=ledger.tape,
        rules=ledger.rules,
        cash=np.zeros(B),
        equity=np.zeros(B),
        dead=np.ones(B, bool),
        shares=np.zeros((B, N)),
        waiting=np.zeros((B, N)),
        mark=np.zeros((B, N)),
        rank=np.zeros((B, N if ranked else 0), np.int64),
        marks=np.ascontiguousarray(last_known(np.where((close >= 0.0) & (close < np.inf), close, np.nan))),
        page=page,
    )


def latest_terms(panel: Panel, market: Market) -> tuple[Rules, Floats, Floats]:
    """What trading costs on the last row of a panel: the rules, the lots and the impact rates, as `Books` has them.

    Shape: lots and impact rates (N,), or (0,) where they do not apply.
    """
    lots = lot_sizes(panel, market, len(panel) - 1)[0] if market.lot > 0 else np.empty(0)
    rates = impact_rates(panel[-(WINDOW + 1) :], market)[-1] if market.impact > 0 else np.empty(0)
    return rules_of(market, panel.periods_per_year), lots, rates


@_compiled
def open_account(books: Books, b: int, row: int, cash: float) -> None:
    """Give account b its money at the close of a row, with nothing held."""
    books.cash[b] = cash
    books.equity[b] = cash
    books.dead[b] = False
    books.shares[b, :] = 0.0
    books.waiting[b, :] = 0.0
    books.mark[b, :] = books.marks[row]


def _uncounted(context: Any, array: Any) -> Any:
    """The same array without a count of its references: whoever lends it keeps it alive."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, value=args[0])
        view.meminfo = view.meminfo.type(None)
        view.parent = view.parent.type(None)
        return view._getvalue()

    return array(array), generate


# For arguments of compiled functions only: an array that the function itself made would be freed under the loan.
lent: Any = intrinsic(_uncounted)


@_inlined
def lend(books: Books) -> Books:
    """The same accounts, for the time of the caller: counting references to some thirty arrays at every account and
    every function takes longer than a bar does."""
    tape, page = books.tape, books.page
    return Books(
        Tape(
            lent(tape.price),
            lent(tape.close),
            lent(tape.listed),
            lent(tape.purchase),
            lent(tape.sale),
            lent(tape.lot),
            lent(tape.impact),
        ),
        books.rules,
        lent(books.cash),
        lent(books.equity),
        lent(books.dead),
        lent(books.shares),
        lent(books.waiting),
        lent(books.mark),
        lent(books.rank),
        lent(books.marks),
        Journal(
            lent(page.cash),
            lent(page.equity),
            lent(page.traded),
            lent(page.shares),
            lent(page.prices),
            lent(page.weights),
            lent(page.costs),
            lent(page.settled),
            lent(page.written),
            lent(page.rows),
            lent(page.numbers),
            lent(page.status),
        ),
    )


@_inlined
def account(books: Books, b: int, row: int) -> Ledger:
    """Account b as the ledger knows a book, in a market of two bars, this row's and the next; the arrays are shared.

    Two bars and one small page stay in the fastest memory, wherever on the tape the accounts stand.
    """
    tape, pair = books.tape, slice(row, row + 2)
    bars = Tape(
        tape.price[pair],
        tape.close[pair],
        tape.listed[pair],
        tape.purchase[pair],
        tape.sale[pair],
        tape.lot[pair],
        tape.impact[pair],
    )
    cash, dead, rank = books.cash[b : b + 1], books.dead[b : b + 1], books.rank[b]
    book = Position(cash, dead, books.shares[b], books.waiting[b], books.mark[b], rank)
    return Ledger(bars, books.rules, book, books.page)


@_compiled
def live(books: Books, b: int, row: int, weights: Floats) -> tuple[int, float, float]:
    """Order these weights for account b at the close of a row, and live through the next bar.

    Returns the fault of the weights (0: none), the costs paid and the value traded since the close.
    Time: `equity` is then that of the next close, before anything is decided there. With a fill at the same close the
    costs are those of this row's orders; with a later fill those of the next bar.
    """
    page, ledger = books.page, account(books, b, row)
    page.costs[:] = 0.0
    page.traded[:] = 0.0
    page.written[0] = 0
    page.equity[0] = books.equity[b]
    fault = place(ledger, 0, weights)[0]
    if fault != 0:
        return fault, 0.0, 0.0
    advance(ledger, 1)
    books.equity[b] = page.equity[1]
    return 0, page.costs.sum(), page.traded.sum()
