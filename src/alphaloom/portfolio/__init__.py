"""Signals to weights: allocators, and policies that follow a rule."""

from __future__ import annotations

from alphaloom.portfolio.hierarchical import HierarchicalRiskParity
from alphaloom.portfolio.longshort import LongShort
from alphaloom.portfolio.minimum_variance import MinimumVariance
from alphaloom.portfolio.risk_parity import RiskParity
from alphaloom.portfolio.rules import BuyAndHold, EqualWeight, MovingAverageCross
from alphaloom.portfolio.tail import TailRisk
from alphaloom.portfolio.threshold import Threshold
from alphaloom.portfolio.top_drop import TopDrop
from alphaloom.portfolio.top_fraction import TopFraction
from alphaloom.portfolio.topk import TopK

__all__ = [
    "BuyAndHold",
    "EqualWeight",
    "HierarchicalRiskParity",
    "LongShort",
    "MinimumVariance",
    "MovingAverageCross",
    "RiskParity",
    "TailRisk",
    "Threshold",
    "TopDrop",
    "TopFraction",
    "TopK",
]
