"""What an agent sees: features of each asset, the state of the market, and which assets may be traded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.observed import Observed, first_row, layout_hash, throughout
from alphaloom.agents.risk_vector import RISK_LOOKBACK, risk_names, risk_vector
from alphaloom.errors import AlphaloomError, DataError
from alphaloom.factors import Expr, Factor, FactorSet, evaluate, load_library, parse, unit_of
from alphaloom.factors.options import Options
from alphaloom.panel import Panel

__all__ = ["Levels", "Observation", "Observed", "Observer", "Scale"]

Scale = Literal["zscore", "none"]
Levels = Literal["ratio", "raw"]
_MEAN_OF = 20
# A market column that is known on fewer training rows than this would cost more rows than it is worth.
_LEAST_KNOWN = 0.5


@dataclass(frozen=True)
class Observer:
    """What an agent sees, with the scales of its training rows.   Raises: DataError where the parts do not fit."""

    factors: FactorSet
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    market_names: tuple[str, ...] = ()
    market_mean: tuple[float, ...] = ()
    market_spread: tuple[float, ...] = ()
    window: int = 1
    clip: float = 5.0
    scale: Scale = "zscore"
    index: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, count in (("mean", len(self.factors)), ("spread", len(self.factors))):
            _check_count(name, len(getattr(self, name)), count)
        for name in ("market_mean", "market_spread"):
            _check_count(name, len(getattr(self, name)), len(self.market_names))

    @property
    def names(self) -> tuple[str, ...]:
        """The features of an asset, in order."""
        return self.factors.names

    @cached_property
    def lookback(self) -> int:
        """How many rows before today are read."""
        return max(self.factors.lookback + self.window - 1, RISK_LOOKBACK if self.market_names else 0)

    @cached_property
    def spec(self) -> str:
        """A short hash of the layout: formulas, market columns, window, scale and clip; not of the assets."""
        formulas = [[factor.name, str(factor.expr)] for factor in self.factors.factors]
        options = self.factors.options.stated
        return layout_hash([formulas, options, list(self.market_names), self.window, self.scale, self.clip, self.index])

    def observe(self, panel: Panel, *, since: int = 0) -> Observed:
        """The panel as the agent sees it.

        Time: row t uses rows t - lookback..t. The market is computed from row `since` on: earlier rows are no rows to
        act on.   Missing: nothing is usable on a row where the market is not known.
        Raises: FormulaError, DataError for a panel without a field or a series that was seen in training.
        """
        features, known = _features(self.factors, panel)
        for k, (mean, spread) in enumerate(zip(self.mean, self.spread, strict=True)):
            features[:, :, k] = self._scaled(features[:, :, k], mean, spread)
        features[~known] = 0.0
        market = self._market(panel, since)
        whole = np.asarray(np.isfinite(market).all(axis=1))
        whole[:since] = False
        usable = panel.member & throughout(known, self.window) & whole[:, None]
        state = self._scaled(market, np.array(self.market_mean), np.array(self.market_spread))
        state[~np.isfinite(state)] = 0.0
        return Observed(
            features,
            np.ascontiguousarray(state, dtype=np.float32),
            usable,
            first_row(usable),
            self.names,
            self.market_names,
            self.window,
            self.spec,
        )

    def _market(self, panel: Panel, since: int) -> NDArray[np.float64]:
        if not self.market_names:
            return np.empty((len(panel), 0))
        place = {name: k for k, name in enumerate(risk_names(panel))}
        missing = [name for name in self.market_names if name not in place]
        if missing:
            raise DataError(
                "a series seen in training is in every panel", found=", ".join(missing), where="panel.series"
            )
        return risk_vector(panel, index=self.index, since=since)[:, [place[name] for name in self.market_names]]

    def _scaled(self, values: NDArray[Any], mean: Any, spread: Any) -> NDArray[Any]:
        if self.scale == "none":
            return values
        return np.asarray(np.clip((values.astype(np.float64) - mean) / spread, -self.clip, self.clip))

    def state(self) -> dict[str, Any]:
        """The stored form, of texts, numbers and lists."""
        rows = [
            {"name": f.name, "formula": str(f.expr), "family": f.family, "source": f.source, "sign": f.sign}
            for f in self.factors.factors
        ]
        plain = {name: getattr(self, name) for name in ("window", "clip", "scale", "index")}
        lists = ("mean", "spread", "market_names", "market_mean", "market_spread", "notes")
        return {
            "library": self.factors.name,
            "factors": rows,
            "options": self.factors.options.stated,
            **plain,
            **{name: list(getattr(self, name)) for name in lists},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Observer:
        """The observer that `state` described.   Raises: DataError for a formula that is none."""
        try:
            options = Options.read(state["options"])
            factors = tuple(
                Factor(row["name"], parse(row["formula"], options=options), row["family"], row["source"], row["sign"])
                for row in state["factors"]
            )
        except AlphaloomError as fault:
            raise DataError("a stored formula can be parsed", found=fault, where="observer.factors") from fault
        return cls(
            FactorSet(state["library"], factors, options),
            tuple(map(float, state["mean"])),
            tuple(map(float, state["spread"])),
            tuple(map(str, state["market_names"])),
            tuple(map(float, state["market_mean"])),
            tuple(map(float, state["market_spread"])),
            int(state["window"]),
            float(state["clip"]),
            state["scale"],
            str(state["index"]),
            tuple(map(str, state["notes"])),
        )


@dataclass(frozen=True)
class Observation:
    """What an agent is to see; `fit` takes the scales from training rows alone.

    `features` is a factor set, or the name or path of a library. `levels` "ratio" divides what has the unit of a price
    by the close of its row, and any other value with a unit by its own mean of 20 rows; "raw" leaves both, for parity
    with environments that show money. `market` adds the columns of `risk_vector`, `index` names the series that is its
    index. `window` rows are seen at once. Scores beyond `clip` are held there.
    Raises: DataError for a window below 1, a clip that is not positive, or an unknown scale.
    """

    features: FactorSet | str = "ratio"
    market: bool = True
    window: int = 1
    clip: float = 5.0
    scale: Scale = "zscore"
    levels: Levels = "ratio"
    index: str = ""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise DataError("a window holds at least one row", found=self.window, where="observation.window")
        if not self.clip > 0:
            raise DataError("scores are held within a positive bound", found=self.clip, where="observation.clip")
        for name, legal in (("scale", get_args(Scale)), ("levels", get_args(Levels))):
            if getattr(self, name) not in legal:
                raise DataError(
                    f"{name} is {' or '.join(legal)}", found=getattr(self, name), where=f"observation.{name}"
                )

    def fit(self, train: Panel) -> Observer:
        """The observer whose scales are those of the training rows.

        Missing: a formula whose fields the panel lacks is left out, and so is a market column that is known on fewer
        than half of the rows; `notes` says which.
        Raises: DataError where not one cell of the panel is usable.
        """
        given = load_library(self.features) if isinstance(self.features, str) else self.features
        factors, left_out = given.supported_by(train)
        notes = [f"left out, the panel lacks their fields: {', '.join(left_out)}"] if left_out else []
        if self.levels == "ratio":
            factors = _without_levels(factors, train)
        values, known = _features(factors, train)
        usable = train.member & throughout(known, self.window)
        if not usable.any():
            raise DataError(
                "training rows hold a cell of which all features are known",
                found=f"none on {len(train)} rows, while the features look back up to {factors.lookback}",
                where="observation.fit",
                fix="a longer training slice, or features with shorter windows",
            )
        mean, spread, constant = _scales(values[usable].astype(np.float64))
        if constant.any() and self.scale == "zscore":
            still = [name for name, flag in zip(factors.names, constant, strict=True) if flag]
            notes.append(f"constant on the training rows, so always 0: {', '.join(still)}")
        names, market_mean, market_spread = self._fit_market(train, notes)
        return Observer(
            factors,
            tuple(mean.tolist()),
            tuple(spread.tolist()),
            names,
            tuple(market_mean.tolist()),
            tuple(market_spread.tolist()),
            self.window,
            self.clip,
            self.scale,
            self.index,
            tuple(notes),
        )

    def _fit_market(
        self, train: Panel, notes: list[str]
    ) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
        if not self.market:
            return (), np.empty(0), np.empty(0)
        every = risk_names(train)
        values = risk_vector(train, index=self.index)
        often = np.isfinite(values).mean(axis=0) >= _LEAST_KNOWN
        if not often.all():
            rare = [name for name, flag in zip(every, often, strict=True) if not flag]
            notes.append(f"left out, known on less than half of the training rows: {', '.join(rare)}")
        pairs = [_scales(column[np.isfinite(column)][:, None]) for column in values[:, often].T]
        mean, spread = (np.array([float(pair[k][0]) for pair in pairs]) for k in (0, 1))
        return tuple(name for name, flag in zip(every, often, strict=True) if flag), mean, spread


def _features(factors: FactorSet, panel: Panel) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Raw features, asset by asset, and where all of them are known.   Shape: (T, N, F), (T, N)."""
    values = np.ascontiguousarray(evaluate(factors, panel).values, dtype=np.float32)
    known = panel.listed & np.isfinite(panel["close"]) & np.isfinite(values).all(axis=2)
    return values, known


def _without_levels(factors: FactorSet, panel: Panel) -> FactorSet:
    """The factors as numbers without a unit."""
    close = Expr.name("close")

    def plain(factor: Factor) -> Factor:
        unit = unit_of(factor.expr, panel.units, options=factors.options)
        if unit.scale_free:
            return factor
        if unit.share:
            expr = factor.expr / Expr.call("ts_mean", factor.expr, _MEAN_OF)
        else:
            expr = factor.expr / (close if unit.price == 1 else close ** float(unit.price))
        return Factor(factor.name, expr, factor.family, factor.source, factor.sign)

    return FactorSet(factors.name, tuple(plain(factor) for factor in factors.factors), factors.options)


def _scales(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Mean and population deviation of each column, 1 for a constant one, and which are constant.   Shape: (n, F)."""
    mean, spread = values.mean(axis=0), values.std(axis=0)
    constant = spread <= 1e-7 * np.maximum(np.abs(mean), 1e-30)
    return mean, np.where(constant, 1.0, spread), np.asarray(constant)


def _check_count(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise DataError("an observer's parts fit each other", found=f"{found} for {expected}", where=f"observer.{name}")
