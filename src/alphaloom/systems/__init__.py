"""Whole systems: each file composes parts of the rooms below, cites its source and numbers its deviations."""

from __future__ import annotations

from alphaloom.systems.factor_model import FactorModel

__all__ = ["FactorModel"]
