"""The price process of the embedded market, bar by bar.

Every shock is symmetric and has mean zero, and the expected return that is added to it is the same for all assets,
unless an effect is planted. Shocks are scaled by a slowly moving anchor price over the last price: returns swing more
after a fall (the leverage effect), and over a few bars a price moves by a sum of symmetric steps, so that neither the
mean nor the median of a return depends on how volatile the asset is. A bankruptcy is one side of a symmetric jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaloom.data.simulate_draws import Draws, Grid
from alphaloom.data.simulate_effects import expected_returns
from alphaloom.data.simulate_path import Clock, Path, empty_path

if TYPE_CHECKING:
    from alphaloom.data.simulate import EmbeddedMarket

__all__ = ["walk"]

_NORMAL, _DISTRESSED, _BID = 0, 1, 2
_DAY_VARIANCE = 0.65  # of a bar's variance, the part between open and close
_CALM, _STRESS, _USUAL = 0.0075, 0.0165, 0.0105  # daily volatility of the market: two regimes, the long run
_SECTOR = 0.0045  # daily volatility of a sector factor


@dataclass(eq=False)
class _State:
    price: Grid
    anchor: Grid
    growth: Grid
    split: Grid
    shares: Grid
    logvol: Grid
    activity: Grid
    fate: Grid
    mark: Grid
    alive: Grid
    halted: Grid
    book: Grid
    book_cap: Grid
    expected: Grid
    logvol_market: float = 0.0
    stressed: bool = False
    last_market: float = 0.0
    rate: float = 0.02


def walk(market: EmbeddedMarket, draws: Draws, *, clock: Clock) -> Path:
    """Run the exchange from the first bar to the last."""
    T, N = market.days, market.assets
    path, state = empty_path(T, N, len(clock.ended)), _first_state(draws)
    if clock.ended[0] < 0:
        path.book[0] = state.book
    for t in range(T):
        started = state.alive & (t >= draws.first)
        _meet_halts(state, draws, t=t, hazard=market.halts)
        _meet_events(path, state, draws=draws, t=t, started=started)
        vol, moves = _shocks(state, draws, t=t)
        verdict = _verdicts(state, draws, t=t, live=started & ~state.halted, intensity=market.delistings)
        moves[1] = np.where(verdict != 0.0, verdict, moves[1])
        _trade(path, state, market=market, t=t, started=started, moves=moves)
        _record(path, state, t=t, started=started, vol=vol)
        _close_accounts(path, state, draws=draws, clock=clock, t=t)
        _publish(path, state, market=market, draws=draws, t=t)
        _quote_macro(path, state, draws=draws, t=t)
        _meet_fates(state, draws, t=t, live=started & ~state.halted, verdict=verdict, intensity=market.delistings)
        state.expected = np.zeros_like(vol) if market.noise else expected_returns(path, market, clock=clock, t=t)
        path.planted[t] = state.expected
    return path


def _first_state(draws: Draws) -> _State:
    N = len(draws.beta)
    zero, one = np.zeros(N), np.ones(N)
    price = draws.start_price.copy()
    return _State(
        price=price,
        anchor=price.copy(),
        growth=one.copy(),
        split=one.copy(),
        shares=draws.start_cap / price,
        logvol=zero.copy(),
        activity=zero.copy(),
        fate=np.zeros(N, np.int8),
        mark=price.copy(),
        alive=np.ones(N, bool),
        halted=np.zeros(N, bool),
        book=draws.start_book.copy(),
        book_cap=draws.start_cap.copy(),
        expected=zero.copy(),
    )


def _meet_halts(state: _State, draws: Draws, *, t: int, hazard: float) -> None:
    """A halt starts without a reason that prices could tell, and lasts about three bars."""
    starts = ~state.halted & (draws.halt[t, 0] < hazard) & (t > draws.first)
    state.halted = starts | (state.halted & (draws.halt[t, 1] < 0.67))


def _meet_events(path: Path, state: _State, *, draws: Draws, t: int, started: Grid) -> None:
    """Splits and dividends before the open: they change the raw price, never the value of a holding."""
    raw = state.price / state.growth
    luck = (draws.splits[t] < 0.03) & started & ~state.halted & (t > draws.first)
    ratio = np.where(luck & (raw > 150.0), np.where(raw > 320.0, 4.0, 2.0), np.where(luck & (raw < 4.0), 0.1, 1.0))
    payday = ((t - draws.phase) % 63 == 0) & started & ~state.halted & (t > draws.first)
    due = payday & (state.fate == _NORMAL) & (ratio == 1.0)
    paid = np.where(due, draws.pays / 4.0, 0.0)
    path.dividend[t] = paid * raw
    state.growth = state.growth * ratio / (1.0 - paid)
    state.split = state.split * ratio
    state.shares = state.shares * ratio


def _shocks(state: _State, draws: Draws, *, t: int) -> tuple[Grid, Grid]:
    """Volatility of each asset's own shock (N,), and the unplanted move overnight and in session (2, N)."""
    quiet = 1 / 380 * np.exp(-1.0 * state.last_market)
    state.stressed = bool(draws.switch[t] < (1 - 1 / 40 if state.stressed else quiet))
    state.logvol_market = 0.97 * state.logvol_market + 0.06 * draws.market_vol[t]
    state.logvol = 0.98 * state.logvol + 0.055 * draws.vol[t]
    split = np.sqrt(np.array([1.0 - _DAY_VARIANCE, _DAY_VARIANCE]))
    common = (_STRESS if state.stressed else _CALM) * np.exp(state.logvol_market) * draws.market[t] * split
    wide = 1.3 if state.stressed else 1.0
    sector = _SECTOR * wide * draws.sectors[t] * split[:, None]
    vol = draws.base_vol * np.exp(state.logvol) * (1.2 if state.stressed else 1.0)
    vol = vol * np.where(state.fate == _DISTRESSED, 2.3, 1.0)
    own = vol * draws.idio[t] * split[:, None]
    own[0] += draws.jump[t]
    reach = np.clip(state.anchor / state.price, 0.6, 1.7) * np.where(state.fate == _BID, 0.12, 1.0)
    state.last_market = float(common.sum() / _CALM)
    moves = reach * (draws.beta * common[:, None] + sector[:, draws.sector] + own)
    return vol * reach, np.clip(moves, -0.3, 0.3)


