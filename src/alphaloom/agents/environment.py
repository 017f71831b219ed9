"""The exact environment behind Gymnasium's interfaces: a vector of copies, one copy alone, a record of episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from alphaloom.agents.baselines3_brain import simplex
from alphaloom.agents.observed import Observed
from alphaloom.agents.simulator import Simulator, Step, Trades
from alphaloom.agents.spaces import acted_space, checked_logits, seen_space, shown
from alphaloom.agents.trading import Trading
from alphaloom.market import Market
from alphaloom.panel import Panel

__all__ = ["Episode", "EpisodeRecorder", "TradingEnv", "TradingVecEnv"]


class TradingVecEnv(VectorEnv[Any, Any, Any]):
    """Copies of a simulator as a Gymnasium vector; an episode that ends begins again in the same step.

    Actions: "weights" takes logits within 5, cash first, whose softmax over what may be traded is traded; the other
    modes take what the simulator takes. Observations are those of `trading.layout`, one row for each copy.
    Infos: equity, cost, turnover and invalid of the step, (B,) each, `date` and `row` of the close it led to; where an
    episode ended, `final_obs` holds what was seen last, and `_final_obs` says where.
    Time: running out of data is truncation, ruin is termination. Equal seeds give equal bytes in every process.
    Raises: DataError for an action outside the space; nothing has happened then.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012  # as Gymnasium has it

    def __init__(
        self,
        panel: Panel,
        observed: Observed,
        market: Market,
        trading: Trading,
        *,
        count: int = 1,
        seed: int = 0,
        rows: tuple[int, int] | None = None,
        recorder: EpisodeRecorder | None = None,
    ) -> None:
        self.simulator = Simulator(panel, observed, market, trading, count=count, seed=seed, rows=rows)
        self.recorder, self.num_envs = recorder, count
        self.single_observation_space = seen_space(shown(self.simulator.observe()), len(panel))
        self.single_action_space = acted_space(trading, panel.shape[1])
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)
        if recorder is not None:
            self.simulator.keep_trades()
            recorder.begin(self.simulator)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Open every copy anew; with a seed, from the beginning of its streams, one for each copy."""
        super().reset(seed=seed, options=options)
        self.simulator.reset(seed)
        if self.recorder is not None:
            self.recorder.begin(self.simulator)
        return self._observation(), self._where()

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Every copy acts at its close and lives to the next."""
        world = self.simulator
        table = actions
        if world.trading.mode == "weights":
            table = simplex(checked_logits(actions, self.num_envs, world.usable.shape[1]), world.usable[world.row])
        done = world.step(table)
        if self.recorder is not None:
            self.recorder.note(world, np.asarray(table), done)
        infos = {name: getattr(done, name) for name in ("equity", "cost", "turnover", "invalid")}
        infos |= {"row": done.final_row, "date": world.panel.times[done.final_row]}
        ended = done.terminated | done.truncated
        if ended.any():
            infos |= {"final_obs": self._final(done, ended), "_final_obs": ended}
        return self._observation(), done.reward, done.terminated, done.truncated, infos

    def _observation(self) -> Any:
        return shown(self.simulator.observe())

    def _final(self, done: Step, ended: NDArray[np.bool_]) -> NDArray[Any]:
        places = np.flatnonzero(ended)
        seen = shown(self.simulator.observe_final(done, places))
        final = np.full(self.num_envs, None, dtype=object)
        for k, b in enumerate(places):
            final[b] = {name: part[k] for name, part in seen.items()} if isinstance(seen, dict) else seen[k]
        return final

    def _where(self) -> dict[str, Any]:
        world = self.simulator
        return {"equity": world.equity.copy(), "row": world.row.copy(), "date": world.panel.times[world.row]}


