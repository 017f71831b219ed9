"""Whole systems: each file composes parts of the rooms below, cites its source and numbers its deviations."""

from __future__ import annotations

from alphaloom.systems.alpha2 import Alpha2System
from alphaloom.systems.cross_sectional_dqn import CrossSectionalDQN
from alphaloom.systems.factor_model import FactorModel
from alphaloom.systems.increase_alpha import IncreaseAlpha
from alphaloom.systems.multi_factor import MultiFactor
from alphaloom.systems.qtmrl import QTMRL
from alphaloom.systems.riskminer import RiskMinerSystem

__all__ = [
    "QTMRL",
    "Alpha2System",
    "CrossSectionalDQN",
    "FactorModel",
    "IncreaseAlpha",
    "MultiFactor",
    "RiskMinerSystem",
]
