"""A small market with a planted signal, and learners that are simple enough to reason about.

Also a program: `python study_cases.py run|mortal ...`, for the tests that need a second process or one that dies.
"""

from __future__ import annotations

import os
import signal as signals
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.signal import Signal, forward_returns
from alphaloom.study import Study, WalkForward

MARKET = Market(commission=0.0005, slippage=0.0005)


def planted_panel(T: int = 260, N: int = 24, seed: int = 3, *, strength: float = 0.5, extras: bool = True) -> Panel:
    """A market in which the field `tip` foretells part of the return from the next open to the one after."""
    rng = np.random.default_rng(seed)
    times = np.arange(np.datetime64("2012-01-02"), np.datetime64("2012-01-02") + T).astype("datetime64[ns]")
    tip = rng.normal(size=(T, N))
    moves = 0.0002 + 0.01 * rng.normal(size=(T, N))
    moves[2:] += strength * 0.01 * tip[:-2]  # the tip of row t moves the open of row t + 2 against that of t + 1
    open_ = 20.0 * np.exp(np.cumsum(moves, axis=0))
    close = open_ * np.exp(0.002 * rng.normal(size=(T, N)))
    fields = {"open": open_, "close": close, "tip": tip, "volume": np.full((T, N), 1e6)}
    more: dict[str, Any] = {}
    if extras:
        more["series"] = {"index": 100.0 * np.exp(np.cumsum(moves.mean(axis=1))), "vix": 15 + 5 * rng.random(T)}
        more["labels"] = {"sector": np.broadcast_to(np.arange(N, dtype=np.int16) % 3, (T, N))}
        more["label_names"] = {"sector": ("alpha", "beta", "gamma")}
    return Panel(times=times, assets=tuple(f"A{j:02d}" for j in range(N)), fields=fields, notes=("made up",), **more)


@dataclass(frozen=True)
class Line:
    """Score = slope * tip, the slope learned by least squares."""

    horizon: int = 1

    def fit(self, train: Panel, market: Market) -> LineForecaster:
        target = forward_returns(train, market, horizon=self.horizon).values
        known = np.isfinite(target)
        tip = train["tip"][known]
        return LineForecaster(float((tip * target[known]).sum() / (tip * tip).sum()), self.horizon)


@dataclass(frozen=True)
class LineForecaster:
    slope: float
    horizon: int = 1
    lookback: int = 0
    notes: tuple[str, ...] = ("a line was fitted",)

    def predict(self, panel: Panel) -> Signal:
        return Signal(panel.times, panel.assets, self.slope * panel["tip"], "return", self.horizon, "line")


@dataclass(frozen=True)
class Witness:
    """Writes down what it was shown."""

    lookback: int = 4
    seen: list[Any] = field(default_factory=list, compare=False)

    def fit(self, train: Panel, market: Market) -> WitnessForecaster:
        self.seen.append(("fit", train.times[0], train.times[-1], forward_returns(train, market, horizon=3)))
        return WitnessForecaster(len([item for item in self.seen if item[0] == "fit"]), self)


@dataclass(frozen=True)
class WitnessForecaster:
    number: int
    witness: Witness

    @property
    def lookback(self) -> int:
        return self.witness.lookback

    def predict(self, panel: Panel) -> Signal:
        self.witness.seen.append(("predict", panel.times[0], panel.times[-1], None))
        values = np.full(panel.shape, float(self.number)) + 0.01 * np.arange(panel.shape[1])
        return Signal(panel.times, panel.assets, values, "score", 3)


@dataclass(frozen=True)
class Best:
    """Holds the best k in equal parts."""

    k: int = 4

    def policy(self, signal: Signal) -> BestPolicy:
        return BestPolicy(self.k, signal)


@dataclass(frozen=True, eq=False)
class BestPolicy:
    k: int
    signal: Signal
    lookback: int = 0

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        score = self.signal.row_at(view.times[-1])
        if not np.isfinite(score).any():
            return np.full(len(score), np.nan)
        best = np.argsort(-np.where(np.isnan(score), -np.inf, score), kind="stable")[: self.k]
        weights = np.zeros(len(score))
        weights[best] = 0.98 / self.k
        return weights


@dataclass(frozen=True)
class Constant:
    """Holds one asset with all its money, for ever; a scheduled policy."""

    column: int
    weight: float = 0.95
    lookback: int = 0

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        return self.weights(view[len(view) - 1 :])[0]

    def weights(self, panel: Panel) -> np.ndarray:
        rows = np.zeros(panel.shape)
        rows[:, self.column] = self.weight
        return rows


@dataclass(frozen=True)
class NextColumn:
    """Learns nothing: the policy of a training slice holds the column that its last row's number names."""

    def fit(self, train: Panel, market: Market) -> Constant:
        return Constant(int(train.times[-1].astype("datetime64[D]").astype(int)) % len(train.assets))


def line_study(**changes: Any) -> Study:
    parts: dict[str, Any] = {
        "name": "line",
        "learner": Line(),
        "market": MARKET,
        "plan": WalkForward(train=60, test=40),
        "allocator": Best(),
        "benchmarks": {"second": Constant(1), "first": Constant(0)},
        "trials": 5,
        "seed": 11,
        "config": {"plan": {"train": 60, "test": 40}, "name": "line"},
    }
    return Study(**{**parts, **changes})


def policy_study(**changes: Any) -> Study:
    return line_study(**{"name": "next column", "learner": NextColumn(), "allocator": None, "config": {}, **changes})


STUDIES = {"line": line_study, "policy": policy_study}


def _die_at(call: int) -> None:
    """Kill this process with SIGKILL at the n-th step of writing: in the middle of a file, or before a rename."""
    steps = iter(range(10**9))
    write, replace = os.fsync, Path.replace

    def deadly_fsync(handle: int) -> None:
        if next(steps) == call:
            os.kill(os.getpid(), signals.SIGKILL)
        write(handle)

    def deadly_replace(self: Path, target: Path) -> Path:
        if next(steps) == call:
            os.kill(os.getpid(), signals.SIGKILL)
        return replace(self, target)

    os.fsync = deadly_fsync
    Path.replace = deadly_replace  # type: ignore[method-assign]


def main(argv: list[str]) -> None:
    """`run STUDY DIRECTORY`, or `mortal STUDY DIRECTORY CALL...`: one child for each step of writing to die at."""
    mode, name, folder, *calls = argv
    if mode == "run":
        STUDIES[name]().run(planted_panel(), directory=folder)
        return
    STUDIES[name]().run(planted_panel())  # loads the compiled kernels once for all children
    for call in map(int, calls):
        child = os.fork()
        if child == 0:
            _die_at(call)
            STUDIES[name]().run(planted_panel(), directory=folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"ended {os.waitstatus_to_exitcode(status)}")  # noqa: T201


if __name__ == "__main__":
    import study_cases  # the learners must bear this module's name, not __main__

    study_cases.main(sys.argv[1:])