def _trade(path: Path, state: _State, *, market: EmbeddedMarket, t: int, started: Grid, moves: Grid) -> None:
    """The open and the close of the bar; what was expected at the last close is earned in session."""
    drift = (state.rate + market.premium) / 252.0
    opened = moves[0] + drift / 2
    session = moves[1] + drift / 2 + state.expected
    if market.price_limit:
        bound = market.price_limit
        opened = np.clip(opened, -bound, bound)
        # Cut equally on both sides: if only the limit's side were cut, to buy at a limit would be a winning game.
        room = bound - np.abs(opened)
        session = np.clip(session, -room, room)
    closed = opened + session
    before = state.price
    path.open[t] = np.where(started, before * (1.0 + opened), np.nan)
    state.price = np.where(started, before * (1.0 + closed), before)
    state.anchor = state.anchor + (state.price - state.anchor) / 90.0


def _verdicts(state: _State, draws: Draws, *, t: int, live: Grid, intensity: float) -> Grid:
    """The session move where the day decides a firm's fate, zero elsewhere: up and down are equally likely.

    A distressed firm that has lost more than half is saved or ruined; a rumoured bid is made or denied.
    """
    chance, side = draws.fate[t, 0], np.where(draws.fate[t, 1] < 0.5, -1.0, 1.0)
    court = live & (state.fate == _DISTRESSED) & (state.price < 0.45 * state.mark) & (chance < 1 / 12)
    rumour = live & (state.fate == _NORMAL) & (chance > 1.0 - 0.035 / 252 * intensity)
    return np.where(court, 0.5 * side, np.where(rumour, 0.2 * side, 0.0))


