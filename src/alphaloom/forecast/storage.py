"""Fitted forecasters as plain JSON: readable, the same bytes every time, and safe to open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaloom.errors import AlphaloomError, DataError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.factors.options import Options
from alphaloom.forecast.blend import BlendForecaster
from alphaloom.forecast.boosting import LightGBMForecaster
from alphaloom.forecast.inputs import Inputs
from alphaloom.forecast.ridge import RidgeForecaster
from alphaloom.roles import Forecaster

__all__ = ["from_state", "load_forecaster", "save_forecaster", "to_state"]

_FORMAT = 1


def save_forecaster(forecaster: Forecaster, path: str | Path) -> Path:
    """Write a fitted forecaster as a JSON file; the file appears whole or not at all."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.part")
    text = json.dumps({"format": _FORMAT, **to_state(forecaster)}, indent=1, sort_keys=True, allow_nan=False)
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(target)
    return target


def load_forecaster(path: str | Path) -> Forecaster:
    """Read what `save_forecaster` wrote; the forecaster predicts the same numbers, bit by bit.

    Raises: DataError for a file that is not one.
    """
    where = str(path)
    try:
        state = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError("a forecaster is stored as a readable JSON file", found=str(error), where=where) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise DataError(f"a stored forecaster has format {_FORMAT}", found=found, where=where)
    try:
        return from_state(state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError("a stored forecaster has all its parts", found=repr(error), where=where) from None


def to_state(forecaster: Forecaster) -> dict[str, Any]:
    """A fitted forecaster as texts, numbers and lists.   Raises: DataError for a kind that has no stored form."""
    match forecaster:
        case RidgeForecaster():
            own = {"model": "ridge", "slopes": list(forecaster.slopes), "intercept": forecaster.intercept}
        case LightGBMForecaster():
            own = {"model": "lightgbm", "trees": forecaster.model, "threads": forecaster.threads}
        case BlendForecaster():
            members = [to_state(member) for member in forecaster.forecasters]
            weights, notes = list(forecaster.weights), list(forecaster.notes)
            return {"model": "blend", "members": members, "weights": weights, "notes": notes}
        case _:
            raise DataError("only this room's forecasters have a stored form", found=type(forecaster).__name__)
    shared = {"horizon": forecaster.horizon, "kind": forecaster.kind, "notes": list(forecaster.notes)}
    return {**own, **shared, "inputs": _inputs_state(forecaster.inputs)}


def from_state(state: Mapping[str, Any]) -> Forecaster:
    """The forecaster that `to_state` described.   Raises: DataError for an unknown model."""
    model = state.get("model")
    notes = tuple(state.get("notes", ()))
    if model == "blend":
        members = tuple(from_state(member) for member in state["members"])
        weights = tuple(float(weight) for weight in state["weights"])
        _check_parts(len(weights), len(members), "weights")
        return BlendForecaster(members, weights, notes)
    if model not in ("ridge", "lightgbm"):
        raise DataError("a stored forecaster is a ridge, lightgbm or blend", found=model, where="model")
    inputs, horizon, kind = _inputs(state["inputs"]), int(state["horizon"]), state["kind"]
    if model == "ridge":
        slopes = tuple(float(slope) for slope in state["slopes"])
        _check_parts(len(slopes), len(inputs.names), "slopes")
        return RidgeForecaster(inputs, slopes, float(state["intercept"]), horizon, kind, notes)
    fitted = LightGBMForecaster(inputs, str(state["trees"]), horizon, kind, int(state["threads"]), notes)
    _check_parts(_factors_of_trees(fitted.model), len(inputs.names), "trees")
    return fitted


def _factors_of_trees(model: str) -> int:
    import lightgbm

    try:
        return int(lightgbm.Booster(model_str=model).num_feature())
    except lightgbm.basic.LightGBMError as error:
        raise DataError("stored trees can be read", found=str(error), where="trees") from None


def _check_parts(found: int, expected: int, where: str) -> None:
    if found != expected:
        raise DataError("a stored forecaster's parts fit each other", found=f"{found} for {expected}", where=where)


def _inputs_state(inputs: Inputs) -> dict[str, Any]:
    rows = [
        {"name": f.name, "formula": str(f.expr), "family": f.family, "source": f.source, "sign": f.sign}
        for f in inputs.factors.factors
    ]
    options = inputs.factors.options.stated
    return {
        "library": inputs.factors.name,
        "factors": rows,
        "scale": inputs.scale,
        "known": inputs.known,
        **({"options": options} if options else {}),
    }


def _inputs(state: Mapping[str, Any]) -> Inputs:
    try:
        options = Options.read(state.get("options", {}))
        factors = tuple(
            Factor(row["name"], parse(row["formula"]), row["family"], row["source"], row["sign"])
            for row in state["factors"]
        )
    except AlphaloomError as fault:
        raise DataError("a stored formula can be parsed", found=fault, where="inputs.factors") from fault
    return Inputs(FactorSet(state["library"], factors, options), state["scale"], float(state["known"]))
