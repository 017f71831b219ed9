"""The same search where there is nothing to find, and how much of what was tried is one thing.

A placebo keeps formulas, miner and the shape of the labels, and permutes whole days of them in blocks: what it still
"finds" on training rows, and what its pools show on rows that they have not seen, is luck.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.metrics.overfitting import effective_trials, overfitting
from alphaloom.mining import Budget, Pool, Session
from alphaloom.mining.combiners import Combination
from alphaloom.mining.mined_files import MinedPool
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns
from alphaloom.study.description import json_text
from alphaloom.study.directory import RunDirectory
from alphaloom.study.mining_measures import mimicking
from alphaloom.study.mining_search import pool_of, searched
from alphaloom.study.mining_setup import Mining
from alphaloom.study.mining_split import Parts

__all__ = ["at_budget", "band", "luck", "permuted", "placebo_pool", "trial_returns"]

Floats = NDArray[np.float64]
BLOCKS = 16


def permuted(values: Floats, *, start: int, stop: int, block: int, seed: int) -> Floats:
    """Labels whose days start..stop-1 stand in another order, in whole blocks.   Shape: (T, N) -> (T, N).

    Raises: DataError where there are fewer than two blocks to exchange.
    """
    blocks = np.array_split(np.arange(start, stop), range(block, stop - start, block))
    if len(blocks) < 2:
        raise DataError(
            "a placebo exchanges at least two blocks of days",
            found=f"{stop - start} days in blocks of {block}",
            where="placebo.block",
            fix="a smaller block, or no placebo (runs = 0)",
        )
    random, order = np.random.default_rng(seed), np.arange(len(blocks))
    while (order == np.arange(len(blocks))).any() and len(blocks) > 2:
        order = random.permutation(len(blocks))
    order = order[::-1] if len(blocks) == 2 else order
    found = np.array(values)
    found[start:stop] = values[np.concatenate([blocks[k] for k in order])]
    return found


def placebo_pool(
    mining: Mining, known: Panel, parts: Parts, *, number: int, folder: Path
) -> tuple[MinedPool | None, float]:
    """The pool of a search with permuted labels (None where it is empty), and the coefficient that it believes in.

    What was searched before is read from its folder; a search that was stopped goes on.
    """
    place = folder / f"{number:03d}"
    done = place / "placebo.json"
    if not done.is_file():
        train = searched(known, parts)
        labels = forward_returns(train, mining.market, horizon=mining.horizon).values
        seed = mining.seed + 1000 + number
        stop = parts.train.stop - parts.purge
        mixed = permuted(labels, start=parts.train.start, stop=stop, block=mining.placebo.block, seed=seed)
        session = Session(
            train,
            mixed,
            grammar=mining.grammar.grammar,
            pool=mining.pool.pool,
            budget=Budget(mining.placebo.evaluations),
            seed=seed,
            start_row=parts.train.start,
            settings=mining.settings,
            directory=place / "search",
        )
        mining.miner.mine(session)
        found = {
            "formulas": [str(alpha.expr) for alpha in session.pool.alphas],
            "weights": session.pool.weights.tolist(),
            "ic": session.pool.ic,
            "evaluations": session.evaluations,
        }
        RunDirectory(place, "").write("placebo.json", json_text(found).encode())
    kept = json.loads(done.read_text(encoding="utf-8"))
    weights = tuple(float(weight) for weight in kept["weights"])
    if not weights:
        return None, 0.0
    combined = Combination("lasso", tuple(range(len(weights))), weights)
    pool = pool_of(mining, kept["formulas"], combined, evaluations=kept["evaluations"], data="permuted")
    return pool, float(kept["ic"])


def at_budget(curve: Any, evaluations: int) -> float | None:
    """The pool's training coefficient when the search had spent so many evaluations; None before the first note."""
    before = np.flatnonzero(np.asarray(curve["evaluations"]) <= evaluations)
    return float(curve["pool"][before[-1]]) if len(before) else None


def band(values: list[float], real: float | None) -> dict[str, Any]:
    """Where the real number lies among the placebos': their 95th percentile is at least as high as it is exact.

    `p` is the chance of a number as high if the real search were one more placebo.
    """
    known = sorted(value for value in values if np.isfinite(value))
    if not known or real is None:
        return {"values": known, "real": real, "high": None, "p": None, "beyond": None}
    high = float(np.quantile(known, 0.95, method="higher"))
    above = sum(value >= real for value in known)
    p = (1 + above) / (1 + len(known))
    return {"values": known, "real": real, "high": high, "p": p, "beyond": bool(real > high)}


def trial_returns(mining: Mining, known: Panel, parts: Parts, formulas: list[tuple[str, float]]) -> Floats:
    """Returns a bar of the formulas' books without net exposure, before costs, on training and validation rows.

    Each is held in the direction of its training coefficient.   Shape: -> (S, n).
    """
    from alphaloom.factors import parse

    session = Session(
        known,
        forward_returns(known, mining.market, horizon=mining.horizon),
        grammar=mining.grammar.grammar,
        pool=Pool(1),
        budget=Budget(1_000_000_000),
        start_row=parts.train.start,
        settings=mining.settings,
    )
    next_bar = forward_returns(known, mining.market, horizon=1).values[parts.train.start :]
    earned = np.where(np.isfinite(next_bar), next_bar, 0.0)
    columns = []
    for text, ic in formulas:
        alpha = session.judge([parse(text)])[0]
        if alpha.z is not None:
            columns.append((mimicking(alpha.z) * earned).sum(axis=1) * (1.0 if ic >= 0 else -1.0))
    return np.stack(columns, axis=1) if columns else np.zeros((len(earned), 0))


def luck(returns: Floats) -> dict[str, Any]:
    """How alike the trials are, how their Sharpe ratios spread a bar, and the probability of overfitting."""
    if returns.shape[1] < 2:
        return {"archive": int(returns.shape[1]), "clusters": None, "variance": None, "pbo": None}
    spread = returns.std(axis=0, ddof=1)
    moving = spread > 0
    ratios = returns.mean(axis=0)[moving] / spread[moving]
    found = overfitting(returns, blocks=BLOCKS)
    return {
        "archive": int(returns.shape[1]),
        "clusters": effective_trials(returns).count,
        "variance": float(np.var(ratios, ddof=1)) if len(ratios) > 1 else None,
        "pbo": found.probability,
        "pbo_loss": found.loss_probability,
        "blocks": BLOCKS,
    }
