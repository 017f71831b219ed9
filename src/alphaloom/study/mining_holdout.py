"""The one look at the test, and what luck would have shown there.

`test_labels` is the only function that makes the test's labels, and `hold_out` the only one that calls it. Before it
does, the look is written down: a search whose test was read and then improved is no longer tested by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.errors import DataError
from alphaloom.metrics import ranking
from alphaloom.metrics.inference import deflated_sharpe
from alphaloom.mining.mined_files import load_pool
from alphaloom.panel import Panel
from alphaloom.signal import Signal, Target, forward_returns
from alphaloom.study.directory import RunDirectory
from alphaloom.study.mining_measures import Desk, coefficients, neutral_returns, traded
from alphaloom.study.mining_placebo import at_budget, band, luck, placebo_pool, trial_returns
from alphaloom.study.mining_result import ARCHIVE, POOL, READS, MiningResult, load_mining, test_reads, write_holdout
from alphaloom.study.mining_search import pool_signal
from alphaloom.study.mining_setup import Mining
from alphaloom.study.mining_split import Parts

__all__ = ["hold_out"]

Progress = Callable[[str, int, int], None]


def hold_out(
    mining: Mining,
    panel: Panel,
    directory: Path,
    *,
    progress: Progress | None = None,
    stamp: str = "",
) -> MiningResult:
    """Read the test once more, judge the pool on it and against luck, and store both.

    `stamp` is written into the record of looks as it is given. Placebo searches and the count of overfitting stand on
    rows before the test and are made first, so that a stopped call has not yet looked.
    Raises: DataError for a search that is not finished or for another panel.
    """
    tell = progress or (lambda stage, done, total: None)
    result = load_mining(directory)
    whole, _ = mining.prepared(panel)
    if panel.source != result.facts["data"]:
        raise DataError(
            "the test belongs to the data of the search",
            found=panel.source[:16],
            where=str(directory),
            fix="give the data that the search was run on",
        )
    parts = mining.parts(whole)
    known = whole[: parts.valid.stop]
    placebos = []
    tell("placebo", 0, mining.placebo.runs)
    for number in range(mining.placebo.runs):
        placebos.append(placebo_pool(mining, known, parts, number=number, folder=directory / "placebo"))
        tell("placebo", number + 1, mining.placebo.runs)
    tell("trials", 0, 1)
    trials = luck(trial_returns(mining, known, parts, _archive(directory, mining.placebo.archive)))
    tell("trials", 1, 1)
    found_pool = load_pool(directory / POOL)
    reads = _write_down(directory, result, stamp)
    labels = test_labels(whole, mining, parts, horizon=mining.horizon)
    signal = pool_signal(found_pool, whole, parts.test, threads=mining.settings.threads)
    found, daily = coefficients(signal, labels, min_pairs=mining.settings.min_pairs, seed=mining.seed)
    money, days = traded(signal, whole, Desk(mining.allocator, mining.market, mining.cash), rows=parts.test)
    unseen = [
        _mean_ic(pool_signal(pool, whole, parts.test), labels, mining.settings.min_pairs)
        for pool, _ in placebos
        if pool is not None
    ]
    neutral = neutral_returns(signal, test_labels(whole, mining, parts, horizon=1))
    real = at_budget(result.curve, mining.placebo.evaluations)
    record = {
        **found,
        "span": [str(whole.times[row].astype("datetime64[D]")) for row in (parts.test.start, parts.test.stop - 1)],
        "book": money,
        "placebo": {
            "runs": mining.placebo.runs,
            "evaluations": mining.placebo.evaluations,
            "block": mining.placebo.block,
            "train": band([ic for _, ic in placebos], real),
            "test": band(unseen, found["ic"]["value"]),
        },
        "trials": {**trials, **_deflated(result, trials, neutral, len(reads))},
        "reads": len(reads),
    }
    times = {"time": whole.times[parts.test.start : parts.test.stop]}
    write_holdout(record, {**times, **daily, **days, "neutral": neutral}, directory)
    return load_mining(directory)


def test_labels(panel: Panel, mining: Mining, parts: Parts, *, horizon: int) -> Target:
    """The labels of the test's rows; nothing else in the package makes them."""
    return forward_returns(panel[: parts.test.stop], mining.market, horizon=horizon)[parts.test.start :]


def _mean_ic(signal: Signal, labels: Target, least: int) -> float:
    daily = ranking.ic(signal.values, labels.values, min_pairs=least)
    return float(np.nanmean(daily)) if np.isfinite(daily).any() else float("nan")


def _write_down(directory: Path, result: MiningResult, stamp: str) -> tuple[Mapping[str, Any], ...]:
    """One more line in the record of looks, before the look."""
    before = test_reads(directory)
    entry = {
        "read": len(before) + 1,
        "trials": result.facts["distinct"] * result.facts["trials"],
        "evaluations": result.facts["evaluations"],
        **({"at": stamp} if stamp else {}),
    }
    lines = [json.dumps(line, sort_keys=True) for line in (*before, entry)]
    RunDirectory(directory, "").write(READS, ("\n".join(lines) + "\n").encode())
    return (*before, entry)


def _archive(directory: Path, count: int) -> list[tuple[str, float]]:
    """Distinct valid formulas of the search, evenly from the best to the worst by |IC|, the best included."""
    from alphaloom.study.tables import columns_of

    columns = columns_of((directory / ARCHIVE).read_bytes())[0]
    usable = [(str(text), float(ic)) for text, ic in zip(columns["formula"], columns["ic"], strict=True)]
    if len(usable) <= count:
        return usable
    return [usable[k] for k in np.unique(np.linspace(0, len(usable) - 1, count).round().astype(int))]


def _deflated(result: MiningResult, trials: Mapping[str, Any], neutral: Any, reads: int) -> dict[str, Any]:
    """The chance that the score's neutral book is better than the best of so many worthless trials.

    The trials are the formulas' own neutral books before costs, so it is the score's neutral book that is judged: once
    with the spread that worthless trials have, and once with that of the formulas that were tried.
    """
    count = max(int(result.facts["distinct"]), 1) * int(result.facts["trials"]) * reads
    returns = np.asarray(neutral, dtype=np.float64)
    spread = float(returns.std(ddof=1)) if len(returns) > 2 else 0.0
    found: dict[str, Any] = {"count": count, "deflated_sharpe": None, "deflated_by_spread": None}
    if spread <= 0:
        return found
    centred = (returns - returns.mean()) / returns.std()
    shape = {"skew": float((centred**3).mean()), "kurtosis": float((centred**4).mean())}
    # Worthless trials of this length spread by 1 / (n - 1); what was really tried may spread more, by skill or luck.
    spreads = {"deflated_sharpe": 1.0 / (len(returns) - 1), "deflated_by_spread": trials.get("variance")}
    for name, variance in spreads.items():
        if variance is not None:
            value = deflated_sharpe(
                float(returns.mean()) / spread,
                count=len(returns),
                trials=float(count),
                variance=float(variance),
                **shape,
            )
            found[name] = value if np.isfinite(value) else None
    return found
