"""The torch modules behind the specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from alphaloom.nn.specs import FactorTransformer, Recurrent

__all__ = ["Memory", "TokenNet", "said_in_parts", "stacked"]

# Arrays of 8 MiB: greater ones are asked from the system anew at every step, which costs more than the sums in them.
_NUMBERS_AT_ONCE = 1 << 21


def stacked(features: int, hidden: Sequence[int], outputs: int, *, dropout: float) -> nn.Module:
    """Linear layers with GELU and dropout between them.   Shape: (R, F) -> (R, O)."""
    layers: list[nn.Module] = []
    before = features
    for width in hidden:
        layers += [nn.Linear(before, width), nn.GELU(), nn.Dropout(dropout)]
        before = width
    return nn.Sequential(*layers, nn.Linear(before, outputs))


def said_in_parts(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a net says of a batch that is too large for it at once; the way back computes each part again.

    Shape: (R, ...) -> (R, O). The gradient is that of the whole batch, dropout included.
    """
    rows = getattr(net, "rows_at_once", len(x))
    if len(x) <= rows:
        whole: torch.Tensor = net(x)
        return whole
    if not torch.is_grad_enabled():
        return torch.cat([net(part) for part in torch.split(x, rows)])
    return torch.cat([checkpoint(net, part, use_reentrant=False) for part in torch.split(x, rows)])


class TokenNet(nn.Module):
    """Factors as tokens, an encoder over them, and a head on the gathering token.   Shape: (R, F) -> (R, O)."""

    def __init__(self, features: int, outputs: int, spec: FactorTransformer) -> None:
        super().__init__()
        tokens = min(features, spec.tokens or features)
        self.group = -(-features // tokens)
        self.tokens = -(-features // self.group)
        self.spare = self.tokens * self.group - features
        scale = spec.width**-0.5
        self.direction = nn.Parameter(torch.randn(self.tokens, self.group, spec.width) * scale)
        self.place = nn.Parameter(torch.randn(self.tokens, spec.width) * scale)
        self.gather = nn.Parameter(torch.randn(1, 1, spec.width) * scale)
        layer = nn.TransformerEncoderLayer(
            spec.width,
            spec.heads,
            dim_feedforward=2 * spec.width,
            dropout=spec.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        # Without dropout inside attention torch need not write down who looks at whom, the square of the tokens a row.
        layer.self_attn.dropout = 0.0
        self.encoder = nn.TransformerEncoder(layer, spec.layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(spec.width), nn.Linear(spec.width, outputs))
        self.rows_at_once = max(1, _NUMBERS_AT_ONCE // ((self.tokens + 1) * spec.width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape: (R, F) -> (R, O)."""
        if self.spare:
            x = nn.functional.pad(x, (0, self.spare))
        if self.group == 1:  # a product and a sum in one pass, without a matrix product per token
            tokens = torch.addcmul(self.place, x.unsqueeze(-1), self.direction[:, 0])
        else:
            tokens = torch.einsum("rkg,kgd->rkd", x.view(-1, self.tokens, self.group), self.direction) + self.place
        whole = torch.cat((self.gather.expand(len(x), -1, -1), tokens), dim=1)
        said: torch.Tensor = self.head(self.encoder(whole)[:, 0])
        return said


class Memory(nn.Module):
    """A GRU or LSTM over a window, and a head on its last state.   Shape: (R, L, F) -> (R, O)."""

    def __init__(self, features: int, outputs: int, spec: Recurrent) -> None:
        super().__init__()
        kind = nn.GRU if spec.cell == "gru" else nn.LSTM
        between = spec.dropout if spec.layers > 1 else 0.0
        self.memory = kind(features, spec.hidden, spec.layers, batch_first=True, dropout=between)
        self.head = nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(spec.hidden, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape: (R, L, F) -> (R, O)."""
        states, _ = self.memory(x)
        said: torch.Tensor = self.head(states[:, -1])
        return said
