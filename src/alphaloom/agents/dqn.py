"""The cross-sectional DQN: one small net decides for every asset whether to hold it, and the best are held together.

Source: "Investment Portfolio Optimization Using Deep Q-Networks", arXiv:2402.15994; the setting is that of Pigorsch and
Schaefer 2021, arXiv:2112.04755. Double values are van Hasselt et al. 2016, dueling ones Wang et al. 2016, targets on a
common scale van Hasselt et al. 2016 (arXiv:1602.07714).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.dqn_alignment import Alignment, Idle, Member, Rule
from alphaloom.agents.dqn_brain import CrossSectionBrain
from alphaloom.agents.dqn_rewards import earned, pay_branches
from alphaloom.agents.dqn_sight import Sight
from alphaloom.agents.observation import Observation, Observed
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.trading import Trading
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel

__all__ = ["CrossSectionBrain", "CrossSectionDQN", "ExpertsOf"]

ExpertsOf = Literal["shared", "per_asset", "per_cluster"]


@dataclass(frozen=True)
class CrossSectionDQN:
    """Learns to hold or not to hold one asset, on all assets at once, and holds those that it would rather hold.

    What is learned. A copy walks with one asset from a random row, `length` bars at most; action 1 earns the asset's
    return less `cost` when it was not held before, action 0 the mean return of the others. `centred` subtracts that
    mean from both. `symmetric_cost` pays half at the entry and half at the exit. `cost` None is what entry and exit
    cost together in the market of the fit. `gamma` discounts; a fraction `epsilon` of actions is drawn by lot.
    How. `steps` steps of each member over `copies` walks; one batch of `batch` from the last `memory` transitions every
    `every` steps; Adam with `rate`, gradients no longer than `clip`; the target net is copied every `copy_every` steps,
    and every `judge_every` steps the portfolio's growth on the last `validation` rows is taken: the best net is kept.
    Who. One member for each of `widths` (two hidden layers); `experts` "shared" is one net for all assets, "per_asset"
    one for each, "per_cluster" one for each of `clusters` groups that moved together in training. `alignment` says
    how values of different experts are compared, see `aligned`; "penalty" draws their distributions together with
    weight `penalty` in training. Members are averaged in deviations of their scores.
    What is held. `rule` "positive": all that are better held than not; "top_k": the `k` best of them, None is a fifth
    of all. `idle` says what is held when there are none: "cash", or the "basket" of all. Equal weights.
    Unit: `cost` a fraction of a position; `steps`, `copy_every` and `judge_every` steps of single walks.
    Time: scales and nets learn from rows before the last `validation` ones; those choose the net.
    Raises: DataError for a setting out of range.
    """

    observation: Observation = field(default_factory=Observation)
    widths: tuple[int, ...] = (32, 64, 128)
    experts: ExpertsOf = "shared"
    clusters: int = 5
    alignment: Alignment = "advantage"
    penalty: float = 1.0
    double: bool = True
    dueling: bool = True
    centred: bool = True
    symmetric_cost: bool = False
    cost: float | None = None
    gamma: float = 0.9
    epsilon: float = 0.3
    steps: int = 3_000_000
    memory: int = 300_000
    every: int = 20
    batch: int = 1024
    rate: float = 1e-4
    clip: float = 10.0
    copy_every: int = 10_000
    judge_every: int = 10_000
    validation: int = 252
    copies: int = 200
    length: int = 252
    rule: Rule = "positive"
    k: int | None = None
    idle: Idle = "cash"
    trading: Trading = field(default_factory=Trading)
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        choices = {
            "experts": get_args(ExpertsOf),
            "alignment": get_args(Alignment),
            "rule": get_args(Rule),
            "idle": get_args(Idle),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                fix = f"one of: {', '.join(known)}"
                raise DataError("a choice has a known name", found=getattr(self, name), where=_at(name), fix=fix)
        if not self.widths or min(self.widths) < 1 or len(set(self.widths)) < len(self.widths):
            raise DataError("members have different widths of at least one", found=self.widths, where=_at("widths"))
        counts = ("clusters", "steps", "every", "batch", "copy_every", "judge_every", "copies", "length")
        for name, least in (*((name, 1) for name in counts), ("validation", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise DataError(f"a count is at least {least}", found=getattr(self, name), where=_at(name))
        if self.memory < max(self.copies, self.batch):
            raise DataError(
                "the memory holds at least one step of all copies and one batch", found=self.memory, where=_at("memory")
            )
        if self.k is not None and self.k < 1:
            raise DataError("a count is at least 1", found=self.k, where=_at("k"))
        if not (0.0 <= self.gamma < 1.0 and 0.0 <= self.epsilon <= 1.0):
            raise DataError(
                "gamma is below 1 and epsilon a fraction", found=(self.gamma, self.epsilon), where=_at("gamma")
            )
        if not (self.rate > 0.0 and self.clip >= 0.0 and self.penalty >= 0.0 and (self.cost or 0.0) >= 0.0):
            raise DataError(
                "rates and costs are not negative",
                found=(self.rate, self.clip, self.penalty, self.cost),
                where=_at("rate"),
            )
        if self.trading.mode != "weights":
            raise DataError("this agent says weights", found=self.trading.mode, where=_at("trading"))

    def fit(self, train: Panel, market: Market) -> AgentPolicy:
        """The policy learned from the training rows.

        Raises: DataError for too few rows or without torch; SolveError for an expert that has nothing to learn from.
        """
        cut = len(train) - self.validation
        observer = self.observation.fit(train[: max(cut, 0)]) if cut > 2 else None
        if observer is None or cut - observer.lookback < 3:
            raise DataError(
                "training rows remain beside the validation rows and the look-back of what is seen",
                found=f"{len(train)} rows, {self.validation} of them for validation"
                + ("" if observer is None else f", a look-back of {observer.lookback}"),
                where=_at("validation"),
                fix="a longer training slice, or fewer validation rows",
            )
        observed = observer.observe(train)
        brain, notes = self.trained(train, observed, market, cut=cut)
        assets = train.assets if self.experts != "shared" else ()
        return AgentPolicy(observer, brain, self.trading, market, assets, notes)

    def trained(
        self, train: Panel, observed: Observed, market: Market, *, cut: int
    ) -> tuple[CrossSectionBrain, tuple[str, ...]]:
        """The brain learned from rows before `cut` and chosen on the others, and what should be noted.

        Shape: `observed` has the rows and assets of `train`.
        """
        try:
            from alphaloom.agents.dqn_training import Course, train_member
        except ModuleNotFoundError as missing:
            if missing.name != "torch":
                raise
            fix = "pip install 'alphaloom[deep]'"
            raise DataError("nets need torch", found="no torch", where="alphaloom.agents", fix=fix) from None
        per_side = market.commission + market.slippage
        cost = 2.0 * per_side + market.sell_tax if self.cost is None else self.cost
        branches = pay_branches(
            train[:cut],
            observed.usable[:cut],
            market,
            cost=cost,
            centred=self.centred,
            symmetric=self.symmetric_cost,
        )
        learned = np.asarray(branches.valid[observed.first :].any(axis=0))
        expert = self._groups(train[:cut], learned)
        course = Course(Sight(observed, table=True), branches, expert, observed.first)
        plain = CrossSectionBrain(
            (),
            expert if self.experts != "shared" else np.empty(0, np.int64),
            self.alignment,
            self.rule,
            self.k,
            self.idle,
            observed.spec,
        )
        judge = _Judge(plain, train, observed, market, cut) if self.validation > 2 else None
        members, notes = [], []
        for width in self.widths:
            member, history = train_member(course, self, width, judge=judge)
            members.append(member)
            if history:
                best = int(np.argmax(history))
                grown = float(np.expm1(history[best]))
                notes.append(f"width {width}: net {best + 1} of {len(history)} kept, {grown:+.1%} on validation rows")
        strangers = int((~learned).sum())
        if self.experts != "shared" and strangers:
            notes.append(f"{strangers} assets without training rows have no expert and are not held")
        return replace(plain, members=tuple(members)), tuple(notes)

    def _groups(self, train: Panel, learned: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The expert of each asset, counted from 0; -1 for an asset without training rows.   Shape: (N,)."""
        expert = np.full(len(learned), -1, np.int64)
        if self.experts == "shared":
            return np.zeros(len(learned), np.int64)
        columns = np.flatnonzero(learned)
        if self.experts == "per_asset" or len(columns) < 3:
            expert[columns] = np.arange(len(columns))
        else:
            expert[columns] = _clustered(train, columns, min(self.clusters, len(columns)))
        return expert


