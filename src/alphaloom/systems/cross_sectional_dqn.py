"""A DQN that learns on one asset at a time and trades all of them: those that it would rather hold, in equal parts.

Source: "Investment Portfolio Optimization Using Deep Q-Networks", arXiv:2402.15994. Its setting is that of Pigorsch and
Schaefer 2021, "High-Dimensional Stock Portfolio Trading with Deep Reinforcement Learning", arXiv:2112.04755. No code is
public. Discount 0.9, exploration 0.3, 3,000,000 steps, memory 300,000, a batch of 1024 every 20 steps, evaluation every
10,000 steps on a validation year and two hidden layers of 32, 64 or 128 are printed there.

Deviations, and choices where the source is silent:
1. The state is not stated: 24 ratios of the asset, a vector of the market's risk, and whether the asset is held. The
   last is read from the book, so a decision needs no memory of its own.
2. The reward of not holding is not printed; it is the mean return of the others, as the text says. That mean is taken
   off both rewards (`centred`), which changes no best action and takes most of the noise away.
3. Rewards are those of the fill at which the study trades, not from close to close; costs are those of the market, at
   the entry as printed, or half at each end (`symmetric_cost`).
4. How three agents are combined is not stated: one for each width, and the mean of their scores in deviations.
5. Double values and a dueling head are on, for a level that both actions share then stays out of their difference;
   learning rate 1e-4, Adam, the target copied every 10,000 steps, gradients no longer than 10, errors beyond 5
   deviations of a reward in proportion: none of these is stated.
6. How many assets are held is not stated: all whose value of holding exceeds that of not holding, or the `k` best of
   them; nobody: cash, or the basket of all, which is what the reward pays.
7. One net serves all assets, so that values are comparable from the start. Experts for each asset or group are offered
   with the four ways to make their values comparable; the source only wishes for one.
8. The published table charges no cost to buy-and-hold, states no seeds and no risk; here every rival pays the same
   costs, and a control block over seeds says whether there is skill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from alphaloom.agents.dqn import CrossSectionDQN
from alphaloom.agents.observation import Observation

__all__ = ["CrossSectionalDQN"]


@dataclass(frozen=True)
class CrossSectionalDQN:
    """The agent as published where the source speaks; a study takes its learner.

    `agent` holds every setting; `window` rows of features are seen at once. Raises: DataError for settings out of
    range.
    """

    agent: CrossSectionDQN = field(default_factory=CrossSectionDQN)
    window: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _ = self.learner

    @property
    def learner(self) -> CrossSectionDQN:
        """The agent with the system's own seed and window."""
        seen: Observation = replace(self.agent.observation, window=self.window)
        return replace(self.agent, observation=seen, seed=self.seed)

    @property
    def allocator(self) -> None:
        """An agent makes its own weights."""
        return None

    @property
    def ablations(self) -> Mapping[str, CrossSectionalDQN]:
        """One choice undone at a time."""
        agent = self.agent
        found = {
            "without risk vector": replace(agent, observation=replace(agent.observation, market=False)),
            "uncentred reward": replace(agent, centred=False),
            "single values": replace(agent, double=False, dueling=False),
            "one member": replace(agent, widths=agent.widths[:1]),
            "basket when idle": replace(agent, idle="basket"),
        }
        return {name: replace(self, agent=each) for name, each in found.items() if each != agent}
