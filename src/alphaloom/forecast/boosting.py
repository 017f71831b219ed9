"""Many small decision trees, each correcting the ones before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import FactorSet
from alphaloom.forecast.augmentation import Augmentation
from alphaloom.forecast.correction import Correction
from alphaloom.forecast.inputs import Inputs, Scale, Table, TargetKind, check_recipe, learn
from alphaloom.forecast.stored_inputs import check_parts, inputs_of, state_of_inputs
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import Kind, Signal, forward_returns

__all__ = ["LightGBM", "LightGBMForecaster"]

_ROWS_PER_THREAD = 50_000


@dataclass(frozen=True)
class LightGBM:
    """Learns gradient-boosted trees; the defaults are slow and coarse on purpose, for returns are mostly noise.

    `min_rows` rows stand behind every leaf; each tree sees the fractions `subsample` of the rows and `colsample` of
    the factors; `l2` shrinks the leaves; factors are cut into `bins` steps.
    `patience` > 0 stops early: trees are grown on the first part of the training time until the error on its last
    part, the fraction `holdout`, has not improved for so many trees; then that number is grown on all of it.
    Time: the two parts are apart in time, and labels that reach from the first into the last are left out.
    Equal seeds give equal scores in any process and with any number of threads; at most `threads` are used, fewer on
    small tables. One is the default: threads that share busy cores wait for each other at every step.
    Source: Ke et al. (2017), "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS.
    """

    factors: FactorSet | str = "classic"
    horizon: int = 5
    target: TargetKind = "rank"
    scale: Scale = "rank"
    every: int = 1
    known: float = 0.5
    trees: int = 150
    leaves: int = 31
    learning_rate: float = 0.05
    min_rows: int = 500
    subsample: float = 0.7
    colsample: float = 0.6
    l2: float = 1.0
    bins: int = 63
    patience: int = 0
    holdout: float = 0.2
    threads: int = 1
    seed: int = 0
    correction: Correction | None = None
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        check_recipe(self, "LightGBM")
        for name, least in (("trees", 1), ("leaves", 2), ("min_rows", 1), ("bins", 2), ("patience", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise DataError(f"a count is at least {least}", found=getattr(self, name), where=f"LightGBM.{name}")
        for name in ("learning_rate", "subsample", "colsample"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise DataError(
                    "a fraction is above 0 and at most 1", found=getattr(self, name), where=f"LightGBM.{name}"
                )
        if not 0.0 < self.holdout < 1.0:
            raise DataError("a part of the time is between 0 and 1", found=self.holdout, where="LightGBM.holdout")
        if not 0.0 <= self.l2 < np.inf:
            raise DataError("a penalty is not negative", found=self.l2, where="LightGBM.l2")

    def fit(self, train: Panel, market: Market) -> LightGBMForecaster:
        """The trees that the training slice grows."""
        inputs, table, notes = learn(self, train, market)
        trees = self.trees
        if self.patience:
            trees, note = self._stopped(train, market, table)
            notes = (*notes, note)
        model = str(_grown(self, table, trees=trees).model_to_string())
        kind: Kind = "return" if self.target == "return" else "score"
        return LightGBMForecaster(inputs, model, self.horizon, kind, self.threads, notes)

    def _stopped(self, train: Panel, market: Market, table: Table) -> tuple[int, str]:
        """How many trees the last part of the training time asks for."""
        cut = len(train) - max(1, round(len(train) * self.holdout))
        # What a slice that ends at the cut could have known: the purge is the absence of later rows.
        early = np.isfinite(forward_returns(train[:cut], market, horizon=self.horizon).values).ravel()
        first = np.zeros(len(table.cell), dtype=np.bool_)
        before = table.cell < early.size
        first[before] = early[table.cell[before]]
        last = ~before & ~table.synthetic
        if not first.any() or not last.any():
            raise SolveError(
                "early stopping needs labels before and after the cut",
                found=f"{int(first.sum())} rows before, {int(last.sum())} after",
                where="LightGBM.holdout",
                fix="train on more bars, or set patience=0",
            )
        trees = int(_grown(self, _part(table, first), trees=self.trees, held=_part(table, last)).best_iteration)
        return max(trees, 1), f"early stopping on the last {len(train) - cut} bars kept {max(trees, 1)} trees"


@dataclass(frozen=True)
class LightGBMForecaster:
    """Fitted trees, kept as text."""

    inputs: Inputs
    model: str
    horizon: int
    kind: Kind = "score"
    threads: int = 1
    notes: tuple[str, ...] = ()

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads."""
        return self.inputs.lookback

    @property
    def importance(self) -> Mapping[str, float]:
        """The share of each factor in the error that the trees removed."""
        gain = np.asarray(_loaded(self.model).feature_importance("gain"), dtype=np.float64)
        shares = gain / (gain.sum() or 1.0)
        return dict(zip(self.inputs.names, shares.tolist(), strict=True))

    def predict(self, panel: Panel) -> Signal:
        """Scores of the members.   Shape: (T, N)."""
        booster = _loaded(self.model)

        def trees(x: NDArray[np.float32]) -> NDArray[Any]:
            return np.asarray(booster.predict(x, num_threads=self.threads))

        return Signal(panel.times, panel.assets, self.inputs.scores(panel, trees), self.kind, self.horizon, "lightgbm")

    def state(self) -> dict[str, Any]:
        """The stored form."""
        own = {"trees": self.model, "threads": self.threads, "horizon": self.horizon, "kind": self.kind}
        return {**own, "notes": list(self.notes), "inputs": state_of_inputs(self.inputs)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LightGBMForecaster:
        """The forecaster that `state` described.   Raises: DataError where its parts do not fit."""
        import lightgbm

        inputs, model, notes = inputs_of(state["inputs"]), str(state["trees"]), tuple(state.get("notes", ()))
        try:
            check_parts(int(_loaded(model).num_feature()), len(inputs.names), "trees")
        except lightgbm.basic.LightGBMError as error:
            raise DataError("stored trees can be read", found=str(error), where="trees") from None
        return cls(inputs, model, int(state["horizon"]), state["kind"], int(state["threads"]), notes)


def _part(table: Table, rows: NDArray[np.bool_]) -> Table:
    return Table(table.x[rows], table.y[rows], table.cell[rows], table.weight[rows], table.synthetic[rows])


def _weights(table: Table) -> NDArray[np.float64] | None:
    """Weights with mean 1, so that `min_rows` and `l2` keep their meaning; None where all rows weigh the same."""
    return table.weight / table.weight.mean() if table.weighted else None


def _grown(recipe: LightGBM, table: Table, *, trees: int, held: Table | None = None) -> Any:
    import lightgbm

    y = table.y
    if len(y) < 2 * recipe.min_rows:
        raise SolveError(
            "a tree needs rows for two leaves",
            found=f"{len(y)} rows, min_rows {recipe.min_rows}",
            where="LightGBM.fit",
            fix="train on more bars or assets, or lower min_rows",
        )
    settings = {
        "objective": "regression",
        "learning_rate": recipe.learning_rate,
        "num_leaves": recipe.leaves,
        "min_data_in_leaf": recipe.min_rows,
        "bagging_fraction": recipe.subsample,
        "bagging_freq": 1,
        "feature_fraction": recipe.colsample,
        "lambda_l2": recipe.l2,
        "max_bin": recipe.bins,
        "bin_construct_sample_cnt": 50_000,
        "seed": recipe.seed,
        # The threads of one fit wait for each other by spinning; on few rows more of them are slower.
        "num_threads": max(1, min(recipe.threads, len(y) // _ROWS_PER_THREAD)),
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(table.x, label=y, weight=_weights(table), params=settings)
    if held is None:
        return lightgbm.train(settings, data, num_boost_round=trees)
    judge = data.create_valid(held.x, label=held.y, weight=_weights(held))
    stop = lightgbm.early_stopping(recipe.patience, verbose=False)
    return lightgbm.train(settings, data, num_boost_round=trees, valid_sets=[judge], callbacks=[stop])


def _loaded(model: str) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=model)
