"""The nets of the actor-critic: what a row of a panel looks like to it, and what it does with that and its book.

A net has two parts. `encode` depends on the panel alone, so that it is worked out once for a row, however many copies
of an environment stand there; what follows also reads the book and is small.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from alphaloom.agents.a2c_brain import NetShape

if TYPE_CHECKING:
    from alphaloom.agents.observed import Observed

__all__ = ["Answer", "Attending", "Flat", "Sight", "make_net"]

_WIDTH, _HEADS, _KERNEL = 64, 2, 3
# Numbers of windows that are laid out at once: more would leave the processor's cache.
_NUMBERS_AT_ONCE = 1 << 20


class Answer(NamedTuple):
    """What a net says.   Shape: of_assets (B, N, outputs); of_cash (B, 1) or (B, 0); value (B,)."""

    of_assets: Tensor
    of_cash: Tensor
    value: Tensor


class Sight:
    """An observed panel as tensors on a device.   Shape: features (T, N, F), market (T, M), usable (T, N)."""

    def __init__(self, observed: Observed, device: str = "cpu") -> None:
        self.features = _tensor(observed.features).to(device)
        self.market = _tensor(observed.market).to(device)
        self.usable = _tensor(observed.usable).to(device)
        self.window = observed.window
        self.device = device


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def make_net(shape: NetShape) -> Attending | Flat:
    """A net with fresh weights, drawn from torch's present random state."""
    return Attending(shape) if shape.kind == "attention" else Flat(shape)


class Attending(nn.Module):
    """One encoder for all assets, then attention among the assets of a row; it takes any number of assets.

    Two convolutions over time of width 3 with 64 channels; the last step and the mean over time, the asset's weight,
    cash and the market make a token; the tokens of a row attend to each other once, in two heads.
    """

    def __init__(self, shape: NetShape) -> None:
        super().__init__()
        first = min(_KERNEL, shape.window)
        second = min(_KERNEL, shape.window - first + 1)
        self.kernels = (first, second)
        self.steps = shape.window - first - second + 2
        # A convolution without padding is a linear layer over neighbouring rows, and windows that overlap share it.
        self.near = nn.Linear(first * shape.features, _WIDTH)
        self.far = nn.Linear(second * _WIDTH, _WIDTH)
        self.token = nn.Linear(2 * _WIDTH + 2 + shape.market, _WIDTH)
        self.ask = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.told = nn.Linear(_WIDTH, _WIDTH)
        self.actor = _calm(nn.Linear(_WIDTH, shape.outputs))
        self.cash = _calm(nn.Linear(_WIDTH, 1)) if shape.cash else None
        self.critic = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, 1))

    def encode(self, sight: Sight, rows: Tensor) -> Tensor:
        """What the assets of some rows look like; zero for those that are not usable.

        Shape: rows (R,), ascending -> (R, N, 128).
        """
        parts, low = [], 0
        # Rows whose windows overlap make one stretch, which is looked through once.
        cuts = torch.nonzero(rows[1:] - rows[:-1] > sight.window).flatten().add(1).tolist()
        for high in (*cuts, len(rows)):
            run = rows[low:high]
            start, low = int(run[0]), high
            seen = self._stretch(_rows(sight.features, start - sight.window + 1, int(run[-1]) + 1))
            parts.append(seen if len(seen) == len(run) else seen.index_select(0, run - start))
        whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        usable: Tensor = sight.usable.index_select(0, rows)
        return whole if bool(usable.all()) else whole * usable.unsqueeze(-1)

    def _stretch(self, rows: Tensor) -> Tensor:
        """Consecutive rows, `window` - 1 more than there are answers.   Shape: (L, N, F) -> (R, N, 128)."""
        x = functional.gelu(self.near(_neighbours(rows, self.kernels[0])))
        x = functional.gelu(self.far(_neighbours(x, self.kernels[1])))
        return torch.cat((x[self.steps - 1 :], _moving_sum(x, self.steps) / self.steps), dim=-1)

    def forward(self, encoded: Tensor, market: Tensor, usable: Tensor, portfolio: Tensor) -> Answer:
        """Shape: encoded (B, N, 128), market (B, M), usable (B, N), portfolio (B, N + 1), cash first."""
        B, N = usable.shape
        held = _scaled(portfolio)
        of_all = torch.cat((held[:, :1], market), dim=1).unsqueeze(1).expand(B, N, -1)
        tokens = functional.gelu(self.token(torch.cat((encoded, held[:, 1:, None], of_all), dim=-1)))
        tokens = tokens + self.told(self._attended(tokens, usable))
        seen = usable.unsqueeze(-1).to(tokens.dtype)
        whole = (tokens * seen).sum(dim=1) / seen.sum(dim=1).clamp_min(1.0)
        return Answer(self.actor(tokens), _of_cash(self.cash, whole), self.critic(whole).squeeze(-1))

    def _attended(self, tokens: Tensor, usable: Tensor) -> Tensor:
        B, N, D = tokens.shape
        parts = self.ask(tokens).view(B, N, 3, _HEADS, D // _HEADS).permute(2, 0, 3, 1, 4)
        # Each looks at itself whatever it is, so that no row of the softmax is empty.
        seen = usable.unsqueeze(1) | torch.eye(N, dtype=torch.bool, device=tokens.device)
        out = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=seen.unsqueeze(1))
        return out.transpose(1, 2).reshape(B, N, D)


