"""Least variance with shorts, by guessing who is held, on which side, and whether the limit on gross exposure binds.

The same method as for long-only weights (see `quadratic`): each guess is one linear system, and the weights,
multipliers and signs that come out wrong make the next guess. Where the limit on sum |w| binds, its price is a toll on
every position, which keeps assets at zero; where it does not, all assets but those at their cap are free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Signed", "signed_weights"]

Grid = NDArray[np.float64]
Mask = NDArray[np.bool_]
_ROUNDS = 60
_RIDGE = 1e-11
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Signed:
    """Weights with the multipliers of the budget (`price`) and of the gross limit (`toll`), after `rounds` systems."""

    weights: Grid
    price: float
    toll: float
    rounds: int


@dataclass(frozen=True, eq=False)
class _Guess:
    """Who is free and who stands at its cap, on which side, and whether the gross limit binds; the others are zero."""

    free: Mask
    capped: Mask
    sign: Grid
    bound: bool

    def mark(self) -> bytes:
        return b"".join([self.free.tobytes(), self.capped.tobytes(), self._sides().tobytes(), bytes([self.bound])])

    def _sides(self) -> Grid:
        return np.where(self.capped | (self.free & self.bound), self.sign, 0.0)

    def equals(self, other: _Guess) -> bool:
        return self.mark() == other.mark()


def signed_weights(sigma: Grid, linear: Grid, *, net: float, gross: float, cap: float) -> Signed | None:
    """min w' Sigma w / 2 + linear' w  such that  sum w = net, sum |w| <= gross, |w| <= cap; None if a guess comes back.

    Shape: sigma (M, M), linear (M,).
    """
    M = len(linear)
    guess = _Guess(np.ones(M, dtype=bool), np.zeros(M, dtype=bool), np.ones(M), False)
    seen: set[bytes] = set()
    for rounds in range(1, _ROUNDS + 1):
        if guess.mark() in seen or not guess.free.any():
            return None
        seen.add(guess.mark())
        solved = _solved(sigma, linear, guess, net=net, gross=gross, cap=cap)
        if solved is None:
            return None
        weights, price, toll = solved
        slope = sigma @ weights + linear - price
        better = _corrected(guess, weights, slope, toll=toll, cap=cap, tiny=_TINY * abs(price))
        if better.equals(guess):
            if guess.bound or float(np.abs(weights).sum()) <= gross * (1.0 + _TINY):
                return Signed(np.clip(weights, -cap, cap), price, toll, rounds)
            better = _Guess(guess.free, guess.capped, np.where(weights < 0, -1.0, 1.0), True)
        guess = better
    return None


def _solved(
    sigma: Grid, linear: Grid, guess: _Guess, *, net: float, gross: float, cap: float
) -> tuple[Grid, float, float] | None:
    """Weights, price and toll if the guess were right; None where the system has no solution."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    F, C = np.flatnonzero(guess.free), np.flatnonzero(guess.capped)
    weights = np.zeros(len(linear))
    weights[C] = cap * guess.sign[C]
    block = sigma[np.ix_(F, F)]
    block[np.diag_indices_from(block)] += _RIDGE
    sides = guess.sign[F]
    push = linear[F] + sigma[np.ix_(F, C)] @ weights[C]
    try:
        factor = cho_factor(block, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    solved = cho_solve(factor, np.column_stack([np.ones(len(F)), sides, push]), check_finite=False)
    ones, signed, pushed = solved.T
    need = net - weights[C].sum() + pushed.sum()
    price, toll = float(need / ones.sum()), 0.0
    if guess.bound:
        room = gross - cap * len(C) + sides @ pushed
        system = np.array([[ones.sum(), -signed.sum()], [sides @ ones, -(sides @ signed)]])
        if abs(np.linalg.det(system)) <= _TINY * float(np.abs(system).max()) ** 2:
            return None  # all free assets on one side: net and gross cannot both be set
        price, toll = (float(each) for each in np.linalg.solve(system, np.array([need, room])))
    weights[F] = price * ones - toll * signed - pushed
    return weights, price, toll


def _corrected(guess: _Guess, weights: Grid, slope: Grid, *, toll: float, cap: float, tiny: float) -> _Guess:
    """The next guess: what came out with a wrong sign changes its place."""
    free, sign = guess.free, guess.sign
    if guess.bound and toll < 0.0:
        return _Guess(~guess.capped, guess.capped, sign, False)
    over = np.abs(weights) > cap * (1.0 + _TINY)
    stays = guess.capped & (sign * slope + toll <= tiny)
    if not guess.bound:
        high = free & over
        side = np.where(free, np.where(weights < 0, -1.0, 1.0), sign)
        return _Guess((free & ~high) | (guess.capped & ~stays), high | stays, side, False)
    crossed = free & (weights * sign < 0.0)
    high = free & ~crossed & over
    rest = ~free & ~guess.capped
    buys, sells = rest & (slope < -toll - tiny), rest & (slope > toll + tiny)
    side = np.where(buys, 1.0, np.where(sells, -1.0, sign))
    return _Guess((free & ~crossed & ~high) | (guess.capped & ~stays) | buys | sells, high | stays, side, True)