class TradingEnv(gymnasium.Env[Any, Any]):
    """One copy of `TradingVecEnv` as a Gymnasium environment: the same steps without the leading axis.

    An episode that ended stays at its last observation until `reset`.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # as Gymnasium has it

    def __init__(
        self,
        panel: Panel,
        observed: Observed,
        market: Market,
        trading: Trading,
        *,
        seed: int = 0,
        rows: tuple[int, int] | None = None,
        recorder: EpisodeRecorder | None = None,
    ) -> None:
        self.vector = TradingVecEnv(panel, observed, market, trading, seed=seed, rows=rows, recorder=recorder)
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space
        self._opened = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Open the account anew; with a seed, from the beginning of its stream."""
        super().reset(seed=seed, options=options)
        if seed is None and self._opened:
            # The copy was opened when its last episode ended, and stands there as a copy among many does.
            seen, infos = self.vector._observation(), self.vector._where()
        else:
            seen, infos = self.vector.reset(seed=seed)
        self._opened = False
        return _first(seen), _first(infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act at the close and live to the next."""
        seen, reward, terminated, truncated, infos = self.vector.step(np.asarray(action)[None])
        self._opened = bool(terminated[0] or truncated[0])
        final = infos.pop("final_obs", [None])[0]
        infos.pop("_final_obs", None)
        last = _first(seen) if final is None else final
        return last, float(reward[0]), bool(terminated[0]), bool(truncated[0]), _first(infos)


@dataclass(frozen=True, eq=False)
class Episode:
    """What one copy lived through, from an opening to an end.

    Shape: `rows` and `equity` (K + 1,), the closes it stood at; `actions` (K, A), as the simulator took them;
    `rewards`, `costs`, `turnover`, `invalid` (K,); `trades` has a row for each order.
    """

    copy: int
    rows: NDArray[np.int64]
    equity: NDArray[np.float64]
    actions: NDArray[Any]
    rewards: NDArray[np.float64]
    costs: NDArray[np.float64]
    turnover: NDArray[np.float64]
    invalid: NDArray[np.int64]
    trades: Trades
    terminated: bool


class EpisodeRecorder:
    """Keeps whole episodes of an environment that was made with it; leave it out where an agent is trained.

    `episodes` are those that ended, in the order of their ends. An episode that is reset before its end is forgotten.
    """

    def __init__(self) -> None:
        self.episodes: list[Episode] = []
        self._open: list[_Open] = []

    def begin(self, world: Simulator) -> None:
        """All copies were opened."""
        self._open = [_Open.of(world, b) for b in range(world.count)]

    def note(self, world: Simulator, actions: NDArray[Any], done: Step) -> None:
        """All copies made a step; where an episode ended, the copy is open again."""
        trades = world.trades()
        for b, page in enumerate(self._open):
            page.rows.append(int(done.final_row[b]))
            page.actions.append(np.array(actions[b]))
            page.numbers.append(
                tuple(float(column[b]) for column in (done.equity, done.reward, done.cost, done.turnover, done.invalid))
            )
            page.trades.append(trades.of(b))
            if done.terminated[b] or done.truncated[b]:
                self.episodes.append(page.close(b, bool(done.terminated[b])))
                self._open[b] = _Open.of(world, b)


@dataclass
class _Open:
    rows: list[int]
    start: float
    actions: list[NDArray[Any]]
    numbers: list[tuple[float, ...]]
    trades: list[Trades]

    @staticmethod
    def of(world: Simulator, b: int) -> _Open:
        return _Open([int(world.row[b])], float(world.equity[b]), [], [], [])

    def close(self, b: int, terminated: bool) -> Episode:
        equity, rewards, costs, turnover, invalid = np.array(self.numbers).T
        return Episode(
            copy=b,
            rows=np.array(self.rows, np.int64),
            equity=np.concatenate(([self.start], equity)),
            actions=np.stack(self.actions),
            rewards=rewards,
            costs=costs,
            turnover=turnover,
            invalid=invalid.astype(np.int64),
            trades=Trades.joined(self.trades),
            terminated=terminated,
        )


def _first(seen: Any) -> Any:
    return {name: part[0] for name, part in seen.items()} if isinstance(seen, dict) else seen[0]
