"""The training of a cross-sectional DQN, straight from arrays: no environment objects, no copies of what is seen.

Many copies walk through the market at once; what they live through goes into a ring of (row, asset, previous action,
action, reward, whether it ended), and what was seen is gathered again when a batch is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from alphaloom.agents.dqn_alignment import Member, aligned, gradient_to_pool
from alphaloom.agents.dqn_nets import Experts
from alphaloom.agents.dqn_rewards import Branches
from alphaloom.agents.dqn_sight import Sight
from alphaloom.errors import SolveError
from alphaloom.nn.torch_state import torch_threads

if TYPE_CHECKING:
    from alphaloom.agents.dqn import CrossSectionDQN

__all__ = ["Course", "train_member"]

_BEND = 5.0  # deviations of a reward from which on an error counts in proportion, no longer squared
_SAMPLE = 2048  # states an expert is asked about to learn how its scores are spread
_QUANTILES = 512
_POOL = 0.99  # memory of the pool's mean and spread, a batch
_TARGETS = 1e-2  # memory of the targets' mean and spread, a batch


@dataclass(frozen=True, eq=False)
class Course:
    """What is learned from: who may be seen, what both actions pay, and which expert answers for which asset.

    Shape: `expert` (N,), -1 for an asset that nobody answers for.
    Time: transitions begin on rows from `start` on; the branches end where training ends.
    """

    sight: Sight
    branches: Branches
    expert: NDArray[np.int64]
    start: int

    @property
    def experts(self) -> int:
        """How many experts there are."""
        return int(self.expert.max()) + 1


class _Ring:
    """The last transitions of each expert."""

    def __init__(self, K: int, room: int) -> None:
        self.room, self.filled, self.at = room, 0, 0
        self.row, self.asset = np.zeros((K, room), np.int32), np.zeros((K, room), np.int32)
        self.held, self.action = np.zeros((K, room), np.bool_), np.zeros((K, room), np.bool_)
        self.reward, self.ended = np.zeros((K, room), np.float32), np.zeros((K, room), np.bool_)

    def push(self, *parts: NDArray[np.generic]) -> None:
        m = parts[0].shape[1]
        places = (self.at + np.arange(m)) % self.room
        for name, values in zip(("row", "asset", "held", "action", "reward", "ended"), parts, strict=True):
            getattr(self, name)[:, places] = values
        self.at = int((self.at + m) % self.room)
        self.filled = min(self.room, self.filled + m)


class _Starts:
    """Where episodes may begin: an asset drawn evenly among an expert's, then one of its rows."""

    def __init__(self, course: Course) -> None:
        valid = course.branches.valid.copy()
        valid[: course.start] = False
        count = valid.sum(axis=0)
        self.rows = np.flatnonzero(valid.T.ravel()) % len(valid)
        self.first = np.concatenate(([0], np.cumsum(count)[:-1]))
        self.count = count
        self.pools = [np.flatnonzero((course.expert == k) & (count > 0)) for k in range(course.experts)]
        empty = [k for k, pool in enumerate(self.pools) if not len(pool)]
        if empty or not self.pools:
            raise SolveError(
                "every expert has rows to learn from",
                found=f"none for expert {empty[0] if empty else 0}",
                where="CrossSectionDQN.fit",
                fix="a longer training slice, or features that are known earlier",
            )

    def draw(self, random: np.random.Generator, expert: NDArray[np.intp]) -> tuple[NDArray[np.int64], ...]:
        """Rows and assets for the experts of these copies."""
        luck = random.random((2, len(expert)))
        asset = np.empty(len(expert), np.int64)
        for k in np.unique(expert):
            mine, pool = expert == k, self.pools[k]
            asset[mine] = pool[(luck[0, mine] * len(pool)).astype(np.int64)]
        place = self.first[asset] + (luck[1] * self.count[asset]).astype(np.int64)
        return self.rows[place], asset


