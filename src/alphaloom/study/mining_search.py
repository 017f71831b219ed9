"""What a search sees: a panel that ends where training ends, and the labels that exist there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.corpus import Corpus
from alphaloom.errors import DataError
from alphaloom.mining import Session
from alphaloom.mining.combiners import Combination
from alphaloom.mining.forecaster import MinedForecaster
from alphaloom.mining.mined_files import MinedPool
from alphaloom.panel import Panel
from alphaloom.signal import Signal, forward_returns
from alphaloom.study.mining_setup import Mining
from alphaloom.study.mining_split import Parts, Rows

__all__ = ["Watch", "check_target", "pool_of", "pool_signal", "searched", "training"]

Watch = Callable[[Session], None]


def searched(known: Panel, parts: Parts) -> Panel:
    """The training rows, of the assets that are members on one of them.

    The others enter no cross-section: they would cost time, and an asset that joins an index later is not known yet.
    """
    train = known[: parts.train.stop]
    at = np.flatnonzero(train.member.any(axis=0))
    if len(at) == len(train.assets):
        return train
    grids: dict[str, Any] = {
        name: {k: v[:, at] for k, v in getattr(train, name).items()} for name in ("fields", "labels")
    }
    masks: dict[str, Any] = {name: getattr(train, name)[:, at] for name in ("member", "listed", "buyable", "sellable")}
    names = tuple(train.assets[k] for k in at)
    return train.replace(assets=names, **grids, **masks, corpus=Corpus.empty(), source=f"{train.source} members")


def training(
    mining: Mining,
    known: Panel,
    parts: Parts,
    *,
    directory: Path | None = None,
    watch: Watch | None = None,
    clock: Callable[[], float] | None = None,
) -> Session:
    """The session of the search: a panel that ends where training ends."""
    train = searched(known, parts)
    target = forward_returns(train, mining.market, horizon=mining.horizon)
    check_target(target.values[parts.train.start :], mining, "training")
    seen: list[Session] = []

    def told(line: str, done: int, total: int) -> None:
        if watch and seen:
            watch(seen[0])

    session = Session(
        train,
        target,
        grammar=mining.grammar.grammar,
        pool=mining.pool.pool,
        budget=mining.budget,
        seed=mining.seed,
        start_row=parts.train.start,
        settings=mining.settings,
        directory=directory,
        progress=told,
        clock=clock,
    )
    seen.append(session)
    return session


def pool_signal(pool: MinedPool, panel: Panel, rows: Rows, *, threads: int = 1) -> Signal:
    """The pool's score of every member on the rows; those before them are read as look-back.   Shape: (S, N)."""
    forecaster = MinedForecaster(pool, threads)
    first = max(rows.start - forecaster.lookback, 0)
    return forecaster.predict(panel[first : rows.stop])[rows.start - first :]


def check_target(values: NDArray[Any], mining: Mining, part: str) -> None:
    """Refuse labels that are all unknown, or known for too few assets to compare.   Raises: DataError."""
    known = np.isfinite(values)
    widest, least = int(known.sum(axis=1).max(initial=0)), mining.settings.min_pairs
    if widest == 0:
        raise DataError(
            f"the returns over {mining.horizon} bars are known for some assets in {part}",
            found="none of them",
            where="data",
            fix="give prices at which assets can be bought and sold, or a shorter horizon",
        )
    if widest < least:
        raise DataError(
            f"formulas compare at least {least} assets of one date",
            found=f"{widest} whose return over {mining.horizon} bars is known, at most, in {part}",
            where="data",
            fix="give more assets; settings.min_pairs is how many a date needs",
        )


def pool_of(
    mining: Mining, formulas: Sequence[str], combined: Combination, *, evaluations: int, data: str
) -> MinedPool:
    """Formulas and how they are combined as a pool that can be stored and that forecasts."""
    return MinedPool(
        tuple(formulas[k] for k in combined.used),
        combined.weights,
        combined.kind,
        clip=mining.settings.clip,
        horizon=mining.horizon,
        min_pairs=mining.settings.min_pairs,
        fill=mining.market.fill,
        grammar=mining.grammar.grammar,
        miner=type(mining.miner).__name__,
        seeds=(mining.seed,),
        evaluations=evaluations,
        data=data,
        trees=combined.trees,
        dynamic=combined.dynamic,
        name=mining.name,
    )
