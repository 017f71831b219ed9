"""The network that writes formulas: what it has read so far, which token it would write next, what it expects.

Source: AlphaGen, arXiv:2306.12964 and its code: embedded tokens, an LSTM of two layers with dropout between them, the
mean of what it said so far, and two heads of 64-64 with tanh, started orthogonally. Deviations: the mean is over the
tokens that are there, not over padding too, so that a step costs one step of the LSTM and not the whole formula again;
padding has number 0 for itself (in the published code the first action shares it and cannot be seen).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Memory", "PolicyNet", "log_chances"]


class Memory(NamedTuple):
    """What the network keeps of E formulas.   Shape: hidden, cell (layers, E, D); total (E, D); tokens (E,)."""

    hidden: Tensor
    cell: Tensor
    total: Tensor
    tokens: Tensor

    def forgotten(self, rows: list[int]) -> Memory:
        """The same with some formulas begun anew."""
        fresh = [part.clone() for part in self]
        for place, part in enumerate(fresh):
            if place < 2:
                part[:, rows] = 0.0
            else:
                part[rows] = 0.0
        return Memory(*fresh)


class PolicyNet(nn.Module):
    """Tokens to logits over actions and an expected reward.

    Token numbers: 0 padding, action a is a + 1, and one more begins a formula.
    """

    def __init__(self, actions: int, *, width: int = 128, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.begin, self.width, self.layers = actions + 1, width, layers
        self.embedding = nn.Embedding(actions + 2, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.policy, self.value = _head(width, actions, 0.01), _head(width, 1, 1.0)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Whole formulas at once.   Shape: (B, L) -> (B, L, A), (B, L): what follows the tokens up to each place."""
        said, _ = self.lstm(self.embedding(tokens))
        count = torch.arange(1, tokens.shape[1] + 1, dtype=said.dtype)
        mean = said.cumsum(dim=1) / count[None, :, None]
        return self.policy(mean), self.value(mean).squeeze(-1)

    def start(self, formulas: int) -> Memory:
        """A memory of nothing."""
        empty = torch.zeros(self.layers, formulas, self.width)
        return Memory(empty, empty.clone(), torch.zeros(formulas, self.width), torch.zeros(formulas))

    def step(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Memory]:
        """One more token of each formula.   Shape: (E,) -> (E, A), (E,)."""
        said, (hidden, cell) = self.lstm(self.embedding(tokens)[:, None], (memory.hidden, memory.cell))
        total, count = memory.total + said[:, 0], memory.tokens + 1.0
        mean = total / count[:, None]
        return self.policy(mean), self.value(mean).squeeze(-1), Memory(hidden, cell, total, count)


def log_chances(logits: Tensor, legal: Tensor) -> Tensor:
    """The logarithms of the chances of actions; minus infinity, a chance of exactly 0, for those that are illegal.

    Shape: (..., A), (..., A) -> (..., A).
    """
    return torch.log_softmax(logits.masked_fill(~legal, -torch.inf), dim=-1)


def _head(width: int, outputs: int, gain: float) -> nn.Sequential:
    layers = [nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)]
    for layer, strength in zip(layers[::2], (2.0**0.5, 2.0**0.5, gain), strict=True):
        assert isinstance(layer, nn.Linear)
        nn.init.orthogonal_(layer.weight, strength)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
