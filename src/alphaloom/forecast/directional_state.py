"""A directional forecaster as texts, numbers and arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloom.errors import DataError
from alphaloom.forecast.directional_choice import Calibration, Choice
from alphaloom.forecast.directional_rows import Scaling
from alphaloom.forecast.inputs import Inputs
from alphaloom.forecast.stored_inputs import inputs_of, state_of_inputs
from alphaloom.nn import FittedNet, Mlp, Recurrent

if TYPE_CHECKING:
    from alphaloom.forecast.directional import DirectionalForecaster

__all__ = ["restored", "stored"]

_SPECS: dict[str, type[Mlp] | type[Recurrent]] = {"mlp": Mlp, "recurrent": Recurrent}


def stored(forecaster: DirectionalForecaster) -> dict[str, Any]:
    """The parts of a forecaster; the weights of its nets are arrays."""
    scaling, calibration = forecaster.scaling, forecaster.calibration
    return {
        "scaling": {
            "inputs": state_of_inputs(Inputs(scaling.factors, known=scaling.known)),
            "mean": list(scaling.mean),
            "spread": list(scaling.spread),
        },
        "length": forecaster.length,
        "nets": [_net_state(net) for net in forecaster.nets],
        "horizons": forecaster.horizons,
        "calibration": {
            "knots": [list(column) for column in calibration.knots],
            "shares": [list(column) for column in calibration.shares],
        },
        "choice": {
            "tau": forecaster.choice.tau,
            "agree": forecaster.choice.agree,
            "base": list(forecaster.choice.base),
        },
        "notes": list(forecaster.notes),
        "device": forecaster.device,
    }


def restored(state: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the forecaster that `stored` took apart.   Raises: DataError where parts do not fit."""
    scaling, calibration, choice = state["scaling"], state["calibration"], state["choice"]
    inputs = inputs_of(scaling["inputs"])
    factors = inputs.factors
    horizons = int(state["horizons"])
    nets = tuple(_net(net) for net in state["nets"])
    for net in nets:
        if (net.features, net.outputs) != (len(factors), 2 * horizons):
            raise DataError(
                "a stored net reads the stored factors and has two heads for each horizon",
                found=f"{net.features} factors and {net.outputs} heads, not {len(factors)} and {2 * horizons}",
                where="nets",
            )
    knots, shares = (tuple(tuple(map(float, c)) for c in calibration[name]) for name in ("knots", "shares"))
    if [len(c) for c in knots] != [len(c) for c in shares] or len(knots) not in (0, 2 * horizons):
        raise DataError("a stored calibration has a share for each knot", found=len(knots), where="calibration")
    base = tuple(map(float, choice["base"]))
    if len(base) not in (0, horizons):
        raise DataError("a stored base has a number for each horizon", found=len(base), where="choice.base")
    mean, spread = (tuple(map(float, scaling[name])) for name in ("mean", "spread"))
    if not len(mean) == len(spread) == len(factors):
        raise DataError("a stored scaling has a mean for each factor", found=len(mean), where="scaling")
    return {
        "scaling": Scaling(factors, mean, spread, inputs.known),
        "length": int(state["length"]),
        "nets": nets,
        "horizons": horizons,
        "calibration": Calibration(knots, shares),
        "choice": Choice(float(choice["tau"]), int(choice["agree"]), base),
        "notes": tuple(state["notes"]),
        "device": str(state["device"]),
    }


def _net_state(net: FittedNet) -> dict[str, Any]:
    kind = next(name for name, spec in _SPECS.items() if type(net.spec) is spec)
    shape: Any = net.spec
    return {
        "kind": kind,
        "spec": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(shape).items()},
        "features": net.features,
        "outputs": net.outputs,
        "weights": dict(net.state),
        "history": {name: list(values) for name, values in net.history.items()},
        "best": net.best,
    }


def _net(state: Mapping[str, Any]) -> FittedNet:
    if state["kind"] not in _SPECS:
        raise DataError("a stored net is an mlp or recurrent", found=state["kind"], where="nets.kind")
    spec: Any = _SPECS[state["kind"]]
    history = {name: tuple(map(float, values)) for name, values in state["history"].items()}
    weights = {name: np.asarray(values) for name, values in state["weights"].items()}
    size = int(state["features"]), int(state["outputs"])
    return FittedNet(spec(**state["spec"]), *size, weights, history, int(state["best"]))
