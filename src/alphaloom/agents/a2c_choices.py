"""From what a net says to what is done: chances of actions, draws from them, and the likeliest action."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from alphaloom.agents.a2c_nets import Answer
from alphaloom.agents.trading import Mode
from alphaloom.errors import DataError

__all__ = ["ACTED", "Choices", "Numbers", "Orders", "make_choices"]

# How many numbers a net says of each asset, and whether it says one of cash.
ACTED: dict[Mode, tuple[int, bool]] = {"discrete": (3, False), "weights": (1, True), "shares": (1, False)}
_HOLD = 1
_LOG_ROOT = 0.5 * math.log(2.0 * math.pi)


class Choices(Protocol):
    """How actions come about.

    Shape: `best` and `drawn` (B, N or N + 1); `logs` and `undecided` (B,): the log chance of what was drawn and the
    entropy, summed over the assets that may be traded.
    """

    def best(self, answer: Answer, usable: Tensor) -> Tensor: ...

    def drawn(self, answer: Answer, usable: Tensor, random: torch.Generator) -> Tensor: ...

    def logs(self, answer: Answer, usable: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]: ...

    def acted(self, drawn: Tensor, usable: Tensor) -> Tensor: ...


def make_choices(mode: Mode) -> Orders | Numbers:
    """The choices of a mode.   Raises: DataError for one that this agent does not act in."""
    if mode not in ACTED:
        raise DataError(
            "an actor-critic trades in orders, weights or shares",
            found=mode,
            where="trading.mode",
            fix=f"one of: {', '.join(ACTED)}",
        )
    return Orders() if mode == "discrete" else Numbers(simplex=mode == "weights", cash=ACTED[mode][1])


class Orders(nn.Module):
    """Sell, hold or buy, an asset each; what may not be traded is held."""

    def best(self, answer: Answer, usable: Tensor) -> Tensor:
        """Shape: (B, N) int8."""
        return self.acted(answer.of_assets.argmax(dim=-1), usable)

    def drawn(self, answer: Answer, usable: Tensor, random: torch.Generator) -> Tensor:
        """Shape: (B, N) int64."""
        up_to = torch.softmax(answer.of_assets, dim=-1).cumsum(dim=-1)
        mark = torch.rand(usable.shape, generator=random, device=usable.device)
        drawn = (mark > up_to[..., 0]).long() + (mark > up_to[..., 1]).long()
        return drawn.masked_fill_(~usable, _HOLD)

    def logs(self, answer: Answer, usable: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: (B,), (B,)."""
        logs = torch.log_softmax(answer.of_assets, dim=-1)
        of_drawn = logs.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        undecided = -(logs.exp() * logs).sum(dim=-1)
        return (of_drawn * usable).sum(dim=-1), (undecided * usable).sum(dim=-1)

    def acted(self, drawn: Tensor, usable: Tensor) -> Tensor:
        """What the environment takes."""
        return drawn.masked_fill(~usable, _HOLD).to(torch.int8)


class Numbers(nn.Module):
    """Normal numbers around what the net says, with one learned deviation.

    On the simplex they are the logits of the weights, cash first, and what may not be traded has no weight; else they
    are held within -1 and 1, 0 where nothing may be traded.
    """

    def __init__(self, *, simplex: bool, cash: bool) -> None:
        super().__init__()
        self.simplex, self.cash = simplex, cash
        self.deviation = nn.Parameter(torch.zeros(()))

    def best(self, answer: Answer, usable: Tensor) -> Tensor:
        """Shape: (B, N + 1) or (B, N)."""
        return self.acted(self._middle(answer), usable)

    def drawn(self, answer: Answer, usable: Tensor, random: torch.Generator) -> Tensor:
        """Shape: (B, N + 1) or (B, N), before the softmax."""
        middle = self._middle(answer)
        noise = torch.empty_like(middle).normal_(generator=random)
        return middle + self.deviation.exp() * noise

    def logs(self, answer: Answer, usable: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: (B,), (B,)."""
        free = self._free(usable).to(drawn.dtype)
        off = (drawn - self._middle(answer)) * torch.exp(-self.deviation)
        logs = -0.5 * off.square() - self.deviation - _LOG_ROOT
        return (logs * free).sum(dim=-1), (0.5 + _LOG_ROOT + self.deviation) * free.sum(dim=-1)

    def acted(self, drawn: Tensor, usable: Tensor) -> Tensor:
        """What the environment takes."""
        free = self._free(usable)
        if not self.simplex:
            return drawn.clamp(-1.0, 1.0).masked_fill(~free, 0.0)
        return torch.softmax(drawn.double().masked_fill(~free, -math.inf), dim=-1)

    def _middle(self, answer: Answer) -> Tensor:
        return torch.cat((answer.of_cash, answer.of_assets.squeeze(-1)), dim=-1)

    def _free(self, usable: Tensor) -> Tensor:
        if not self.cash:
            return usable
        return torch.cat((torch.ones_like(usable[:, :1]), usable), dim=1)
