"""Nets over factors: layers of neurons, and attention from factor to factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import FactorSet
from alphaloom.forecast.augmentation import Augmentation
from alphaloom.forecast.correction import Correction
from alphaloom.forecast.inputs import Inputs, Recipe, Scale, Table, TargetKind, check_recipe, learn
from alphaloom.forecast.stored_inputs import check_parts, inputs_of, state_of_inputs
from alphaloom.market import Market
from alphaloom.nn import FactorTransformer, FittedNet, Mlp, NetSpec, Samples, Training, fit_net
from alphaloom.panel import Panel
from alphaloom.signal import Kind, Signal, forward_returns

__all__ = ["MLP", "FactorAttention", "NetForecaster", "parts_in_time"]

_PLAIN_LOSSES = ("mse", "huber")
_CLASS_LOSSES = ("bce", "cross_entropy")
_SCALED_ON = 20_000


class _NetRecipe(Recipe, Protocol):
    @property
    def net(self) -> NetSpec: ...
    @property
    def training(self) -> Training: ...
    @property
    def members(self) -> int: ...
    @property
    def holdout(self) -> float: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class MLP:
    """Learns layers of neurons over the factors of each asset and date.

    `members` nets that differ by chance alone are trained and averaged. Each stops early on the last part of the
    training time, the fraction `holdout`, unless `training.patience` is 0; the kept weights have seen the first part
    only. `training.loss` says what counts as wrong: the distance ("mse", "huber", the sign-aware "adj_mse") or the
    order within each date ("ic", "rank_ic", "listwise").
    Time: labels that reach from the first part into the last are left out; synthetic rows are drawn from the first
    part and never judge.
    Equal seeds give equal scores in any process; a score depends on its own row alone, to the last bit.
    """

    factors: FactorSet | str = "classic"
    horizon: int = 5
    target: TargetKind = "rank"
    scale: Scale = "rank"
    every: int = 1
    known: float = 0.5
    net: Mlp = field(default_factory=Mlp)
    training: Training = field(default_factory=Training)
    members: int = 3
    holdout: float = 0.2
    seed: int = 0
    correction: Correction | None = None
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        _check(self, "MLP")

    def fit(self, train: Panel, market: Market) -> NetForecaster:
        """The nets that the training slice teaches."""
        return _fitted(self, train, market, name="mlp")


@dataclass(frozen=True)
class FactorAttention:
    """Learns a small Transformer whose tokens are the factors of one asset and date, so that factors can gate others.

    The settings are those of `MLP`. Attention costs the square of the number of factors: with hundreds of them set
    `net.tokens`, so that neighbouring factors share a token.
    Time, and what equal seeds give: as for `MLP`.
    """

    factors: FactorSet | str = "classic"
    horizon: int = 5
    target: TargetKind = "rank"
    scale: Scale = "rank"
    every: int = 1
    known: float = 0.5
    net: FactorTransformer = field(default_factory=FactorTransformer)
    training: Training = field(default_factory=Training)
    members: int = 1
    holdout: float = 0.2
    seed: int = 0
    correction: Correction | None = None
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        _check(self, "FactorAttention")

    def fit(self, train: Panel, market: Market) -> NetForecaster:
        """The nets that the training slice teaches."""
        return _fitted(self, train, market, name="factor_transformer")


@dataclass(frozen=True, eq=False)
class NetForecaster:
    """Trained nets whose scaled answers are averaged.

    `scales` brings the members to one unit: returns where that was taught, else one standard deviation of each
    member's own answers on training rows, for an order has no scale.
    """

    inputs: Inputs
    nets: tuple[FittedNet, ...]
    scales: tuple[float, ...]
    horizon: int
    kind: Kind = "score"
    name: str = "mlp"
    notes: tuple[str, ...] = ()

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads."""
        return self.inputs.lookback

    def predict(self, panel: Panel) -> Signal:
        """Scores of the members of the universe.   Shape: (T, N)."""

        def mean(x: NDArray[np.float32]) -> NDArray[np.float64]:
            total = np.zeros(len(x))
            for net, scale in zip(self.nets, self.scales, strict=True):
                total += scale * net.predict(x)[:, 0].astype(np.float64)
            return total / len(self.nets)

        return Signal(panel.times, panel.assets, self.inputs.scores(panel, mean), self.kind, self.horizon, self.name)

    def state(self) -> dict[str, Any]:
        """The stored form; the weights of the nets are arrays."""
        own = {"nets": [net.to_state() for net in self.nets], "scales": list(self.scales), "name": self.name}
        shared = {"horizon": self.horizon, "kind": self.kind, "notes": list(self.notes)}
        return {**own, **shared, "inputs": state_of_inputs(self.inputs)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> NetForecaster:
        """The forecaster that `state` described.   Raises: DataError where its parts do not fit."""
        inputs, nets = inputs_of(state["inputs"]), tuple(FittedNet.from_state(net) for net in state["nets"])
        scales = tuple(float(scale) for scale in state["scales"])
        check_parts(len(scales), len(nets), "scales")
        for net in nets:
            check_parts(net.features, len(inputs.names), "nets")
        notes = tuple(state.get("notes", ()))
        return cls(inputs, nets, scales, int(state["horizon"]), state["kind"], str(state["name"]), notes)


def _fitted(recipe: _NetRecipe, train: Panel, market: Market, *, name: str) -> NetForecaster:
    cut = len(train) - (max(1, round(len(train) * recipe.holdout)) if recipe.training.patience else 0)
    inputs, table, notes = learn(recipe, train, market, drawn=cut)
    learned, held = parts_in_time(recipe, train, market, table=table, cut=cut)
    unit = float(table.y[learned].std()) or 1.0
    samples = Samples(
        table.x, table.y / unit, table.cell // train.shape[1], weight=table.weight, fit=learned, held=held
    )
    nets = []
    for member in range(recipe.members):
        chance = np.random.SeedSequence([recipe.seed, recipe.training.seed, member]).generate_state(1)
        nets.append(fit_net(recipe.net, samples, replace(recipe.training, seed=int(chance[0]))))
    returns = recipe.target == "return" and recipe.training.loss in _PLAIN_LOSSES
    scales = (unit,) * len(nets) if returns else tuple(_own_scale(net, samples) for net in nets)
    kind: Kind = "return" if returns else "score"
    notes = (*notes, _course(nets, recipe.training, bars=len(train) - cut))
    return NetForecaster(inputs, tuple(nets), scales, recipe.horizon, kind, name, notes)


def parts_in_time(
    recipe: _NetRecipe, train: Panel, market: Market, *, table: Table, cut: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows to learn from and those that judge, apart in time."""
    if cut == len(train):
        return np.ones(len(table.y), np.bool_), np.zeros(len(table.y), np.bool_)
    # What a slice that ends at the cut could have known: the purge is the absence of later rows.
    early = np.isfinite(forward_returns(train[:cut], market, horizon=recipe.horizon).values).ravel()
    learned = table.synthetic.copy()
    before = table.cell < early.size
    learned[before] = early[table.cell[before]]
    held = ~before & ~table.synthetic
    if not (learned & ~table.synthetic).any() or not held.any():
        raise SolveError(
            "early stopping needs labels before and after the cut",
            found=f"{int(learned.sum())} rows before, {int(held.sum())} after",
            where="holdout",
            fix="train on more bars, or set training.patience=0",
        )
    return learned, held


def _own_scale(net: FittedNet, samples: Samples) -> float:
    """One over the spread of a net's answers on evenly spread training rows; 1 for a net that says one thing."""
    rows = np.flatnonzero(samples.masks[0])
    rows = rows[:: max(1, len(rows) // _SCALED_ON)]
    spread = float(net.predict(samples.inputs(rows)).std(dtype=np.float64))
    return 1.0 / spread if spread > 1e-12 else 1.0


def _course(nets: list[FittedNet], training: Training, *, bars: int) -> str:
    """How the trainings went, for the notes."""
    epochs = ", ".join(str(net.best + 1) for net in nets)
    text = f"{len(nets)} nets trained by {training.loss}, kept after epoch {epochs} of at most {training.epochs}"
    if not bars:
        return text
    told = ", ".join(f"{net.history['held_ic'][net.best]:.4f}" for net in nets)
    return f"{text}; mean daily correlation with the labels of the last {bars} bars: {told}"


def _check(recipe: _NetRecipe, where: str) -> None:
    check_recipe(recipe, where)
    for name, least in (("members", 1), ("seed", 0)):
        if getattr(recipe, name) < least:
            raise DataError(f"a count is at least {least}", found=getattr(recipe, name), where=f"{where}.{name}")
    if not 0.0 < recipe.holdout < 1.0:
        raise DataError("a part of the time is between 0 and 1", found=recipe.holdout, where=f"{where}.holdout")
    if recipe.training.loss in _CLASS_LOSSES:
        raise DataError(
            "a forecast of returns is taught by a loss on numbers or orders",
            found=recipe.training.loss,
            where=f"{where}.training",
            fix="mse, huber, adj_mse, ic, rank_ic or listwise",
        )
