"""The exact environment as stable-baselines3 wants it: a vector of copies that any of its algorithms trains on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from alphaloom.agents.baselines3_brain import simplex
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.spaces import acted_space, checked_logits, seen_space, shown
from alphaloom.agents.trading import Layout
from alphaloom.errors import DataError

__all__ = ["SB3VecEnv"]

_OF_EACH = ("asset", "cash", "equity", "row")


class SB3VecEnv(VecEnv):
    """Copies of a simulator behind stable-baselines3's VecEnv.

    Actions: "weights" takes logits within 5, cash first, whose softmax over what may be traded is traded; the other
    modes take what the simulator takes. An episode that the data or its length ends has "TimeLimit.truncated" in its
    info and what was seen last in "terminal_observation"; every info has equity, cost, turnover and invalid.
    `layout` is that of the trading if not given. `seed(s)` counts at the next `reset`, where all copies begin the
    streams of s.
    Raises: DataError for layout "rows", which is none for a net, and for an action outside the space.
    """

    def __init__(self, simulator: Simulator, *, layout: Layout | None = None) -> None:
        self.simulator = simulator
        self.layout: Layout = layout or simulator.trading.layout
        if self.layout == "rows":
            raise DataError(
                "a net sees numbers, not the places of rows", found="rows", where="SB3VecEnv.layout", fix='"flat"'
            )
        self._actions: NDArray[Any] | None = None
        T, N = simulator.usable.shape
        seen = seen_space(shown(simulator.observe(self.layout)), T)
        super().__init__(simulator.count, seen, acted_space(simulator.trading, N))

    def reset(self) -> Any:
        """Open every copy anew; what they see."""
        self.simulator.reset(self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return shown(self.simulator.observe(self.layout))

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions until `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """What is seen next, rewards, ends of episodes, infos.

        Raises: DataError for an action outside the space, or before one was given; nothing has happened then.
        """
        actions, self._actions = self._actions, None
        if actions is None:
            raise DataError("a step follows actions", found="no actions", where="SB3VecEnv.step_wait")
        world = self.simulator
        if world.trading.mode == "weights":
            actions = simplex(checked_logits(actions, world.count, world.usable.shape[1]), world.usable[world.row])
        step = world.step(actions)
        done = step.terminated | step.truncated
        told = zip(step.equity.tolist(), step.cost.tolist(), step.turnover.tolist(), step.invalid.tolist(), strict=True)
        infos: list[dict[str, Any]] = [
            {"equity": equity, "cost": cost, "turnover": turnover, "invalid": invalid}
            for equity, cost, turnover, invalid in told
        ]
        ended = np.flatnonzero(done)
        if len(ended):
            final = shown(world.observe_final(step, ended, self.layout))
            for k, b in enumerate(ended):
                infos[b]["TimeLimit.truncated"] = bool(step.truncated[b] and not step.terminated[b])
                infos[b]["terminal_observation"] = (
                    {name: part[k] for name, part in final.items()} if isinstance(final, dict) else final[k]
                )
        return shown(world.observe(self.layout)), step.reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Of each copy its asset, cash, equity or row; of all the simulator's other attributes."""
        chosen = list(self._get_indices(indices))
        if attr_name in _OF_EACH:
            values = getattr(self.simulator, attr_name)
            return [values[b].item() for b in chosen]
        value = None if attr_name == "render_mode" else getattr(self.simulator, attr_name)
        return [value] * len(chosen)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: copies of a simulator are not set one by one.   Raises: AttributeError."""
        raise AttributeError(f"copies share one simulator, so {attr_name} cannot be set")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Refused: a copy has no methods of its own.   Raises: AttributeError."""
        raise AttributeError(f"copies share one simulator and have no method {method_name}")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """No copy is wrapped."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[NDArray[Any] | None]:
        """There is nothing to see."""
        return [None] * self.num_envs
