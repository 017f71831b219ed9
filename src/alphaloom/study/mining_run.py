"""A search from its settings to its result: training rows are searched, validation chooses, the test stays closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.mining import Budget, Pool, Session
from alphaloom.mining.combiners import Evidence
from alphaloom.mining.mined_files import MinedPool
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns
from alphaloom.study.description import describe, fingerprint, toml_text
from alphaloom.study.mining_choice import Chosen, candidates, choose
from alphaloom.study.mining_measures import Desk, alpha_row, coefficients, mimicking_turnover, traded
from alphaloom.study.mining_result import (
    ARCHIVE,
    POOL,
    RESULT,
    MiningResult,
    claim_search,
    load_mining,
    write_mining,
    write_timings,
)
from alphaloom.study.mining_search import Watch, check_target, pool_of, pool_signal, training
from alphaloom.study.mining_setup import Mining
from alphaloom.study.mining_split import Parts

__all__ = ["run_mining"]

Progress = Callable[[str, int, int], None]
_UNBOUNDED = 1_000_000_000


def run_mining(
    mining: Mining,
    panel: Panel,
    directory: Path,
    *,
    config: dict[str, Any] | None = None,
    watch: Watch | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] | None = None,
) -> MiningResult:
    """Search on training rows, let validation choose, and write both into the directory; resumes what was stopped.

    `watch` is shown the session whenever the search notes its state. Equal arguments give equal files but for the
    search's own checkpoints and `timings.json`, which hold seconds.
    Raises: DataError, FormulaError, GrammarError for what cannot be searched.
    """
    from alphaloom.study.tables import parquet_bytes

    tell = progress or (lambda stage, done, total: None)
    whole, notes = mining.prepared(panel)
    parts = mining.parts(whole)
    first = mining.started()
    bare = replace(mining, settings=replace(mining.settings, threads=1, cache_bytes=0, keep_seconds=None))
    owner = {"search": fingerprint(bare), "data": panel.source, "seed": mining.seed}
    folder = claim_search(directory, owner, settings=toml_text(config or describe(bare)))
    if (directory / RESULT).is_file():
        return load_mining(directory)
    # From here on the test's rows are not there.
    known = whole[: parts.valid.stop]
    session = training(mining, known, parts, directory=directory / "search", watch=watch, clock=clock)
    if first and not (directory / "search").is_dir():
        for alpha in session.judge(first):
            if alpha.valid and alpha.z is not None:
                session.offer(alpha)
    mining.miner.mine(session)
    tell("validation", 0, 1)
    result, pool = _concluded(mining, known, session, parts=parts, source=panel.source)
    result = replace(result, config=config or describe(bare), notes=(*panel.notes, *notes))
    pool.save(directory / POOL)
    folder.write(ARCHIVE, parquet_bytes(_archive(session)))
    timings = {"seconds": session.seconds, "curve": [[point[0], point[1]] for point in session.curve]}
    write_timings(timings, directory)
    write_mining(result, folder)
    tell("validation", 1, 1)
    return load_mining(directory)


def _archive(session: Session) -> dict[str, Any]:
    """Every usable formula with values of its own, the highest |IC| first: what the count of trials stands on."""
    usable = sorted((-abs(alpha.ic), str(expr), alpha.ic) for expr, alpha in session.known.items() if alpha.valid)
    return {"formula": np.array([text for _, text, _ in usable], object), "ic": np.array([ic for *_, ic in usable])}


def _concluded(
    mining: Mining, known: Panel, session: Session, *, parts: Parts, source: str
) -> tuple[MiningResult, MinedPool]:
    labels = forward_returns(known, mining.market, horizon=mining.horizon)
    check_target(labels.values[parts.valid.start :], mining, "validation")
    judge = Session(
        known,
        labels,
        grammar=mining.grammar.grammar,
        pool=Pool(1),
        budget=Budget(_UNBOUNDED),
        start_row=parts.valid.start,
        settings=mining.settings,
    )
    found = candidates(session, max(mining.pool.capacity, mining.choice.terms.boosting.top))
    alphas = found.alphas
    judged = judge.judge([alpha.expr for alpha in alphas])
    targets = session.target, judge.target
    chosen = choose(found, judged, mining, targets=targets, purge=parts.purge)
    used, weights = list(chosen.combination.used), chosen.combination.weights
    rows = [
        alpha_row(alphas[k], judged[k], weight=weight, units=known.units, turned=mimicking_turnover(alphas[k]))
        for k, weight in zip(used, weights, strict=True)
    ]
    gram = Evidence.of([alphas[k] for k in used]).means()[0]
    formulas = [str(alpha.expr) for alpha in alphas]
    pool = pool_of(mining, formulas, chosen.combination, evaluations=session.evaluations, data=source)
    signal = pool_signal(pool, known, parts.valid, threads=mining.settings.threads)
    measured, daily = coefficients(
        signal, labels[parts.valid.start :], min_pairs=mining.settings.min_pairs, seed=mining.seed
    )
    desk = Desk(mining.allocator, mining.market, mining.cash)
    money, days = traded(signal, known, desk, rows=parts.valid)
    result = MiningResult(
        mining.name,
        {},
        _facts(mining, known, session, parts=parts, chosen=chosen) | {"data": source, "similarity": _similarity(gram)},
        rows,
        gram,
        [tried._asdict() for tried in chosen.tried],
        dict(sorted(session.counts.items())),
        _curve(session),
        {**measured, "book": money},
        {"time": signal.times, **daily, **days},
    )
    return result, pool


def _facts(mining: Mining, known: Panel, session: Session, *, parts: Parts, chosen: Chosen) -> dict[str, Any]:
    days = known.times.astype("datetime64[D]").astype(str)
    return {
        "assets": len(known.assets),
        "horizon": mining.horizon,
        "lag": mining.lag,
        "fill": mining.market.fill,
        "purge": parts.purge,
        "train": [days[parts.train.start], days[parts.train.stop - 1]],
        "valid": [days[parts.valid.start], days[parts.valid.stop - 1]],
        "rows": {"train": list(parts.train), "valid": list(parts.valid), "test": list(parts.test)},
        "evaluations": session.evaluations,
        "distinct": len(session.fingerprints),
        "pool_ic": session.pool.ic,
        "pool_size": len(session.pool),
        "chosen": chosen.best._asdict(),
        "combiner": chosen.combination.kind,
        "miner": type(mining.miner).__name__,
        "seed": mining.seed,
        "trials": mining.trials,
        "clip": mining.settings.clip,
        "periods_per_year": known.periods_per_year,
    }


def _similarity(gram: Any) -> float | None:
    """The mean size of mutual coefficients."""
    off = np.abs(gram[~np.eye(len(gram), dtype=bool)])
    return float(off.mean()) if off.size else None


def _curve(session: Session) -> dict[str, Any]:
    points = np.array([(e, b, p, d) for e, _, b, p, d in session.curve], dtype=np.float64).reshape(-1, 4)
    return {
        "evaluations": points[:, 0].astype(np.int64),
        "best": points[:, 1],
        "pool": points[:, 2],
        "distinct": points[:, 3].astype(np.int64),
    }
