"""Which fitted models have a stored form, in one literal table.

It stands on the ground because makers of forecasters do not know each other, yet a blend of one room may hold a model
of another. The entries are words: a class is imported when a model of its kind is read.
"""

from __future__ import annotations

__all__ = ["MODELS"]

# Each class has `state()` and the class method `from_state(state)`.
MODELS: dict[str, tuple[str, str]] = {
    "ridge": ("alphaloom.forecast.ridge", "RidgeForecaster"),
    "lightgbm": ("alphaloom.forecast.boosting", "LightGBMForecaster"),
    "blend": ("alphaloom.forecast.blend", "BlendForecaster"),
    "return_scale": ("alphaloom.forecast.calibration", "ScaledForecaster"),
    "nets": ("alphaloom.forecast.neural", "NetForecaster"),
    "directional": ("alphaloom.forecast.directional", "DirectionalForecaster"),
    "always_long": ("alphaloom.forecast.baselines", "AlwaysLong"),
    "previous_sign": ("alphaloom.forecast.baselines", "PreviousSign"),
    "momentum_sign": ("alphaloom.forecast.baselines", "MomentumSign"),
    "macro_logistic": ("alphaloom.forecast.baselines", "MacroForecaster"),
    "mined": ("alphaloom.mining.forecaster", "MinedForecaster"),
    "signals": ("alphaloom.agents.signal_policy", "SignalPolicy"),
    "dow_tracking": ("alphaloom.agents.signals", "DowPolicy"),
    "agent": ("alphaloom.agents.policy", "AgentPolicy"),
}
