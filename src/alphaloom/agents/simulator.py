"""Many copies of one account, stepped together: the exact environment without any learner's interface around it.

Money moves in the ledger alone, so what an agent earns here is what the back-test of its weights earns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.action_kernels import new_desk
from alphaloom.agents.actions import checked_actions, left_universe, switched_rows, terms_of
from alphaloom.agents.observed import Observed
from alphaloom.agents.step_kernels import Copies, Log, Outcome, World, gather, reopen, step
from alphaloom.agents.trading import Layout, Trading
from alphaloom.backtest.books import open_books
from alphaloom.errors import AxisError, DataError
from alphaloom.market import Market
from alphaloom.panel import Panel

__all__ = ["Seen", "Simulator", "Step", "Trades"]

Floats = NDArray[np.float64]
Seen = NDArray[np.float32] | dict[str, NDArray[Any]]


class Step(NamedTuple):
    """What one step did to every copy, told before the copies whose episode ended were opened again.

    Shape: (B,) each but `final_portfolio`, (B, N + 1), cash share first.
    Unit: `equity` money at the new close; `cost` money since the last close; `turnover` value traded over equity;
    `invalid` wishes that could not be done; `final_row` the row of the new close.
    Time: `terminated` is ruin; `truncated` is the end of the data or of the episode's length, where a value goes on.
    """

    reward: Floats
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    equity: Floats
    cost: Floats
    turnover: Floats
    invalid: NDArray[np.int64]
    final_row: NDArray[np.int64]
    final_portfolio: NDArray[np.float32]


class Trades(NamedTuple):
    """Orders, one row each, in the order of the copies and of time.

    Shape: (K,) each.   Unit: `row` of the fill; `ordered` and `done` shares, negative to sell; `price` a share; the
    rest money; `status` is a place in `alphaloom.backtest.STATUS`.
    """

    copy: NDArray[np.int64]
    row: NDArray[np.int64]
    asset: NDArray[np.int64]
    status: NDArray[np.int64]
    ordered: Floats
    done: Floats
    price: Floats
    commission: Floats
    tax: Floats
    slippage: Floats
    impact: Floats

    def of(self, copy: int) -> Trades:
        """Those of one copy."""
        own = self.copy == copy
        return Trades(*(column[own] for column in self))

    @staticmethod
    def joined(parts: Sequence[Trades]) -> Trades:
        """One after another."""
        return Trades(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Simulator:
    """B copies of an account that trades on one panel; an episode that ends begins again in the same step.

    Shape: `row` (B,), the close at which each copy decides; `portfolio` (B, N + 1) float32, cash share and weights;
    `equity`, `cash` (B,), money; `shares` (B, N); `usable` (T, N), what may be traded on a row; `asset` (B,), which
    one a copy of mode "binary" trades. All are the live arrays: read them, do not write.
    Time: `rows` is the first decision's row and the row after the last bar, from the first row that can be observed to
    the panel's end if not given. The last bar is only arrived at: from a full episode's start it is one step less than
    there are bars. An asset that leaves the universe is sold; one that is delisted is paid out by the ledger.
    Raises: DataError or AxisError for parts that do not fit; DataError for an action outside the space.
    """

    def __init__(
        self,
        panel: Panel,
        observed: Observed,
        market: Market,
        trading: Trading,
        *,
        count: int = 1,
        seed: int = 0,
        rows: tuple[int, int] | None = None,
    ) -> None:
        T, N = panel.shape
        trading.check(N)
        if observed.usable.shape != (T, N):
            raise AxisError(
                "what is observed has the axes of the panel",
                found=f"{observed.usable.shape}, not {(T, N)}",
                where="observed",
            )
        if count < 1:
            raise DataError("an environment has at least one copy", found=count, where="count")
        first, stop = (observed.first, T) if rows is None else rows
        if not (observed.first <= first and first + 2 <= stop <= T):
            raise DataError(
                "an episode needs a row to decide on and a bar after it",
                found=f"rows {first} to {stop}",
                where="rows",
                fix=f"rows from {observed.first}, the first that can be observed, to at most {T}",
            )
        self.panel, self.observed, self.market, self.trading = panel, observed, market, trading
        self.count, self.rows, self.usable = count, (first, stop), observed.usable
        F = observed.features.shape[2]
        self._world = World(
            usable=np.ascontiguousarray(observed.usable),
            leaving=left_universe(panel),
            switched=switched_rows(panel, trading),
            features=observed.features.reshape(T, N * F),
            market=np.ascontiguousarray(observed.market),
            window=observed.window,
            last=stop - 1,
            length=trading.length if trading.episode == "random" else 0,
        )
        self._terms = terms_of(trading)
        self._books = open_books(panel, market, count=count, ranked=trading.cash_rule == "greedy")
        self._copies = Copies(
            row=np.zeros(count, np.int64),
            age=np.zeros(count, np.int64),
            asset=np.zeros(count, np.int64),
            moments=np.zeros((count, 2)),
            held=np.zeros((count, N), np.int64),
            basis=np.zeros((count, N)),
            portfolio=np.zeros((count, N + 1), np.float32),
        )
        self._desk = new_desk(N)
        self._log = Log(np.zeros(1, np.int64), np.empty((4, 0), np.int64), np.empty((7, 0)))
        self._final_cash, self._final_shares = np.zeros(count), np.zeros((count, N))
        self.row, self.asset, self.portfolio = self._copies.row, self._copies.asset, self._copies.portfolio
        self.equity, self.cash, self.shares = self._books.equity, self._books.cash, self._books.shares
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Open every copy anew; with a seed, from the beginning of the streams of that seed, one for each copy."""
        if seed is not None:
            children = np.random.SeedSequence(seed).spawn(self.count)
            self._streams = [np.random.Generator(np.random.PCG64(child)) for child in children]
        for b in range(self.count):
            self._reopen(b)

    def _reopen(self, b: int) -> None:
        (first, stop), stream = self.rows, self._streams[b]
        row, asset = first, 0
        if self.trading.episode == "random":
            row = int(stream.integers(first, max(first, stop - 1 - self.trading.length) + 1))
        if self.trading.mode == "binary":
            usable = np.flatnonzero(self.usable[row])
            asset = int(usable[stream.integers(len(usable))]) if len(usable) else 0
        reopen(self._books, self._copies, b, row, asset, self.trading.cash)

    def step(self, actions: object) -> Step:
        """Let every copy act at its close and live to the next; copies whose episode ends are opened again.

        Shape: actions (B, N + 1) for mode weights, (B, N) for shares and discrete, (B,) for joint and binary.
        Raises: DataError for an action outside the space; nothing has happened then.
        """
        B, N = self.count, self.usable.shape[1]
        table = checked_actions(actions, self.trading, B, N)
        out = Outcome(
            np.empty(B),
            np.empty(B, bool),
            np.empty(B, bool),
            np.empty(B),
            np.empty(B),
            np.empty(B),
            np.empty(B, np.int64),
        )
        self._log.used[0] = 0
        refused = step(self._books, self._world, self._terms, self._copies, self._desk, table, out, self._log)
        if refused >= 0:
            raise AssertionError(f"the ledger refused the weights of copy {refused} on row {self.row[refused]}")
        final_row, final_portfolio = self.row.copy(), self.portfolio.copy()
        for b in np.flatnonzero(out.terminated | out.truncated):
            self._final_cash[b], self._final_shares[b] = self.cash[b], self.shares[b]
            self._reopen(int(b))
        return Step(*out, final_row, final_portfolio)

    def keep_trades(self) -> None:
        """From now on keep the orders of the latest step."""
        room = self.count * self.usable.shape[1]
        self._log = Log(np.zeros(1, np.int64), np.empty((4, room), np.int64), np.empty((7, room)))

    def trades(self) -> Trades:
        """The orders of the latest step, if they are kept."""
        count = int(self._log.used[0])
        return Trades(*self._log.places[:, :count].copy(), *self._log.numbers[:, :count].copy())

    def trade_through(self, act: Callable[[], object]) -> float:
        """The equity of the first copy at the end of its episode, where `act` says what all do next."""
        while True:
            done = self.step(act())
            if done.terminated[0] or done.truncated[0]:
                return float(done.equity[0])

    def observe(self, layout: Layout | None = None) -> Seen:
        """What every copy sees at its close; new arrays, oldest row of a window first.

        Shape: "flat" (B, 1 + N + M + W * N * F): cash share, weights, market, windows. "dict": market (B, M), features
        (B, W, N, F), portfolio (B, N + 1), mask (B, N). "rows": row (B,), portfolio (B, N + 1), for those who hold the
        features themselves. "finrl" (B, 1 + 2 N + F N): cash, closes, shares, the latest features name by name. With
        mode "binary" the flat layout is the copy's own asset: weight, market, window (B, 1 + M + W * F).
        Missing: the features of an asset that is not usable are 0, and so is the close of one that never had any.
        """
        return self._seen(layout or self.trading.layout, slice(None), self.row, self.portfolio, self.cash, self.shares)

    def observe_final(self, done: Step, copies: NDArray[np.intp], layout: Layout | None = None) -> Seen:
        """What some copies saw at the end of the episode that ended in a step; as `observe`, one row for each."""
        rows, portfolio = done.final_row[copies], done.final_portfolio[copies]
        kind = layout or self.trading.layout
        return self._seen(kind, copies, rows, portfolio, self._final_cash[copies], self._final_shares[copies])

    def _seen(
        self,
        layout: Layout,
        copies: slice | NDArray[np.intp],
        row: NDArray[np.int64],
        portfolio: NDArray[np.float32],
        cash: Floats,
        shares: Floats,
    ) -> Seen:
        world, (_, N, F) = self._world, self.observed.features.shape
        B, M = len(row), world.market.shape[1]
        if layout == "flat":
            single = self.trading.mode == "binary"
            assets = self.asset[copies] if single else self.asset[:0]
            width = 1 + M + world.window * F if single else 1 + N + M + world.window * N * F
            flat = np.empty((B, width), np.float32)
            gather(world, row, assets, portfolio, flat)
            return flat
        if layout == "rows":
            return {"row": row.copy(), "portfolio": portfolio.copy()}
        if layout == "dict":
            mask = self.usable[row]
            return {
                "market": world.market[row],
                "features": self.observed.windows(row),
                "portfolio": portfolio.copy(),
                "mask": mask,
            }
        latest = self.observed.features[row] * self.usable[row][:, :, None]
        marks = np.nan_to_num(self._books.marks[row])
        blocks = (cash[:, None], marks, shares, latest.transpose(0, 2, 1).reshape(B, N * F))
        return np.concatenate(blocks, axis=1, dtype=np.float32, casting="same_kind")
