"""The factor risk model: what moves all assets together, and what each has for itself.

Each day's returns are regressed on what was known the evening before: one market, sectors, styles. The returns of these
factors give a covariance, what is left over gives each asset's own risk; Sigma = B F B' + diag(s^2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors.chain_learned import ledoit_wolf
from alphaloom.factors.style import STYLES, average_filled, market_value, style_exposures
from alphaloom.panel import Panel

__all__ = ["FittedRisk", "RiskForecast", "RiskModel", "factor_covariance", "specific_risk"]

Grid = NDArray[np.float64]
Shrinkage = Literal["ledoit_wolf", "eigen", "none"]
_DECILES = 10


@dataclass(frozen=True)
class RiskModel:
    """How risk is measured.

    `styles` that the panel has no fields for are left out; `label` names the sectors ("" for none). Half-lives and
    `window`, the most rows looked back at, count bars; `lags` of the Newey-West correction; `shrinkage` of the factor
    correlation: towards independence after Ledoit and Wolf, "eigen" (eigenvalues below the edge of what noise alone
    gives are replaced by their mean), or none. `pull` is how strongly an asset's own risk is drawn to that of its size
    decile, 0 for not at all.   Raises: DataError.
    """

    styles: tuple[str, ...] = STYLES
    label: str = "sector"
    volatility_half_life: float = 90.0
    correlation_half_life: float = 252.0
    specific_half_life: float = 90.0
    lags: int = 2
    window: int = 1260
    shrinkage: Shrinkage = "ledoit_wolf"
    pull: float = 0.1

    def __post_init__(self) -> None:
        lives = (self.volatility_half_life, self.correlation_half_life, self.specific_half_life)
        if min(lives) <= 0 or self.lags < 0 or self.window < 2 or self.pull < 0:
            raise DataError(
                "half-lives are positive, lags and pull not negative, and a window has at least two rows",
                found=f"half-lives {lives}, lags {self.lags}, window {self.window}, pull {self.pull}",
                where="RiskModel",
            )
        if self.shrinkage not in get_args(Shrinkage):
            raise DataError(
                "correlations are shrunk by one of these ways",
                found=self.shrinkage,
                where="RiskModel.shrinkage",
                fix=", ".join(get_args(Shrinkage)),
            )

    def fit(self, panel: Panel) -> FittedRisk:
        """Regress every bar's returns on the exposures of the bar before.

        Weights are the square roots of market values; sectors' effects have market-value-weighted mean zero.
        Time: row t of what comes out reads rows up to t.   Raises: DataError where the label is unknown.
        """
        from alphaloom.factors.neutralise_kernels import regressions

        available = style_exposures(panel, self.styles)
        exposures = average_filled(panel, available.values)
        codes, sectors = _codes(panel, self.label)
        cap = market_value(panel)
        exposures[~np.isfinite(exposures)] = 0.0
        usable = panel.member & np.isfinite(cap)
        found = np.full((len(panel), 1 + len(sectors) + len(available.names)), np.nan)
        left, ridge = np.full(panel.shape, np.nan), np.zeros(len(panel), dtype=bool)
        if len(panel) > 1:
            moved = _returns(panel)
            evening = (usable[:-1], codes[:-1], exposures[:-1], np.sqrt(cap[:-1]), cap[:-1])
            found[1:], left[1:], ridge[1:] = regressions(np.ascontiguousarray(moved[1:]), *evening, len(sectors))
        return FittedRisk(
            model=self,
            times=panel.times,
            assets=panel.assets,
            factors=("market", *sectors, *available.names),
            factor_returns=found,
            specific_returns=left,
            ridge=ridge,
            notes=available.notes,
            styles=exposures,
            codes=codes,
            cap=np.where(usable, cap, np.nan),
        )


@dataclass(frozen=True, eq=False)
class RiskForecast:
    """What can be said about risk at one close.

    Shape: exposures (N, K), factor_covariance (K, K), specific (N,) deviations.   Unit: fractions per bar.
    Missing: an asset that was no member on that date, or has no market value, has NaN exposures and specific risk.
    """

    assets: tuple[str, ...]
    factors: tuple[str, ...]
    exposures: Grid
    factor_covariance: Grid
    specific: Grid

    def covariance(self) -> Grid:
        """B F B' + diag(s^2).   Shape: (N, N)."""
        return np.asarray(self.exposures @ self.factor_covariance @ self.exposures.T + np.diag(self.specific**2))

    def volatility(self, weights: Grid) -> float:
        """Predicted deviation per bar of a portfolio; assets that are not held need no forecast.   Shape: (N,)."""
        held = weights != 0.0
        load = weights[held] @ self.exposures[held]
        own = weights[held] * self.specific[held]
        return float(np.sqrt(load @ self.factor_covariance @ load + own @ own))