class Flat(nn.Module):
    """The window laid out flat, then two layers of 64; it is bound to its number of assets and their order."""

    def __init__(self, shape: NetShape) -> None:
        super().__init__()
        self.assets, self.outputs = shape.assets, shape.outputs
        inputs = shape.window * shape.assets * shape.features
        # Thousands of inputs move together at a step of Adam: with weights of about 1 and a sum that is scaled, the
        # step is as small for the layer as for the others, and tanh does not run into its ends.
        self.scale = 1.0 / math.sqrt(inputs)
        self.rows_at_once = max(64, _NUMBERS_AT_ONCE // inputs)
        self.seen = nn.Parameter(torch.empty(_WIDTH, inputs).uniform_(-1.0, 1.0))
        self.book = nn.Linear(shape.assets + 1 + shape.market, _WIDTH)
        self.middle = nn.Linear(_WIDTH, _WIDTH)
        # Actor, cash and critic in one product: a step of few copies costs its calls, not its sums.
        self.parts = (shape.assets * shape.outputs, int(shape.cash), 1)
        self.heads = nn.Linear(_WIDTH, sum(self.parts))
        _calm(self.heads, self.parts[0] + self.parts[1])

    def encode(self, sight: Sight, rows: Tensor) -> Tensor:
        """The share of the panel in the first layer.   Shape: rows (R,) -> (R, 64)."""
        if len(rows) <= self.rows_at_once:
            return self._encoded(sight, rows)
        return torch.cat([self._encoded(sight, part) for part in torch.split(rows, self.rows_at_once)])

    def _encoded(self, sight: Sight, rows: Tensor) -> Tensor:
        W = sight.window
        _, N, F = sight.features.shape
        if W > 1:
            steps = rows[:, None] + torch.arange(1 - W, 1, device=rows.device)
            x = sight.features.index_select(0, steps.clamp_min(0).flatten()).view(len(rows), W, N, F)
        else:
            x = sight.features.index_select(0, rows).unsqueeze(1)
        usable = sight.usable.index_select(0, rows)
        if not bool(usable.all()):
            x = x * usable[:, None, :, None]
        return functional.linear(x.view(len(rows), -1), self.seen) * self.scale

    def forward(self, encoded: Tensor, market: Tensor, usable: Tensor, portfolio: Tensor) -> Answer:
        """Shape: encoded (B, 64), market (B, M), usable (B, N), portfolio (B, N + 1), cash first."""
        book = _scaled(portfolio)
        x = torch.tanh(encoded + self.book(torch.cat((book, market), dim=1) if market.shape[1] else book))
        of_assets, of_cash, value = self.heads(torch.tanh(self.middle(x))).split(self.parts, dim=1)
        return Answer(of_assets.unflatten(1, (self.assets, self.outputs)), of_cash, value.squeeze(-1))


def _calm(layer: nn.Linear, outputs: int | None = None) -> nn.Linear:
    """A last layer whose first outputs say almost nothing yet, so that a fresh actor prefers nothing."""
    nn.init.uniform_(layer.weight[:outputs], -1e-3, 1e-3)
    nn.init.zeros_(layer.bias[:outputs])
    return layer


def _of_cash(layer: nn.Linear | None, whole: Tensor) -> Tensor:
    return layer(whole) if layer is not None else whole[:, :0]


def _scaled(portfolio: Tensor) -> Tensor:
    """Weights in equal parts of the book: 1 is 1 / N of it, whatever N is."""
    units = portfolio.new_full((portfolio.shape[1],), portfolio.shape[1] - 1.0)
    units[0] = 1.0
    return portfolio * units


def _rows(values: Tensor, start: int, stop: int) -> Tensor:
    """Rows from `start`, which may lie before the first: it stands for those."""
    if start >= 0:
        return values[start:stop]
    return torch.cat((values[:1].expand(-start, *values.shape[1:]), values[:stop]))


def _neighbours(x: Tensor, width: int) -> Tensor:
    """Each row beside those before it.   Shape: (L, N, C) -> (L - width + 1, N, width * C)."""
    return torch.cat([x[k : len(x) - width + 1 + k] for k in range(width)], dim=-1) if width > 1 else x


def _moving_sum(x: Tensor, width: int) -> Tensor:
    """Sums of `width` consecutive rows, by doubling.   Shape: (L, ...) -> (L - width + 1, ...)."""
    total: Tensor | None = None
    covered, power, left = 0, x, width
    reach = 1
    while left:
        if left & 1:
            ahead = power[covered : len(x) - width + 1 + covered]
            total = ahead if total is None else total + ahead
            covered += reach
        left >>= 1
        if left:
            power = power[:-reach] + power[reach:]
            reach *= 2
    assert total is not None
    return total
