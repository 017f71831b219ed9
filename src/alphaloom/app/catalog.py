"""Everything that a configuration may name, in one literal table per role.

The values say in which room a class lives; it is imported when it is used, so that the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["CATALOG", "find_class", "name_of"]

CATALOG: dict[str, dict[str, tuple[str, str]]] = {
    "data": {
        "embedded": ("alphaloom.data", "EmbeddedMarket"),
        "store": ("alphaloom.app.sources", "StoreView"),
    },
    "system": {
        "factor_model": ("alphaloom.systems", "FactorModel"),
        "multi_factor": ("alphaloom.systems", "MultiFactor"),
        "riskminer": ("alphaloom.systems", "RiskMinerSystem"),
        "alpha2": ("alphaloom.systems", "Alpha2System"),
        "increase_alpha": ("alphaloom.systems", "IncreaseAlpha"),
        "qtmrl": ("alphaloom.systems", "QTMRL"),
        "cross_sectional_dqn": ("alphaloom.systems", "CrossSectionalDQN"),
    },
    "learner": {
        "ridge": ("alphaloom.forecast", "Ridge"),
        "lightgbm": ("alphaloom.forecast", "LightGBM"),
        "blend": ("alphaloom.forecast", "Blend"),
        "return_scale": ("alphaloom.forecast", "ReturnScale"),
        "mlp": ("alphaloom.forecast.neural", "MLP"),
        "factor_transformer": ("alphaloom.forecast.neural", "FactorAttention"),
        "directional_nets": ("alphaloom.forecast.directional", "DirectionalNets"),
        "always_long": ("alphaloom.forecast.baselines", "AlwaysLong"),
        "previous_sign": ("alphaloom.forecast.baselines", "PreviousSign"),
        "momentum_sign": ("alphaloom.forecast.baselines", "MomentumSign"),
        "macro_logistic": ("alphaloom.forecast.baselines", "MacroLogistic"),
        "mined": ("alphaloom.mining", "Mined"),
    },
    "allocator": {
        "top_k": ("alphaloom.portfolio", "TopK"),
        "top_drop": ("alphaloom.portfolio", "TopDrop"),
        "top_fraction": ("alphaloom.portfolio", "TopFraction"),
        "long_short": ("alphaloom.portfolio", "LongShort"),
        "threshold": ("alphaloom.portfolio", "Threshold"),
        "mean_variance": ("alphaloom.portfolio.optimise", "MeanVariance"),
        "maximum_sharpe": ("alphaloom.portfolio.optimise", "MaximumSharpe"),
        "reference_tracking": ("alphaloom.portfolio.optimise", "ReferenceTracking"),
        "exit_grid": ("alphaloom.portfolio.exits", "ExitGrid"),
        "fixed_exits": ("alphaloom.portfolio.exits", "FixedExits"),
    },
    # Learners that make policies: they take no allocator.
    "agent": {
        "random_signals": ("alphaloom.agents.signals", "RandomSignals"),
        "dow_tracking": ("alphaloom.agents.signals", "DowTracking"),
        "moving_average_signals": ("alphaloom.agents.signals", "MovingAverageSignals"),
        "arima_signals": ("alphaloom.agents.signals", "ArimaSignals"),
        "net_signals": ("alphaloom.agents.signals", "NetSignals"),
        "actor_critic": ("alphaloom.agents.a2c", "ActorCritic"),
        "expert": ("alphaloom.agents.baselines3", "Expert"),
    },
    "miner": {
        "random_search": ("alphaloom.mining", "RandomSearch"),
        "riskminer": ("alphaloom.mining.riskminer", "RiskMiner"),
        "alpha2": ("alphaloom.mining.alpha2", "Alpha2"),
        "genetic": ("alphaloom.mining.genetic", "GeneticProgramming"),
        "ppo": ("alphaloom.mining.ppo", "PPO"),
        "linear_alphas": ("alphaloom.mining.linear", "LinearAlphas"),
    },
    "policy": {
        "buy_and_hold": ("alphaloom.portfolio", "BuyAndHold"),
        "equal_weight": ("alphaloom.portfolio", "EqualWeight"),
        "moving_average_cross": ("alphaloom.portfolio", "MovingAverageCross"),
        "minimum_variance": ("alphaloom.portfolio", "MinimumVariance"),
        "risk_parity": ("alphaloom.portfolio", "RiskParity"),
        "hierarchical_risk_parity": ("alphaloom.portfolio", "HierarchicalRiskParity"),
        "clustered_risk": ("alphaloom.portfolio.clusters", "ClusteredRisk"),
        "tail_risk": ("alphaloom.portfolio", "TailRisk"),
        "recent_return": ("alphaloom.agents.recent_return", "RecentReturn"),
    },
}


def find_class(role: str, kind: str) -> type[Any]:
    """The class behind a kind; KeyError where the role has no such kind."""
    room, name = CATALOG[role][kind]
    found: type[Any] = getattr(import_module(room), name)
    return found


def name_of(value: object) -> tuple[str, str] | None:
    """The role and kind of an instance; None for what the catalogue does not hold."""
    for role, kinds in CATALOG.items():
        for kind, (_, name) in kinds.items():
            if type(value).__name__ == name:
                return role, kind
    return None