@dataclass(frozen=True, eq=False)
class FittedRisk:
    """Factor returns and leftovers of every bar; `at(t)` turns them into a forecast.

    Shape: factor_returns (T, K), specific_returns (T, N), row t of the bar that ends at t, regressed on row t - 1;
    `ridge` (T,) marks bars whose styles were not independent.
    """

    model: RiskModel
    times: NDArray[np.datetime64]
    assets: tuple[str, ...]
    factors: tuple[str, ...]
    factor_returns: Grid
    specific_returns: Grid
    ridge: NDArray[np.bool_]
    notes: tuple[str, ...] = ()
    styles: Grid = field(repr=False, default_factory=lambda: np.empty((0, 0, 0)))
    codes: NDArray[np.int16] = field(repr=False, default_factory=lambda: np.empty((0, 0), np.int16))
    cap: Grid = field(repr=False, default_factory=lambda: np.empty((0, 0)))

    def exposures(self, t: int) -> Grid:
        """Market 1, the asset's sector 1, and its styles at the close of row t.   Shape: (N, K)."""
        N, S = len(self.assets), self.styles.shape[2]
        sectors = len(self.factors) - 1 - S
        table = np.zeros((N, len(self.factors)))
        table[:, 0] = 1.0
        placed = self.codes[t] >= 0
        if sectors:
            table[np.flatnonzero(placed), 1 + self.codes[t][placed]] = 1.0
        table[:, 1 + sectors :] = self.styles[t]
        table[~np.isfinite(self.cap[t])] = np.nan
        return table

    def at(self, t: int) -> RiskForecast:
        """The forecast at the close of row t, from returns of the bars up to t.

        Raises: DataError while fewer than two bars have been explained.
        """
        row = range(len(self.times))[t]
        rows = slice(max(0, row + 1 - self.model.window), row + 1)
        returns = self.factor_returns[rows]
        if np.isfinite(returns[:, 0]).sum() < 2:
            raise DataError(
                "a risk forecast needs at least two explained bars before it",
                found=f"row {row}",
                where="FittedRisk.at",
                fix="ask for a later row",
            )
        return RiskForecast(
            self.assets,
            self.factors,
            self.exposures(row),
            factor_covariance(returns, self.model),
            specific_risk(self.specific_returns[rows], self.cap[row], self.model),
        )


