"""Searches for workers and for processes that are killed, in a module that every process can import."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, Session
from alphaloom.mining.random_search import RandomSearch
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns

GRAMMAR = Grammar(windows=(5, 10), max_tokens=9, max_lookback=60)


def small_panel() -> Panel:
    """The same random walks in every process."""
    random = np.random.default_rng(2)
    close = 50.0 * np.exp(np.cumsum(random.normal(0, 0.02, (160, 20)), axis=0))
    fields = {"close": close, "open": close * np.exp(random.normal(0, 0.006, close.shape))}
    fields |= {"high": close * 1.01, "low": close * 0.99, "vwap": 0.5 * (close + fields["open"])}
    fields["volume"] = np.exp(random.normal(13, 0.5, close.shape))
    times = np.datetime64("2015-01-01", "ns") + np.arange(160) * np.timedelta64(1, "D")
    return Panel(times=times, assets=tuple(f"A{k:02d}" for k in range(20)), fields=fields)


def small_session(*, directory: Path | None = None, budget: int = 60, seed: int = 1, capacity: int = 4) -> Session:
    panel = small_panel()
    return Session(
        panel,
        forward_returns(panel, Market(), horizon=3),
        grammar=GRAMMAR,
        pool=Pool(capacity),
        start_row=60,
        budget=Budget(budget),
        seed=seed,
        directory=directory,
    )


def found(session: Session) -> dict[str, Any]:
    """All that a search knows at its end, in plain values."""
    return {
        "known": [(str(a.expr), a.fault, a.ic.hex(), a.icir.hex()) for a in session.known.values()],
        "marks": session.fingerprints.table().tobytes().hex(),
        "pool": [str(alpha.expr) for alpha in session.pool.alphas],
        "weights": [weight.hex() for weight in session.pool.weights.tolist()],
        "ic": session.pool.ic.hex(),
        "counts": dict(sorted(session.counts.items())),
        "curve": session.curve,
        "rng": session.rng.bit_generator.state,
    }


@dataclass(frozen=True)
class Mortal:
    """Kills its own worker the first time that it has judged so many formulas; leaves a sign in a folder."""

    folder: str
    at: int
    batch: int = 8

    def mine(self, session: Session) -> None:
        sign = Path(self.folder) / "killed"
        if session.seed % 2 and not sign.exists():
            sign.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        RandomSearch(batch=self.batch).mine(session)


def miner_named(name: str) -> Any:
    """A small miner of each kind that the room has."""
    if name == "random_search":
        return RandomSearch(batch=8, keep_every=8)
    if name == "riskminer":
        from alphaloom.mining.riskminer import RiskMiner

        return RiskMiner(simulations=8, leaves=2, batch=4, layers=1, width=8, embedding=4)
    from alphaloom.mining.islands import Islands

    return Islands(RandomSearch(batch=8), islands=2, rounds=5)


def main() -> None:
    """Search in a directory and say at the end what was found; killed at any time from outside."""
    name, folder, budget = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    session = small_session(directory=folder / "search", budget=budget)
    (folder / "ready").touch()
    miner_named(name).mine(session)
    (folder / "found.part").write_text(json.dumps(found(session)))
    (folder / "found.part").replace(folder / "found.json")


if __name__ == "__main__":
    main()
