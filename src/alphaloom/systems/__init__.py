"""Whole systems: each file composes parts of the rooms below, cites its source and numbers its deviations."""

from __future__ import annotations

from alphaloom.systems.factor_model import FactorModel
from alphaloom.systems.increase_alpha import IncreaseAlpha
from alphaloom.systems.multi_factor import MultiFactor

__all__ = ["FactorModel", "IncreaseAlpha", "MultiFactor"]
