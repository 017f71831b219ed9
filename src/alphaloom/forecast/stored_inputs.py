"""What a fitted model reads, as texts, numbers and lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from alphaloom.errors import AlphaloomError, DataError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.factors.chain import Choice, FittedChain, Signs
from alphaloom.factors.options import Options
from alphaloom.forecast.correction import Correction
from alphaloom.forecast.inputs import Inputs

__all__ = ["check_parts", "inputs_of", "state_of_inputs"]


def state_of_inputs(inputs: Inputs) -> dict[str, Any]:
    """Factors with their formulas, scale, correction and what it learned."""
    rows = [
        {"name": f.name, "formula": str(f.expr), "family": f.family, "source": f.source, "sign": f.sign}
        for f in inputs.factors.factors
    ]
    options = inputs.factors.options.stated
    correction, chain = inputs.correction, inputs.chain
    return {
        "library": inputs.factors.name,
        "factors": rows,
        "scale": inputs.scale,
        "known": inputs.known,
        **({"options": options} if options else {}),
        **({"correction": {**asdict(correction), "exposures": list(correction.exposures)}} if correction else {}),
        **({"chain": {"horizon": chain.horizon, "steps": [_step(s) for s in chain.steps]}} if chain else {}),
    }


def inputs_of(state: Mapping[str, Any]) -> Inputs:
    """The inputs that `state_of_inputs` described.   Raises: DataError for a formula or a step that is not one."""
    try:
        options = Options.read(state.get("options", {}))
        factors = tuple(
            Factor(row["name"], parse(row["formula"]), row["family"], row["source"], row["sign"])
            for row in state["factors"]
        )
    except AlphaloomError as fault:
        raise DataError("a stored formula can be parsed", found=fault, where="inputs.factors") from fault
    inputs = Inputs(FactorSet(state["library"], factors, options), state["scale"], float(state["known"]))
    if "correction" not in state:
        return inputs
    chain = None
    if "chain" in state:
        chain = FittedChain(tuple(_fitted(step) for step in state["chain"]["steps"]), int(state["chain"]["horizon"]))
    fitted = Inputs(inputs.factors, inputs.scale, inputs.known, Correction(**state["correction"]), chain)
    _check_chain(fitted)
    return fitted


def check_parts(found: int, expected: int, where: str) -> None:
    """Raise DataError unless two stored parts have one length."""
    if found != expected:
        raise DataError("a stored forecaster's parts fit each other", found=f"{found} for {expected}", where=where)


def _check_chain(inputs: Inputs) -> None:
    width = len(inputs.factors)
    for step in inputs.chain.steps if inputs.chain else ():
        if isinstance(step, Signs):
            check_parts(len(step.signs), width, "inputs.chain.signs")
        elif isinstance(step, Choice):
            check_parts(len(step.given), width, "inputs.chain.given")
            if not all(0 <= k < width for k in step.kept):
                raise DataError("kept factors are among the given", found=step.kept, where="inputs.chain.kept")
            width = len(step.kept)


def _step(step: object) -> dict[str, Any]:
    if isinstance(step, Signs):
        return {"step": "signs", "signs": list(step.signs)}
    assert isinstance(step, Choice)
    return {"step": "choice", "given": list(step.given), "kept": list(step.kept), "leaders": list(step.leaders)}


def _fitted(state: Mapping[str, Any]) -> Signs | Choice:
    if state["step"] == "signs":
        return Signs(tuple(int(sign) for sign in state["signs"]))
    if state["step"] != "choice":
        raise DataError("a learned step is signs or choice", found=state["step"], where="inputs.chain.step")
    kept, leaders = (tuple(int(k) for k in state[name]) for name in ("kept", "leaders"))
    return Choice(tuple(map(str, state["given"])), kept, leaders)