class _Walk:
    """K times m copies that walk through the market, one asset each, and hold it or not."""

    def __init__(self, course: Course, settings: CrossSectionDQN, random: np.random.Generator) -> None:
        K = course.experts
        self.course, self.settings, self.random, self.starts = course, settings, random, _Starts(course)
        m = max(1, settings.copies // K)
        self.row, self.asset = np.zeros((K, m), np.int64), np.zeros((K, m), np.int64)
        self.held, self.left = np.zeros((K, m), np.bool_), np.zeros((K, m), np.int64)
        self._begin(np.ones((K, m), np.bool_))
        # Copies that all began together would all end together.
        self.left[:] = random.integers(1, settings.length + 1, (K, m))

    def _begin(self, over: NDArray[np.bool_]) -> None:
        self.row[over], self.asset[over] = self.starts.draw(self.random, np.nonzero(over)[0])
        self.held[over], self.left[over] = False, self.settings.length

    def step(self, net: Experts, ring: _Ring) -> int:
        """One bar for every copy; returns how many steps that were."""
        row, asset, held, pay = self.row, self.asset, self.held, self.course.branches
        q = net.forward(torch.from_numpy(self.course.sight.cells(row, asset, held))).q.numpy()
        chance = self.random.random((2, *row.shape))
        action = np.where(chance[0] < self.settings.epsilon, chance[1] < 0.5, q[..., 1] > q[..., 0])
        reward = np.where(action, pay.hold[row, asset], pay.idle[row, asset])
        reward = reward - pay.entry * (action & ~held) - pay.leave * (held & ~action)
        ended = pay.last[row, asset]
        ring.push(row, asset, held, action, reward, ended)
        self.row, self.held, self.left = row + 1, action, self.left - 1
        # The row after the last transition is seen, so there is always a next row to look at.
        over = ended | (self.left <= 0) | ~pay.valid[self.row, asset]
        if over.any():
            self._begin(over)
        return row.size


class _Batch(NamedTuple):
    x: torch.Tensor
    later: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    going: torch.Tensor


class _Job:
    """One member in training."""

    def __init__(self, course: Course, settings: CrossSectionDQN, width: int) -> None:
        self.course, self.settings = course, settings
        self.random = np.random.default_rng(np.random.SeedSequence([settings.seed, width]))
        K, D = course.experts, course.sight.inputs
        self.net = Experts(K, D, width, dueling=settings.dueling, random=self.random)
        self.target = self.net.twin()
        self.net.flat.grad = self.net.slope
        self.adam = torch.optim.Adam([self.net.flat], lr=settings.rate)
        self.ring = _Ring(K, max(1, settings.memory // K))
        self.walk = _Walk(course, settings, self.random)
        self.m = -(-settings.batch // K)
        pay = course.branches
        gaps = (pay.hold - pay.idle)[course.start :][pay.valid[course.start :]]
        self.unit = float(gaps.std()) or 1.0
        self.mean, self.spread = torch.zeros(K), torch.ones(K)
        self.target_mean, self.target_spread = self.mean.clone(), self.spread.clone()
        self.pool = (0.0, 1.0)
        self.updates = 0

    def batch(self) -> _Batch:
        ring, K = self.ring, self.course.experts
        drawn = self.random.integers(0, ring.filled, (K, self.m))
        experts = np.arange(K)[:, None]
        row, asset, action = ring.row[experts, drawn], ring.asset[experts, drawn], ring.action[experts, drawn]
        sight = self.course.sight
        return _Batch(
            torch.from_numpy(sight.cells(row, asset, ring.held[experts, drawn])),
            torch.from_numpy(sight.cells(row + 1, asset, action)),
            torch.from_numpy(action.astype(np.int64))[..., None],
            torch.from_numpy(ring.reward[experts, drawn] / np.float32(self.unit)),
            torch.from_numpy((~ring.ended[experts, drawn]).astype(np.float32)),
        )

    def learn(self) -> None:
        """One gradient step on one batch."""
        settings, batch = self.settings, self.batch()
        ahead = self.target.forward(batch.later).q
        ahead = ahead * self.target_spread[:, None, None] + self.target_mean[:, None, None]
        best = self.net.forward(batch.later).q if settings.double else ahead
        future = ahead.gather(-1, best.argmax(-1, keepdim=True))[..., 0]
        wanted = batch.reward + settings.gamma * batch.going * future
        if settings.alignment == "popart":
            self._follow(wanted)
        passed = self.net.forward(batch.x)
        said = passed.q.gather(-1, batch.action)[..., 0]
        error = said - (wanted - self.mean[:, None]) / self.spread[:, None]
        dq = torch.zeros_like(passed.q)
        dq.scatter_(-1, batch.action, (error.clamp_(-_BEND, _BEND) / self.m)[..., None])
        if settings.alignment == "penalty" and self.course.experts > 1:
            dq += self._drawn_together(passed.q)
        self.net.backward(passed, dq / self.course.experts)
        if settings.clip > 0.0:
            torch.nn.utils.clip_grad_norm_([self.net.flat], settings.clip)
        self.adam.step()
        self.updates += 1

    def _follow(self, wanted: torch.Tensor) -> None:
        """Keep the targets at mean 0 and spread 1 for each expert, without changing what the nets stand for."""
        part = max(_TARGETS, 1.0 / (self.updates + 1.0))
        mean = (1.0 - part) * self.mean + part * wanted.mean(dim=1)
        square = (1.0 - part) * (self.spread**2 + self.mean**2) + part * wanted.square().mean(dim=1)
        spread = (square - mean**2).clamp_(min=1e-8).sqrt_().clamp_(min=1e-4)
        if self.updates:
            self.net.rescale(self.spread / spread, (self.mean - mean) / spread)
        self.mean, self.spread = mean, spread

    def _drawn_together(self, q: torch.Tensor) -> torch.Tensor:
        """The slope of the distance of each expert's values, and of their differences, from everybody's."""
        gain = q[..., 1] - q[..., 0]
        mean, spread = float(gain.mean()), float(gain.std())
        self.pool = (_POOL * self.pool[0] + (1.0 - _POOL) * mean, _POOL * self.pool[1] + (1.0 - _POOL) * spread)
        slope = gradient_to_pool(gain, *self.pool)
        # A distribution has no direction: who is pulled before it has learned which way is up may stay upside down.
        risen = min(1.0, 2.0 * self.updates * self.settings.every / self.settings.steps)
        return risen * self.settings.penalty * torch.stack((-slope, slope), dim=-1)

    def copy(self) -> None:
        """Make the present net the one that says what lies ahead."""
        self.target.flat.copy_(self.net.flat)
        self.target_mean, self.target_spread = self.mean.clone(), self.spread.clone()

    def member(self, states: NDArray[np.float32]) -> Member:
        """The present net with the spread of its scores over some training states.   Shape: states (K, S, D)."""
        K = self.course.experts
        mean, spread = (part.numpy().astype(np.float64) for part in (self.mean, self.spread))
        bare = Member(self.net.arrays(), self.settings.dueling, self.unit, mean, spread, np.zeros((K, 1)))
        q = self.net.forward(torch.from_numpy(states)).q.numpy().astype(np.float64)
        values = self.unit * (spread[:, None, None] * q + mean[:, None, None])
        gain = values[..., 1] - values[..., 0]
        shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        table = np.quantile(gain, shares, axis=1).T if self.settings.alignment == "cdf" else np.zeros((K, 1))
        ready = Member(bare.weights, bare.dueling, bare.unit, mean, spread, table)
        scores, _ = aligned(ready, values.swapaxes(0, 1), np.arange(K), self.settings.alignment)
        deviation = float(scores.std()) or 1.0
        return Member(bare.weights, bare.dueling, bare.unit, mean, spread, table, deviation)


def train_member(
    course: Course, settings: CrossSectionDQN, width: int, *, judge: Callable[[Member], float] | None = None
) -> tuple[Member, tuple[float, ...]]:
    """Train one member; with a judge, the best of those that it saw every `judge_every` steps.

    Returns the member and what the judge said each time.
    Raises: SolveError for an expert without rows to learn from.
    """
    with torch_threads(1), torch.no_grad():
        job = _Job(course, settings, width)
        states = _states(job)
        taken = done = 0
        next_copy, next_judge = settings.copy_every, settings.judge_every
        best, history = None, []
        while taken < settings.steps:
            taken += job.walk.step(job.net, job.ring)
            while done < min(taken, settings.steps) // settings.every and job.ring.filled >= min(job.m, job.ring.room):
                job.learn()
                done += 1
            if taken >= next_copy:
                job.copy()
                next_copy += settings.copy_every
            if judge is not None and (taken >= next_judge or taken >= settings.steps):
                found = job.member(states)
                history.append(float(judge(found)))
                best = found if best is None or history[-1] > max(history[:-1], default=-np.inf) else best
                next_judge += settings.judge_every
        return (job.member(states) if best is None else best), tuple(history)


def _states(job: _Job) -> NDArray[np.float32]:
    """States of each expert's training rows, held and not in turn.   Shape: (K, S, D)."""
    K = job.course.experts
    S = min(_SAMPLE, max(256, 2 * _SAMPLE * 8 // K))
    row, asset = job.walk.starts.draw(job.random, np.repeat(np.arange(K), S))
    held = np.broadcast_to(np.arange(S) % 2 == 1, (K, S))
    return job.course.sight.cells(row.reshape(K, S), asset.reshape(K, S), held)
