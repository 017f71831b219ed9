"""The limits that an optimiser's configuration may set, and the problem that they make of a day's view and book."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.covariance import Risk
from alphaloom.portfolio.mandate import check_cap
from alphaloom.portfolio.problem import Band, Problem, make_problem
from alphaloom.portfolio.rows import tradable_now

__all__ = ["MONEY_BARS", "Limits", "Situation", "read_situation"]

MONEY_BARS = 20  # bars over which the money traded in an asset is averaged
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """What a portfolio may look like.

    `cap`: the most that one asset may weigh, either way. `sides`: "long" invests all but the cash reserve and at most
    `idle` more; "both" has weights that add up to `net` with absolute weights of at most `gross`. `turnover`: the most
    that is traded at once, half the sum of absolute changes; it does not bind while nothing is held. `band`: how far
    the weight of a group of `label` may be from the reference's. `beta`: how far the portfolio's beta may be from the
    reference's, where an asset's beta is its covariance with the equally weighted universe over that one's variance.
    `participation`: the most that is traded in an asset, as a fraction of its mean money traded a bar (20 bars).
    `tracking`: the largest yearly deviation of the difference to the reference. `against` is the reference: for "long"
    the universe in equal parts or by the field `cap`, scaled to what is invested; for "both" it is no holding at all.
    None sets no limit.
    Raises: DataError for a limit out of range.
    """

    cap: float = 0.05
    sides: Literal["long", "both"] = "long"
    net: float = 0.0
    gross: float = 1.0
    idle: float = 0.0
    turnover: float | None = None
    band: float | None = None
    label: str = "sector"
    beta: float | None = None
    participation: float | None = None
    tracking: float | None = None
    against: Literal["equal", "value"] = "equal"

    def __post_init__(self) -> None:
        check_cap(self.cap, "Limits.cap")
        if self.sides not in ("long", "both"):
            raise DataError("positions are long or on both sides", found=self.sides, where="Limits.sides")
        if self.against not in ("equal", "value"):
            raise DataError("a reference is equal or by value", found=self.against, where="Limits.against")
        for name in ("turnover", "band", "beta", "participation", "tracking"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < np.inf:
                raise DataError("a limit is positive, or left out", found=value, where=f"Limits.{name}")
        if not 0.0 <= self.idle < 1.0:
            raise DataError("idle cash is a fraction, from 0 to below 1", found=self.idle, where="Limits.idle")
        if not abs(self.net) <= self.gross < np.inf:
            raise DataError(
                "the sum of absolute weights is at least the absolute sum",
                found=f"net {self.net}, gross {self.gross}",
                where="Limits.gross",
            )


@dataclass(frozen=True, eq=False)
class Situation:
    """The problem of one day, with the columns of the panel that its assets have."""

    problem: Problem
    columns: NDArray[np.intp]
    N: int

    def filled(self, weights: Floats) -> Floats:
        """The weights of all assets of the panel.   Shape: (M,) -> (N,)."""
        row = np.zeros(self.N)
        row[self.columns] = weights
        return row


def read_situation(
    limits: Limits, view: Panel, book: Book, *, gain: Floats, risk: Risk, horizon: int, cash: float
) -> Situation | None:
    """The problem without costs and with an aversion of 1; None if no asset may be held.

    `gain` and the problem's covariance are of `horizon` bars; `risk` is of one.
    Time: reads the last 20 rows of the view.
    Missing: a member with a view, an estimate of risk and a close today may be held; any other holding is sold as far
    as locks and capacity let it. A holding that the limits on trading keep outside its bounds gets the nearest weight
    that can be reached as its bound.
    """
    eligible = tradable_now(view) & np.isfinite(gain) & risk.known
    columns = np.flatnonzero(eligible | (book.shares != 0.0))
    if not eligible.any():
        return None
    able = eligible[columns]
    held = book.weights[columns]
    traded = np.isfinite(view["close"][-1][columns])
    problem = make_problem(
        np.where(able, gain[columns], 0.0),
        _filled(risk.part(columns)).scaled(horizon),
        held=held,
        lower=-np.inf if limits.sides == "both" else 0.0,
        buyable=view.buyable[-1][columns] & traded,
        sellable=view.sellable[-1][columns] & traded,
        room=_room(limits, view, book, columns),
        turnover=limits.turnover if limits.turnover is not None and book.shares.any() else np.inf,
        gross=limits.gross if limits.sides == "both" else np.inf,
        budget=_budget(limits, cash),
        reference=_reference(limits, view, eligible, cash)[columns],
        tracking=_yearly(limits.tracking, view, horizon),
    )
    box = np.where(able, limits.cap, 0.0)
    low, high = problem.hard_bounds
    low, high = np.maximum(low, held - problem.room), np.minimum(high, held + problem.room)
    lower = np.clip(-box if limits.sides == "both" else np.zeros(len(box)), low, high)
    bands = _bands(limits, problem, view, columns=columns, able=able)
    least, most = problem.budget
    if limits.sides == "long":
        # Holdings that cannot be sold may keep the sum above what is to be invested.
        most = max(most, float(lower.sum()))
    problem = replace(problem, lower=lower, upper=np.clip(box, low, high), bands=bands, budget=(least, most))
    return Situation(problem, columns, len(view.assets))


def _filled(risk: Risk) -> Risk:
    """No risk for holdings without an estimate: they can only leave."""
    known = risk.known
    exposures = np.where(known[:, None], risk.exposures, 0.0)
    return Risk(exposures, risk.factor_root, np.where(known, risk.specific, 0.0))


def _budget(limits: Limits, cash: float) -> tuple[float, float]:
    if limits.sides == "both":
        return limits.net, limits.net
    return 1.0 - cash - limits.idle, 1.0 - cash


def _yearly(limit: float | None, view: Panel, horizon: int) -> float:
    return np.inf if limit is None else limit * float(np.sqrt(horizon / view.periods_per_year))


def _room(limits: Limits, view: Panel, book: Book, columns: NDArray[np.intp]) -> Floats:
    """How far a weight may move: a fraction of the money traded a bar over the money that is managed."""
    if limits.participation is None:
        return np.full(len(columns), np.inf)
    close, volume = (np.asarray(view[name][-MONEY_BARS:, columns], dtype=np.float64) for name in ("close", "volume"))
    money = np.nan_to_num(close * volume).mean(axis=0)
    return np.asarray(limits.participation * money / max(book.equity, 1e-300))


def _reference(limits: Limits, view: Panel, eligible: NDArray[np.bool_], cash: float) -> Floats:
    if limits.sides == "both":
        return np.zeros(len(eligible))
    size = eligible.astype(np.float64)
    if limits.against == "value":
        size = np.where(eligible, np.nan_to_num(np.asarray(view["cap"][-1], dtype=np.float64)), 0.0)
    return size * ((1.0 - cash) / max(float(size.sum()), 1e-300))


def _bands(
    limits: Limits, problem: Problem, view: Panel, *, columns: NDArray[np.intp], able: NDArray[np.bool_]
) -> tuple[Band, ...]:
    bands = []
    if limits.band is not None:
        if limits.label not in view.labels:
            raise DataError(
                "a band needs a label of the panel",
                found=limits.label,
                where="Limits.label",
                fix=f"one of: {', '.join(view.labels) or 'the panel has none'}",
            )
        code = view.labels[limits.label][-1][columns]
        loads = (code[None, :] == np.unique(code[code >= 0])[:, None]).astype(np.float64)
        centre = loads @ problem.reference
        bands.append(Band("group", loads, centre - limits.band, centre + limits.band))
    if limits.beta is not None:
        equal = able / able.sum()
        shared = problem.times(equal)
        loads = (shared / max(float(equal @ shared), 1e-300))[None, :]
        centre = loads @ problem.reference
        bands.append(Band("beta", loads, centre - limits.beta, centre + limits.beta))
    return tuple(bands)
