"""Every random number of the embedded market, one independent stream for each component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SECTORS", "Draws", "Grid", "Sizes", "draw", "stream"]

Grid = NDArray[Any]

SECTORS = ("energy", "materials", "industrials", "consumer", "health", "financials", "technology", "utilities")

# Streams are keyed by name: a component that draws more or less shifts no other, and a new one gets a new key.
_STREAMS: tuple[str, ...] = (
    "traits",
    "market",
    "sector",
    "idio",
    "jump",
    "vol",
    "volume",
    "range",
    "fate",
    "halt",
    "news",
    "accounts",
)
_STREAMS += ("events", "names", "tone", "rates", "regime", "swing", "filing", "ratios", "wording")


def stream(seed: int, component: str) -> np.random.Generator:
    """The generator of one component; the same seed and name give the same numbers everywhere."""
    key = np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(component),))
    return np.random.Generator(np.random.PCG64(key))


@dataclass(frozen=True, eq=False)
class Draws:
    """What chance decides before any price exists.

    Shape: (N,) traits; (T,) or (T, 2) for the market, (T, 2, S) for sectors, (T, 2, N) and (T, N) for assets, where
    the axis of two is overnight and session; (Q, N) for accounts. Each is drawn row by row, so a longer market with
    the same seed begins with the shorter one.
    """

    sector: Grid
    beta: Grid
    base_vol: Grid
    start_price: Grid
    start_cap: Grid
    start_book: Grid
    turnover: Grid
    pays: Grid
    phase: Grid
    first: Grid
    market: Grid
    market_vol: Grid
    switch: Grid
    sectors: Grid
    idio: Grid
    jump: Grid
    vol: Grid
    volume: Grid
    range_: Grid
    fate: Grid
    halt: Grid
    news: Grid
    tone: Grid
    rates: Grid
    splits: Grid
    book: Grid
    lag: Grid
    ratios: Grid


@dataclass(frozen=True)
class Sizes:
    """The lengths of the axes: bars, assets, quarters."""

    T: int
    N: int
    Q: int


def draw(seed: int, sizes: Sizes, *, late: tuple[float, int]) -> Draws:
    """Draw everything; `late` is the fraction of assets that are listed after the first bar, and over how many bars."""
    return Draws(**_traits(seed, sizes, late), **_shocks(seed, sizes), **_happenings(seed, sizes))


def _traits(seed: int, sizes: Sizes, late: tuple[float, int]) -> dict[str, Grid]:
    rng, N, (part, bars) = stream(seed, "traits"), sizes.N, late
    cap = np.exp(rng.normal(21.8, 1.3, N))
    # Uniform numbers, not integers of a range: how many the generator spends must not depend on the length.
    soonest, latest = min(20, bars // 5), int(0.8 * bars)
    listed_at = soonest + (rng.random(N) * (latest - soonest)).astype(np.int64)
    # Small firms swing more, as in real markets; the shocks are symmetric, so this moves no mean and no median.
    vol = 0.0138 * np.exp(0.25 * rng.standard_normal(N) - 0.06 * (np.log(cap) - 21.8))
    return {
        "sector": rng.permutation(np.arange(N) % len(SECTORS)),
        "beta": np.clip(rng.normal(1.0, 0.28, N), 0.3, 1.8),
        "base_vol": np.clip(vol, 0.008, 0.035),
        "start_price": np.exp(rng.normal(3.7, 0.6, N)),
        "start_cap": cap,
        "start_book": cap * np.exp(rng.normal(-0.8, 0.5, N)),
        "turnover": np.exp(rng.normal(-5.3, 0.4, N)),
        "pays": np.where(rng.random(N) < 0.6, rng.uniform(0.005, 0.04, N), 0.0),
        "phase": rng.integers(0, 63, N),
        "first": np.where(rng.random(N) < part, listed_at, 0),
    }


def _shocks(seed: int, sizes: Sizes) -> dict[str, Grid]:
    T, N, S = sizes.T, sizes.N, len(SECTORS)
    jumps = stream(seed, "jump").random((T, 2, N))
    size = np.where(jumps[:, 0] < 0.5, 1.0, -1.0) * (0.04 + 0.2 * np.abs(jumps[:, 0] - 0.5))
    return {
        "market": _student(stream(seed, "market"), 7, (T, 2)),
        "market_vol": stream(seed, "swing").standard_normal(T),
        "switch": stream(seed, "regime").random(T),
        "sectors": _student(stream(seed, "sector"), 7, (T, 2, S)),
        "idio": _student(stream(seed, "idio"), 5, (T, 2, N)),
        "jump": np.where(jumps[:, 1] < 1 / 200, size, 0.0),
        "vol": stream(seed, "vol").standard_normal((T, N)),
        "volume": stream(seed, "volume").standard_normal((T, N)),
        "range_": np.abs(stream(seed, "range").standard_normal((T, 3, N))),
    }


def _happenings(seed: int, sizes: Sizes) -> dict[str, Grid]:
    T, N, Q = sizes.T, sizes.N, sizes.Q
    return {
        "fate": stream(seed, "fate").random((T, 3, N)),
        "halt": stream(seed, "halt").random((T, 2, N)),
        "news": stream(seed, "news").random((T, N)),
        "tone": stream(seed, "tone").standard_normal((T, N)),
        "rates": stream(seed, "rates").standard_normal(T),
        "splits": stream(seed, "events").random((T, N)),
        "book": stream(seed, "accounts").standard_normal((Q, N)),
        "lag": stream(seed, "filing").integers(20, 61, (Q, N)),
        "ratios": stream(seed, "ratios").standard_normal((Q, 3, N)),
    }


def _student(rng: np.random.Generator, freedom: int, shape: tuple[int, ...]) -> Grid:
    """Symmetric shocks with fat tails and variance one, cut at eight deviations."""
    shocks: Grid = np.clip(rng.standard_t(freedom, shape) * np.sqrt((freedom - 2) / freedom), -8.0, 8.0)
    return shocks