class _Judge:
    """The growth of the portfolio that one member would hold on the validation rows, after costs."""

    def __init__(self, plain: CrossSectionBrain, panel: Panel, observed: Observed, market: Market, cut: int) -> None:
        self.plain, self.observed = plain, observed
        self.returns = earned(panel, market)
        shown = np.isfinite(self.returns).any(axis=1)
        self.rows = np.flatnonzero(shown & (np.arange(len(panel)) >= max(cut, observed.first)))
        self.cost = market.commission + market.slippage

    def __call__(self, member: Member) -> float:
        """The sum of log returns."""
        brain, N = replace(self.plain, members=(member,)), self.returns.shape[1]
        nothing = np.zeros((len(self.rows), N), np.bool_)
        free, kept = (brain.scores(self.observed, self.rows, held) for held in (nothing, ~nothing))
        usable, weights, grown = self.observed.usable[self.rows], np.zeros(N), 0.0
        for b, row in enumerate(self.rows):
            held = weights > 0.0
            gain, order = (np.where(held, kept[k][b], free[k][b])[None] for k in (0, 1))
            wanted = brain.choose(gain, order, usable[b : b + 1])[0]
            cost = self.cost * float(np.abs(wanted - weights).sum())
            pay = np.where(np.isfinite(self.returns[row]), self.returns[row], 0.0)
            whole = 1.0 + float(wanted @ pay)
            grown += np.log(max(whole * (1.0 - cost), 1e-9))
            weights = wanted * (1.0 + pay) / max(whole, 1e-9)
        return float(grown)


def _clustered(train: Panel, columns: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    """Groups of assets whose training returns moved together (average linkage on 1 - correlation)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    close = np.asarray(train["close"], dtype=np.float64)[:, columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = close[1:] / close[:-1] - 1.0
    known = np.isfinite(moves)
    counts = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, moves, 0.0).sum(axis=0) / counts
    off = np.where(known, moves - centre, 0.0)
    # Only rows on which both are known count, so that a short life is not taken for a calm one.
    both, square = off.T @ off, off**2
    scale = np.sqrt((square.T @ known) * (known.T.astype(float) @ square))
    alike = np.where(scale > 0.0, both / np.where(scale > 0.0, scale, 1.0), 0.0)
    distance = np.clip(1.0 - (alike + alike.T) / 2.0, 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    label = fcluster(linkage(squareform(distance, checks=False), "average"), count, criterion="maxclust")
    return np.unique(label, return_inverse=True)[1].astype(np.int64)


def _at(name: str) -> str:
    return f"CrossSectionDQN.{name}"
