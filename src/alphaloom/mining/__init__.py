"""The mining room: searches for formulas, the pool that combines them, and the session that keeps them honest."""

from __future__ import annotations

from alphaloom.mining.alpha2 import Alpha2
from alphaloom.mining.genetic import GeneticProgramming
from alphaloom.mining.learner import Mined
from alphaloom.mining.mined_files import MinedPool
from alphaloom.mining.pool import Alpha, Pool
from alphaloom.mining.ppo import PPO
from alphaloom.mining.random_search import RandomSearch
from alphaloom.mining.riskminer import RiskMiner
from alphaloom.mining.session import Budget, Session, Settings

__all__ = [
    "PPO",
    "Alpha",
    "Alpha2",
    "Budget",
    "GeneticProgramming",
    "Mined",
    "MinedPool",
    "Pool",
    "RandomSearch",
    "RiskMiner",
    "Session",
    "Settings",
]