def factor_covariance(returns: Grid, model: RiskModel) -> Grid:
    """Covariance of factor returns at the last row: fast volatilities on slow, shrunk correlations.

    Both are exponentially weighted and corrected for `lags` of autocorrelation with Bartlett weights.
    Shape: (T, K) -> (K, K).   Missing: a factor's unknown returns count as its mean.
    """
    fast, _ = _weighted(returns, model.volatility_half_life)
    slow, weights = _weighted(returns, model.correlation_half_life)
    volatility = np.sqrt(np.maximum(np.diag(_long_run(fast, model.lags)), 0.0))
    rough = _long_run(slow, model.lags)
    size = np.sqrt(np.maximum(np.diag(rough), 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(rough / np.outer(size, size))
        unit = np.nan_to_num(slow / (np.sqrt(weights)[:, None] * size))
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(np.outer(volatility, volatility) * _shrunk(correlation, unit, weights, model.shrinkage))


def specific_risk(left: Grid, cap: Grid, model: RiskModel) -> Grid:
    """Deviation of each asset's own return, drawn to the market-value-weighted mean of its size decile.

    An asset whose own estimate stands out from its decile more than usual is drawn more; one with less than a quarter
    of a half-life of history takes the decile's mean.
    Shape: (T, N), (N,) -> (N,).   Missing: NaN where the market value is not known.
    Source: Menchero, Orr and Wang 2011, The Barra US Equity Model (USE4), section on specific risk.
    """
    age = np.arange(len(left))[::-1, None]
    known = np.isfinite(left)
    weight = np.where(known, 0.5 ** (age / model.specific_half_life), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.sqrt((weight * np.where(known, left, 0.0) ** 2).sum(axis=0) / weight.sum(axis=0))
    own = np.where(known.sum(axis=0) >= max(2.0, model.specific_half_life / 4.0), own, np.nan)
    out = np.full(len(cap), np.nan)
    sized = np.flatnonzero(np.isfinite(cap))
    by_size = sized[np.argsort(cap[sized], kind="stable")]
    overall = np.nanmean(own[sized]) if np.isfinite(own[sized]).any() else np.nan
    for part in np.array_split(by_size, min(_DECILES, max(1, len(by_size)))):
        told = part[np.isfinite(own[part])]
        if not len(told):
            out[part] = overall
            continue
        share = cap[told] / cap[told].sum()
        mean = float(share @ own[told])
        usual = float(np.sqrt(share @ (own[told] - mean) ** 2))
        away = model.pull * np.abs(own[told] - mean)
        draw = away / (usual + away) if usual > 0 else np.zeros(len(told))
        out[part] = mean
        out[told] = draw * mean + (1.0 - draw) * own[told]
    return out


def _weighted(returns: Grid, half_life: float) -> tuple[Grid, Grid]:
    """Deviations from the weighted mean, times the root of their weight, and the weights.   Shape: (T, K), (T,)."""
    told = np.isfinite(returns).any(axis=1)
    age = np.arange(len(returns))[::-1]
    weight = np.where(told, 0.5 ** (age / half_life), 0.0)
    weight = weight / weight.sum()
    known = np.isfinite(returns)
    mass = np.where(known, weight[:, None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (mass * np.where(known, returns, 0.0)).sum(axis=0) / mass.sum(axis=0)
    return np.where(known, returns - mean, 0.0) * np.sqrt(weight)[:, None], weight


def _long_run(scaled: Grid, lags: int) -> Grid:
    """Newey-West covariance of rows that bear the root of their weight, which keeps it positive.   Shape: (K, K)."""
    total = scaled.T @ scaled
    for j in range(1, min(lags, len(scaled) - 1) + 1):
        lagged = scaled[j:].T @ scaled[:-j]
        total = total + (1.0 - j / (lags + 1.0)) * (lagged + lagged.T)
    return np.asarray(total)


def _shrunk(correlation: Grid, unit: Grid, weights: Grid, how: Shrinkage) -> Grid:
    """Correlation with less noise and still a unit diagonal."""
    K = len(correlation)
    if how == "none" or K < 2:
        return correlation
    if how == "ledoit_wolf":
        _, intensity = ledoit_wolf(unit, weights)
        return np.asarray((1.0 - intensity) * correlation + intensity * np.eye(K))
    values, vectors = np.linalg.eigh(correlation)
    edge = (1.0 + np.sqrt(K * float((weights**2).sum()))) ** 2
    noise = values < edge
    values = np.where(noise, values[noise].mean() if noise.any() else 0.0, values)
    smooth = (vectors * values) @ vectors.T
    size = np.sqrt(np.diag(smooth))
    return np.asarray(smooth / np.outer(size, size))


def _codes(panel: Panel, label: str) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    if not label:
        return np.zeros(panel.shape, np.int16), ("all",)
    if label not in panel.labels:
        raise DataError(
            "the sectors of a risk model are a label of the panel",
            found=label,
            where="RiskModel.label",
            fix=f'one of: {", ".join(panel.labels)}; or ""',
        )
    codes = panel.labels[label]
    count = int(codes.max(initial=-1)) + 1
    names: Any = panel.label_names.get(label, ())
    return codes, tuple(names[k] if k < len(names) else f"{label} {k}" for k in range(max(count, len(names))))


def _returns(panel: Panel) -> Grid:
    """Return of each bar; NaN where either close is not known."""
    close = np.asarray(panel["close"], dtype=np.float64)
    moved = np.full_like(close, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        moved[1:] = close[1:] / close[:-1] - 1.0
    return np.where(np.isfinite(moved), moved, np.nan)
