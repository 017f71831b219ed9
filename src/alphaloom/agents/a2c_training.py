"""The training of an actor-critic: copies act, one step of Adam learns from what they lived through, laps judge.

The panel stays in one place: copies hold row numbers, and what a row looks like to the present net is worked out once
for all copies that stand on it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alphaloom.agents.a2c_brain import ActorBrain, NetShape
from alphaloom.agents.a2c_choices import ACTED, make_choices
from alphaloom.agents.a2c_nets import Answer, Attending, Flat, Sight, make_net
from alphaloom.agents.observed import Observed
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import Trading
from alphaloom.errors import DataError, SolveError
from alphaloom.market import Market
from alphaloom.nn import Progress
from alphaloom.nn.checkpoint import grouped, moments_of, read_checkpoint, recall_moments, write_checkpoint
from alphaloom.nn.torch_state import torch_state
from alphaloom.panel import Panel

if TYPE_CHECKING:
    from alphaloom.agents.a2c import ActorCritic

__all__ = ["Ground", "train_actor"]

_HISTORY = ("reward", "policy", "value", "entropy", "explained", "held")
_EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class Ground:
    """What is learnt on: rows before `split` teach, those from it on judge."""

    panel: Panel
    observed: Observed
    market: Market
    split: int


@dataclass
class _Course:
    """Where a training stands; together with the tensors all that a resume needs."""

    lap: int = 0
    best: int = -1
    score: float | None = None
    unit: float = 0.0
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _HISTORY})


class _Lived(NamedTuple):
    """What the copies lived through.   Shape: rows and returns (n, B), portfolio (n, B, N + 1), drawn (n, B, A)."""

    rows: NDArray[np.int64]
    portfolio: NDArray[np.float32]
    drawn: Tensor
    returns: NDArray[np.float32]
    reward: float


def train_actor(
    settings: ActorCritic, ground: Ground, *, checkpoint: Path | None = None, progress: Progress | None = None
) -> ActorBrain:
    """See `ActorCritic.fit`."""
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        raise DataError("the device is present", found=settings.device, where="ActorCritic.device", fix='device="cpu"')
    with torch_state(settings.seed, threads=settings.threads, device=settings.device):
        job = _Job(settings, ground)
        if checkpoint is not None and checkpoint.exists():
            job.restore(checkpoint)
        while job.course.lap < job.laps:
            _lap(job, progress)
            if checkpoint is not None:
                job.save(checkpoint)
        if progress is not None:
            total = job.updates * settings.copies * settings.rollout
            progress("train", total, total)
        return job.brain()


class _Job:
    """An actor with its critic, their optimiser, the copies that act, and the course."""

    def __init__(self, settings: ActorCritic, ground: Ground) -> None:
        self.settings, self.ground = settings, ground
        _, N, F = ground.observed.shape
        outputs, cash = ACTED[settings.trading.mode]
        markets, window = len(ground.observed.market_names), ground.observed.window
        self.shape = NetShape(settings.net, N, F, markets, window, outputs, cash)
        self.net, self.choices = make_net(self.shape), make_choices(settings.trading.mode)
        self.modules = nn.ModuleDict({"net": self.net, "choices": self.choices}).to(settings.device)
        self.optimiser = torch.optim.Adam(self.modules.parameters(), lr=settings.rate, fused=True)
        self.looks = _Looks(self.net, Sight(ground.observed, settings.device))
        self.kept: dict[str, Tensor] = {}
        self.course = _Course()
        first = ground.observed.first
        whole = replace(settings.trading, episode="full")
        self.copies = _simulator(ground, settings.trading, settings.copies, (first, ground.split))
        self.judge = _simulator(ground, whole, 1, (ground.split, len(ground.panel))) if settings.validation else None
        self.updates = max(1, round(settings.steps / (settings.copies * settings.rollout)))
        self.per_lap = -(-self.updates // settings.laps)
        if settings.trading.episode == "full":
            self.per_lap = max(self.per_lap, -(-(ground.split - first) // settings.rollout))
        self.laps = -(-self.updates // self.per_lap)

    def brain(self) -> ActorBrain:
        weights = self.kept or self.modules.state_dict()
        return ActorBrain(
            self.shape,
            self.settings.trading.mode,
            self.ground.observed.spec,
            {name: np.array(values.detach().cpu().numpy()) for name, values in weights.items()},
            {name: tuple(values) for name, values in self.course.history.items()},
            self.course.best,
        )

    def save(self, path: Path) -> None:
        tensors = {f"now.{name}": values for name, values in self.modules.state_dict().items()}
        tensors |= {f"kept.{name}": values for name, values in self.kept.items()}
        tensors |= {f"adam.{name}": values for name, values in moments_of(self.optimiser).items()}
        write_checkpoint(path, tensors, {"name": _fingerprint(self), **asdict(self.course)})

    def restore(self, path: Path) -> None:
        tensors, course = read_checkpoint(path)
        if course.pop("name", None) != _fingerprint(self):
            raise DataError(
                "a checkpoint goes on with the settings and the panel that it was made with",
                found="another training",
                where=str(path),
                fix="delete the file to train from the start, or give another path",
            )
        groups = grouped(tensors, ("now", "kept", "adam"))
        self.modules.load_state_dict(groups["now"])
        self.kept = {name: values.to(self.settings.device) for name, values in groups["kept"].items()}
        recall_moments(self.optimiser, groups["adam"])
        self.course = _Course(**course)


class _Looks:
    """What rows look like to the present net, worked out when first asked for."""

    def __init__(self, net: Attending | Flat, sight: Sight) -> None:
        self.net, self.sight = net, sight
        self.known = np.zeros(len(sight.market), np.bool_)
        self.seen: Tensor | None = None

    def forget(self) -> None:
        """The net has changed."""
        self.known[:] = False

    def answer(self, rows: NDArray[np.int64], portfolio: NDArray[np.float32], ahead: int) -> tuple[Answer, Tensor]:
        """What the net says, and what is usable; where rows are new, so many rows from there on are looked at."""
        fresh = rows[~self.known[rows]]
        if len(fresh):
            wanted = np.unique(np.minimum(fresh[:, None] + np.arange(ahead), len(self.known) - 1))
            wanted = wanted[~self.known[wanted]]
            at = torch.from_numpy(wanted).to(self.sight.device)
            encoded = self.net.encode(self.sight, at)
            if self.seen is None:
                self.seen = encoded.new_zeros((len(self.known), *encoded.shape[1:]))
            self.seen[at] = encoded
            self.known[wanted] = True
        assert self.seen is not None
        at = torch.from_numpy(rows).to(self.sight.device)
        return self.following(self.seen.index_select(0, at), at, portfolio)

    def following(self, encoded: Tensor, rows: Tensor, portfolio: NDArray[np.float32]) -> tuple[Answer, Tensor]:
        """What the net says of rows that were encoded."""
        sight = self.sight
        usable, market = sight.usable.index_select(0, rows), sight.market.index_select(0, rows)
        book = torch.from_numpy(np.ascontiguousarray(portfolio)).to(sight.device)
        return self.net(encoded, market, usable, book), usable


def _simulator(ground: Ground, trading: Trading, count: int, rows: tuple[int, int]) -> Simulator:
    if trading.episode == "random":  # a slice that is shorter than an episode is one
        trading = replace(trading, length=min(trading.length, rows[1] - rows[0] - 1))
    return Simulator(ground.panel, ground.observed, ground.market, trading, count=count, rows=rows)


def _lap(job: _Job, progress: Progress | None) -> None:
    """Fresh episodes, some updates, then the judging."""
    settings, course = job.settings, job.course
    # The lap alone says what chance does in it, so a resume needs no state of the copies.
    luck = np.random.SeedSequence([settings.seed, course.lap]).generate_state(2, np.uint64)
    job.copies.reset(int(luck[0]))
    random = torch.Generator(settings.device).manual_seed(int(luck[1] >> np.uint64(1)))
    start = course.lap * job.per_lap
    stop = min(start + job.per_lap, job.updates)
    sums = np.zeros(len(_HISTORY) - 1)
    for k in range(start, stop):
        sums += _update(job, random)
        if progress is not None:
            one = settings.copies * settings.rollout
            progress("train", (k + 1) * one, job.updates * one)
    for name, value in zip(_HISTORY, sums / (stop - start), strict=False):
        course.history[name].append(float(value))
    _judge(job)
    course.lap += 1


def _update(job: _Job, random: torch.Generator) -> NDArray[np.float64]:
    """One rollout and one step of Adam; mean reward, losses of actor and critic, entropy, explained variance."""
    settings = job.settings
    job.looks.forget()
    lived = _rollout(job, random)
    loss, parts = _loss(job, lived)
    job.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    length = float(nn.utils.clip_grad_norm_(job.modules.parameters(), settings.gradient))
    # A gradient of infinite length is cut to nothing: the net would stand still without a word.
    if not np.isfinite((*parts, length)).all():
        raise SolveError(
            "a loss and its gradient are finite",
            found=f"losses {parts.tolist()}, length {length} in lap {job.course.lap}",
            where="ActorCritic.fit",
            fix="lower rate, or leave standardise on",
        )
    job.optimiser.step()
    return np.append(lived.reward, parts)


@torch.inference_mode()
def _rollout(job: _Job, random: torch.Generator) -> _Lived:
    """Let the copies act by lot and work out what their actions were worth."""
    settings, copies = job.settings, job.copies
    n, B, gamma = settings.rollout, settings.copies, settings.gamma
    rows = np.empty((n, B), np.int64)
    portfolio = np.empty((n, B, copies.portfolio.shape[1]), np.float32)
    paid, goes_on, later = np.empty((n, B)), np.empty((n, B)), np.zeros((n, B))
    drawn = []
    for s in range(n):
        rows[s], portfolio[s] = copies.row, copies.portfolio
        answer, usable = job.looks.answer(rows[s], portfolio[s], n - s + 1)
        drawn.append(job.choices.drawn(answer, usable, random))
        step = copies.step(job.choices.acted(drawn[-1], usable).cpu().numpy())
        paid[s], goes_on[s] = step.reward, ~(step.terminated | step.truncated)
        cut = np.flatnonzero(step.truncated & ~step.terminated)
        if len(cut):
            answer, _ = job.looks.answer(step.final_row[cut], step.final_portfolio[cut], 1)
            later[s, cut] = answer.value.double().cpu().numpy()
    if not job.course.unit:
        job.course.unit = (float(paid.std()) or 1.0) if settings.standardise else 1.0
    answer, _ = job.looks.answer(copies.row, copies.portfolio, 1)
    worth, ahead = np.empty((n, B), np.float32), answer.value.double().cpu().numpy()
    for s in reversed(range(n)):
        ahead = paid[s] / job.course.unit + gamma * (goes_on[s] * ahead + later[s])
        worth[s] = ahead
    return _Lived(rows, portfolio, torch.stack(drawn), worth, float(paid.mean()))


def _loss(job: _Job, lived: _Lived) -> tuple[Tensor, NDArray[np.float64]]:
    settings, device = job.settings, job.settings.device
    flat = torch.from_numpy(lived.rows.ravel()).to(device)
    ascending, place = torch.unique(flat, return_inverse=True)
    encoded = job.net.encode(job.looks.sight, ascending).index_select(0, place)
    portfolio = lived.portfolio.reshape(len(flat), -1)
    answer, usable = job.looks.following(encoded, flat, portfolio)
    # What was drawn in inference mode may not be kept for the way back; a clone may.
    logs, entropy = job.choices.logs(answer, usable, lived.drawn.flatten(0, 1).clone())
    worth = torch.from_numpy(lived.returns.ravel()).to(device)
    gain = worth - answer.value.detach()
    explained = 1.0 - gain.var(correction=0) / worth.var(correction=0).clamp_min(_EPSILON)
    if settings.standardise:
        gain = (gain - gain.mean()) / (gain.std(correction=0) + _EPSILON)
    actor, critic, undecided = -(logs * gain).mean(), (answer.value - worth).square().mean(), entropy.mean()
    loss = actor + settings.value * critic - settings.entropy * undecided
    return loss, torch.stack((actor, critic, undecided, explained)).detach().double().cpu().numpy()


@torch.inference_mode()
def _judge(job: _Job) -> None:
    """Trade the validation rows with the likeliest actions, and keep the weights if none did it better."""
    course, copy = job.course, job.judge
    if copy is None:
        course.best = course.lap
        return
    job.looks.forget()
    copy.reset()

    def likeliest() -> NDArray[np.generic]:
        answer, usable = job.looks.answer(copy.row.copy(), copy.portfolio, job.settings.validation)
        found: NDArray[np.generic] = job.choices.best(answer, usable).cpu().numpy()
        return found

    equity = copy.trade_through(likeliest)
    # Ruin is told as a finite loss, which JSON can hold.
    held = math.log(equity / job.settings.trading.cash) if equity > 0.0 else -1e9
    course.history["held"].append(held)
    if course.score is None or held > course.score:
        course.score, course.best = held, course.lap
        job.kept = {name: values.detach().clone() for name, values in job.modules.state_dict().items()}


def _fingerprint(job: _Job) -> str:
    """What a checkpoint must have been made with."""
    ground = job.ground
    seen = hashlib.sha256()
    for part in (ground.observed.features, ground.observed.market, ground.observed.usable):
        seen.update(np.ascontiguousarray(part).data)
    parts = (job.settings, ground.market, ground.split, ground.panel.digest(), seen.hexdigest(), torch.__version__)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
