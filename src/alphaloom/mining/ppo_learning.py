"""Episodes of formula writing, and what a policy learns of them: proximal policy optimisation with masks.

Source: arXiv:1707.06347 (the clipped surrogate) and arXiv:1506.02438 (generalised advantages), with the settings that
AlphaGen, arXiv:2306.12964, takes over from its library. Deviations: a rollout ends with its episodes, so nothing is
foretold at its edge; a minibatch holds whole episodes, so that a formula is read once and not once for each step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alphaloom.factors import Expr
from alphaloom.factors.grammar import Grammar
from alphaloom.mining.ppo_network import PolicyNet, log_chances

if TYPE_CHECKING:
    from alphaloom.mining.ppo import PPO

__all__ = ["Batch", "Episode", "advantages", "batches", "learn", "loss", "played", "stacked"]

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Episode:
    """One formula as it was written, the end included.   Shape: (L,) each; legal: L rows of (A,)."""

    actions: list[int] = field(default_factory=list)
    legal: list[NDArray[np.bool_]] = field(default_factory=list)
    log_chances: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    expr: Expr | None = None
    reward: float = 0.0


class Batch(NamedTuple):
    """Episodes side by side.   Shape: (B, L) each, legal (B, L, A); `real` is False where an episode is over.

    `read` are the network's token numbers before each action: a beginning, actions + 1, and 0 for padding.
    """

    read: Tensor
    actions: Tensor
    legal: Tensor
    log_chances: Tensor
    gains: Tensor
    returns: Tensor
    real: Tensor


def played(
    grammar: Grammar, net: PolicyNet, random: np.random.Generator, *, environments: int, steps: int
) -> list[Episode]:
    """Whole episodes of the policy, as they end; none is begun once `steps` were made or are on their way.

    Time: each step costs one step of the network for all environments together.
    """
    end, E = len(grammar.tokens) - 1, environments
    states, running = [grammar.start() for _ in range(E)], [Episode() for _ in range(E)]
    active, memory = [True] * E, net.start(E)
    tokens = torch.full((E,), net.begin)
    done: list[Episode] = []
    made = 0
    with torch.inference_mode():
        while any(active):
            legal = np.stack([state.legal() for state in states])
            logits, values, memory = net.step(tokens, memory)
            logs = log_chances(logits, torch.from_numpy(legal))
            chosen, expected = _drawn(logs.exp().double().numpy(), random), values.tolist()
            over: list[int] = []
            for e in (e for e in range(E) if active[e]):
                episode, action = running[e], int(chosen[e])
                episode.actions.append(action)
                episode.legal.append(legal[e])
                episode.log_chances.append(float(logs[e, action]))
                episode.values.append(expected[e])
                made += 1
                if action != end:
                    states[e] = states[e].push(action)
                    tokens[e] = action + 1
                    continue
                episode.expr = states[e].complete
                done.append(episode)
                states[e], running[e], active[e] = grammar.start(), Episode(), made < steps
                tokens[e] = net.begin
                over.append(e)
            memory = memory.forgotten(over) if over else memory
    return done


def _drawn(chances: Floats, random: np.random.Generator) -> NDArray[np.int64]:
    """One action of each row; what has no chance is never drawn.   Shape: (E, A) -> (E,)."""
    up_to = chances.cumsum(axis=1)
    # Below the sum even after rounding, so that the last action with a chance is the last that can be drawn.
    marks = np.minimum(random.random(len(chances)) * up_to[:, -1], np.nextafter(up_to[:, -1], 0.0))
    return np.asarray((up_to <= marks[:, None]).sum(axis=1))


def advantages(values: Sequence[float], reward: float, *, discount: float, trace: float) -> Floats:
    """How much better each action was than expected, where only the last is paid.

    Shape: (L,) -> (L,). A_t = d_t + discount * trace * A_(t+1) with d_t = r_t + discount * V_(t+1) - V_t; after the
    last step nothing is expected.
    """
    out = np.zeros(len(values))
    later, ahead = 0.0, 0.0
    for t in reversed(range(len(values))):
        paid = reward if t == len(values) - 1 else 0.0
        later = paid + discount * ahead - values[t] + discount * trace * later
        ahead, out[t] = values[t], later
    return out


def stacked(episodes: Sequence[Episode], net: PolicyNet, *, discount: float, trace: float) -> Batch:
    """Episodes as arrays."""
    B, L = len(episodes), max(len(episode.actions) for episode in episodes)
    A = len(episodes[0].legal[0])
    read, actions = np.zeros((B, L), np.int64), np.zeros((B, L), np.int64)
    legal, real = np.ones((B, L, A), np.bool_), np.zeros((B, L), np.bool_)
    logs, gains, returns = (np.zeros((B, L), np.float32) for _ in range(3))
    for k, episode in enumerate(episodes):
        n = len(episode.actions)
        read[k, :n] = [net.begin, *(action + 1 for action in episode.actions[:-1])]
        actions[k, :n], legal[k, :n], real[k, :n] = episode.actions, np.stack(episode.legal), True
        logs[k, :n] = episode.log_chances
        gains[k, :n] = advantages(episode.values, episode.reward, discount=discount, trace=trace)
        returns[k, :n] = gains[k, :n] + np.array(episode.values, np.float32)
    parts = (read, actions, legal, logs, gains, returns, real)
    return Batch(*(torch.from_numpy(part) for part in parts))


def batches(lengths: Sequence[int], least: int, random: np.random.Generator) -> Iterator[list[int]]:
    """All episodes once, in a random order, as many together as make at least so many steps.

    A rest of less than half of that joins the ones before it.
    """
    order = random.permutation(len(lengths)).tolist()
    left = sum(lengths)
    chosen: list[int] = []
    held = 0
    for place in order:
        chosen.append(place)
        held, left = held + lengths[place], left - lengths[place]
        if held >= least and 2 * left >= least:
            yield chosen
            chosen, held = [], 0
    if chosen:
        yield chosen


def loss(net: PolicyNet, batch: Batch, settings: PPO) -> Tensor:
    """The clipped surrogate, the squared error of what was expected, and a reward for staying undecided.

    Advantages are standardised over the steps of the batch.
    """
    logits, values = net(batch.read)
    logs = log_chances(logits, batch.legal)
    now = logs.gather(-1, batch.actions[..., None]).squeeze(-1)[batch.real]
    gains = batch.gains[batch.real]
    if len(gains) > 1:
        gains = (gains - gains.mean()) / (gains.std() + 1e-8)
    ratio = (now - batch.log_chances[batch.real]).exp()
    held = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
    surrogate = torch.minimum(ratio * gains, held * gains).mean()
    # Where an action is illegal 0 times minus infinity is 0.
    undecided = -(logs.exp() * logs.masked_fill(~batch.legal, 0.0)).sum(dim=-1)[batch.real].mean()
    error = nn.functional.mse_loss(values[batch.real], batch.returns[batch.real])
    return -surrogate + settings.value * error - settings.entropy * undecided


def learn(
    net: PolicyNet,
    optimiser: torch.optim.Optimizer,
    episodes: Sequence[Episode],
    settings: PPO,
    random: np.random.Generator,
) -> None:
    """Some passes over the episodes."""
    whole = stacked(episodes, net, discount=settings.discount, trace=settings.trace)
    lengths = [len(episode.actions) for episode in episodes]
    net.train()
    for _ in range(settings.epochs):
        for chosen in batches(lengths, settings.batch, random):
            longest = max(lengths[k] for k in chosen)
            total = loss(net, Batch(*(part[chosen, :longest] for part in whole)), settings)
            optimiser.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), settings.most_gradient)
            optimiser.step()
    net.eval()
