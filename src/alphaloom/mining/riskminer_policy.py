"""RiskMiner's policy: a recurrent net over tokens that learns what the best episodes have in common.

The net is stepped token by token with its state kept, so that one more token costs one cell and not the whole formula.

Source: RiskMiner, arXiv:2402.07080 (network, quantile, gradient). Deviations, each an option: the gradient is centred
on the risk level, since the printed form only ever makes tokens less likely; Adam, entropy, bounded gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alphaloom.mining.riskminer_plan import Plan

__all__ = ["Lesson", "Policy", "risk_weight", "tracked"]

Floats = NDArray[np.float64]


class Lived(Protocol):
    """An episode to learn from. `behaviour` is how likely the search was to take each token."""

    tokens: list[int]
    masks: list[NDArray[np.bool_]]
    behaviour: list[float]

    @property
    def total(self) -> float: ...


@dataclass(frozen=True)
class Lesson:
    """What one pass over the episodes was like: means over episodes, and the quantile after it."""

    quantile: float
    loss: float
    entropy: float
    gradient: float


class _Net(nn.Module):
    """Embedded tokens, a stack of gated cells, two small layers.   Shape: (B, L) -> (B, L, A)."""

    def __init__(self, tokens: int, plan: Plan) -> None:
        super().__init__()
        # The end is never read, so its row stands for the beginning.
        self.embed = nn.Embedding(tokens, plan.embedding)
        self.cells = nn.GRU(plan.embedding, plan.width, plan.layers, batch_first=True)
        layers: list[nn.Module] = []
        before = plan.width
        for width in plan.hidden:
            layers += [nn.Linear(before, width), nn.ReLU()]
            before = width
        self.last = nn.Linear(before, tokens)
        self.head = nn.Sequential(*layers, self.last)

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.cells(self.embed(read))[0])
        return out


class Policy:
    """The net, its optimiser, and the tracked quantile of what episodes bring."""

    def __init__(self, tokens: int, plan: Plan, seed: int) -> None:
        self.plan, self.tokens = plan, tokens
        # Torch's own start values come from its global state; these from the search's seed.
        with torch.random.fork_rng(devices=[]):
            self.net = _Net(tokens, plan)
        random = np.random.default_rng([seed, 7])
        with torch.no_grad():
            for name, held in self.net.named_parameters():
                bound = 0.1 if name.startswith("embed") else plan.width**-0.5
                held.copy_(torch.from_numpy(random.uniform(-bound, bound, tuple(held.shape)).astype(np.float32)))
            last = self.net.last
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[-1] = plan.end_bias
        self._cells: Any = None
        given = self.net.parameters()
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(given, lr=plan.rate) if plan.optimiser == "adam" else torch.optim.SGD(given, lr=plan.rate)
        )
        self.quantile: float | None = None

    def start(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The state before the first token and what the policy says there.   Shape: (K, B, W), (B, A)."""
        empty = np.zeros((self.plan.layers, count, self.plan.width), np.float32)
        return self.step(empty, np.full(count, self.tokens - 1))

    def step(
        self, hidden: NDArray[np.float32], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read one more token each; the new state and the logits of the next.   Shape: (K, B, W), (B,) -> (B, A)."""
        with torch.no_grad():
            if self._cells is None:
                cells = self.net.cells
                names = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")
                self._cells = [[getattr(cells, f"{name}{k}") for name in names] for k in range(self.plan.layers)]
            before, after = torch.from_numpy(hidden), []
            x = self.net.embed.weight[torch.from_numpy(tokens)]
            for weights, state in zip(self._cells, before, strict=True):
                x = torch.gru_cell(x, state, *weights)
                after.append(x)
            return torch.stack(after).numpy(), self.net.head(x).numpy()

    def learn(self, episodes: Sequence[Lived]) -> Lesson:
        """One pass over the episodes: the quantile moves with each, then the net."""
        plan = self.plan
        if self.quantile is None:
            self.quantile = float(np.quantile([episode.total for episode in episodes], plan.risk))
        facts, moved = [], 0
        for begin in range(0, len(episodes), plan.batch):
            part = episodes[begin : begin + plan.batch]
            weights = [self._weight(episode.total) for episode in part]
            facts.append(self._moved(part, weights))
            moved += 1
        loss, entropy, gradient = np.mean(facts, axis=0).tolist() if moved else (0.0, 0.0, 0.0)
        return Lesson(self.quantile, loss, entropy, gradient)

    def _weight(self, total: float) -> float:
        """Move the quantile by one episode and say how much that episode counts."""
        assert self.quantile is not None
        self.quantile = tracked(self.quantile, total, self.plan.risk, self.plan.quantile_rate)
        return risk_weight(self.quantile, total, self.plan.risk, printed=self.plan.update == "printed")

    def _moved(self, part: Sequence[Lived], weights: Sequence[float]) -> tuple[float, float, float]:
        plan = self.plan
        logs, entropies, counts = self._said(part)
        scale = torch.tensor(weights, dtype=torch.float32)
        if plan.importance > 0.0:
            scale = scale * self._importance(part, logs.detach())
        gain = (scale * logs).mean()
        entropy = (entropies / counts).mean()
        loss = -gain - plan.entropy * entropy
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        bound = plan.gradient if plan.gradient > 0.0 else float("inf")
        length = float(nn.utils.clip_grad_norm_(self.net.parameters(), bound))
        if np.isfinite(length):
            self.optimiser.step()
        return float(loss.detach()), float(entropy.detach()), length

    def _said(self, part: Sequence[Lived]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log probability, summed entropy and count of tokens of each episode.   Shape: (B,) each."""
        most = max(len(episode.tokens) for episode in part)
        taken = np.zeros((len(part), most), np.int64)
        read = np.full((len(part), most), self.tokens - 1, np.int64)
        masks = np.ones((len(part), most, self.tokens), np.bool_)
        real = np.zeros((len(part), most), np.float32)
        for k, episode in enumerate(part):
            length = len(episode.tokens)
            taken[k, :length], real[k, :length] = episode.tokens, 1.0
            read[k, 1:length] = episode.tokens[:-1]
            masks[k, :length] = episode.masks
        logits = self.net(torch.from_numpy(read)).masked_fill(torch.from_numpy(~masks), float("-inf"))
        logs = torch.log_softmax(logits, dim=-1)
        known = torch.from_numpy(real)
        chosen = (logs.gather(2, torch.from_numpy(taken)[:, :, None])[:, :, 0] * known).sum(dim=1)
        entropy = -(logs.exp() * logs.masked_fill(torch.from_numpy(~masks), 0.0)).sum(dim=2)
        return chosen, (entropy * known).sum(dim=1), known.sum(dim=1)

    def _importance(self, part: Sequence[Lived], logs: torch.Tensor) -> torch.Tensor:
        acted = torch.tensor([float(np.log(episode.behaviour).sum()) for episode in part])
        return torch.clamp(torch.exp(logs - acted), max=self.plan.importance)

    def memory(self) -> dict[str, Any]:
        """The net, the optimiser's moments and the quantile, as arrays and numbers."""
        found: dict[str, Any] = {"quantile": self.quantile}
        for name, held in self.net.named_parameters():
            found[f"net.{name}"] = held.detach().numpy().copy()
            for kind, value in self.optimiser.state[held].items():
                found[f"{kind}.{name}"] = value.detach().numpy().reshape(value.shape or (1,)).copy()
        return found

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Become the policy that was remembered."""
        self.quantile = memory["quantile"]
        with torch.no_grad():
            for name, held in self.net.named_parameters():
                held.copy_(torch.from_numpy(np.array(memory[f"net.{name}"])))
                for kind in ("step", "exp_avg", "exp_avg_sq"):
                    if f"{kind}.{name}" in memory:
                        value = torch.from_numpy(np.array(memory[f"{kind}.{name}"]))
                        self.optimiser.state[held][kind] = value.reshape(()) if kind == "step" else value


def tracked(quantile: float, value: float, level: float, rate: float) -> float:
    """The quantile after one more value: up by rate * level, down by rate where the value does not exceed it."""
    return quantile + rate * (level - (value <= quantile))


def risk_weight(quantile: float, value: float, level: float, *, printed: bool) -> float:
    """How much an episode's log probability is to grow.

    As printed only those up to the quantile count, and fall; centred, those above it rise as well.
    """
    below = float(value <= quantile)
    return -below if printed else level - below
