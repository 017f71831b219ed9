"""The torch module behind the convolutional baseline."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["TimeConvolution"]


class TimeConvolution(nn.Module):
    """Two convolutions over time, an average over time, and a head.   Shape: (R, L, F) -> (R, O)."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(features, 32, 3, padding=1)
        self.wide = nn.Conv1d(32, 64, 3, padding=1)
        self.head = nn.Linear(64, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape: (R, L, F) -> (R, O)."""
        over_time = torch.relu(self.wide(torch.relu(self.narrow(x.transpose(1, 2)))))
        said: torch.Tensor = self.head(over_time.mean(dim=-1))
        return said