def _meet_fates(state: _State, draws: Draws, *, t: int, live: Grid, verdict: Grid, intensity: float) -> None:
    """After the close: who falls into distress, who recovers, who is bid for, and who trades no more."""
    chance, was = draws.fate[t, 0], state.fate
    ruined = (was == _DISTRESSED) & (verdict < 0.0)
    merged = (was == _BID) & live & (chance < 1 / 45)
    saved = (was == _DISTRESSED) & ((verdict > 0.0) | (state.price > 1.4 * state.mark))
    falls = (was == _NORMAL) & live & (verdict == 0.0) & (draws.fate[t, 2] < 0.06 / 252 * intensity)
    state.fate = np.where(saved, _NORMAL, was)
    state.fate = np.where((was == _NORMAL) & (verdict > 0.0), _BID, state.fate)
    state.fate = np.where(falls, _DISTRESSED, state.fate).astype(np.int8)
    state.mark = np.where(falls, state.price, state.mark)
    state.alive = state.alive & ~ruined & ~merged


def _record(path: Path, state: _State, *, t: int, started: Grid, vol: Grid) -> None:
    path.close[t] = np.where(started, state.price, np.nan)
    path.vol[t], path.listed[t], path.halted[t] = vol, started, state.halted & started
    path.growth[t], path.split[t], path.shares[t] = state.growth, state.split, state.shares


def _close_accounts(path: Path, state: _State, *, draws: Draws, clock: Clock, t: int) -> None:
    """At a quarter's end the book grows, in part as the share price has; it is known to others when it is filed."""
    for q in np.flatnonzero(clock.ended == t):
        cap = state.shares * state.price / state.growth
        state.book = state.book * np.exp(0.01 + 0.3 * np.log(cap / state.book_cap) + 0.04 * draws.book[q])
        state.book_cap = cap
        path.book[q] = state.book


def _publish(path: Path, state: _State, *, market: EmbeddedMarket, draws: Draws, t: int) -> None:
    """Volume follows the size of the move; the tone of a headline half follows the move and half its own mind."""
    before = path.close[t - 1] if t else path.open[t]
    with np.errstate(invalid="ignore", divide="ignore"):
        surprise = path.close[t] / np.where(np.isfinite(before), before, path.open[t]) - 1.0
    surprise = np.nan_to_num(surprise / (1.3 * path.vol[t]))
    state.activity = 0.75 * state.activity + 0.25 * draws.volume[t]
    path.turnover[t] = draws.turnover * np.exp(
        state.activity + 0.55 * np.log(np.abs(surprise) + 0.35) + 0.4 * np.log(path.vol[t] / draws.base_vol)
    )
    spoken = (draws.news[t] < market.headlines) & path.listed[t]
    feeling = draws.tone[t] + 0.5 * np.clip(surprise, -3.0, 3.0)
    path.tone[t] = np.where(spoken, np.where(feeling > 0.6, 1.0, np.where(feeling < -0.6, -1.0, 0.0)), 0.0)
    path.mood[t] = path.tone[t] + (0.75 * path.mood[t - 1] if t else 0.0)


def _quote_macro(path: Path, state: _State, *, draws: Draws, t: int) -> None:
    """The market's implied volatility, which expects a part of today's to fade, and the yearly rate of cash."""
    now = (_STRESS if state.stressed else _CALM) * np.exp(state.logvol_market)
    path.vix[t] = 110.0 * np.sqrt(252.0 * (0.7 * now**2 + 0.3 * _USUAL**2))
    path.rate[t], path.stress[t] = state.rate, state.stressed
    step = 0.0002 * draws.rates[t] * np.sqrt(state.rate / 0.02)
    state.rate = float(np.clip(state.rate + step + (0.02 - state.rate) / 700.0, 0.001, 0.06))
