"""The nets room: small nets and one training loop; it knows samples and dates, and nothing of finance."""

from __future__ import annotations

from alphaloom.nn.fitted import FittedNet
from alphaloom.nn.samples import Samples
from alphaloom.nn.specs import FactorTransformer, Mlp, NetSpec, Recurrent
from alphaloom.nn.training import LossName, Progress, Training, fit_net

__all__ = [
    "FactorTransformer",
    "FittedNet",
    "LossName",
    "Mlp",
    "NetSpec",
    "Progress",
    "Recurrent",
    "Samples",
    "Training",
    "fit_net",
]
