"""Learners that turn factors into forecasts, and their stored form."""

from __future__ import annotations

from alphaloom.forecast.blend import Blend, BlendForecaster
from alphaloom.forecast.boosting import LightGBM, LightGBMForecaster
from alphaloom.forecast.calibration import ReturnScale
from alphaloom.forecast.inputs import Inputs
from alphaloom.forecast.ridge import Ridge, RidgeForecaster
from alphaloom.forecast.storage import from_state, load_model, save_model, to_state

__all__ = [
    "Blend",
    "BlendForecaster",
    "Inputs",
    "LightGBM",
    "LightGBMForecaster",
    "ReturnScale",
    "Ridge",
    "RidgeForecaster",
    "from_state",
    "load_model",
    "save_model",
    "to_state",
]
