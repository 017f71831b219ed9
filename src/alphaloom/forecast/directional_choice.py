"""From raw probabilities to a side: calibration, the confidence that is asked for, the horizons that must agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibration", "Choice", "choose", "fit_calibration", "views"]

_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)  # of the views that each candidate threshold silences
_LEAST_COVERAGE = 0.05
_LEAST_DATES = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Steps that map a raw probability to how often it came true; one for each horizon and side.

    `knots[c]` are raw probabilities, ascending, and `shares[c]` the shares at them, for column c = 2 * horizon + side;
    between knots the map is a line, outside them it is flat. Without knots nothing is changed.
    """

    knots: tuple[tuple[float, ...], ...] = ()
    shares: tuple[tuple[float, ...], ...] = ()

    def __call__(self, raw: Floats) -> Floats:
        """Calibrated probabilities that sum to at most one.   Shape: (..., H, 2) -> (..., H, 2)."""
        out = np.asarray(raw, dtype=np.float64).copy()
        for column, (knots, shares) in enumerate(zip(self.knots, self.shares, strict=True)):
            if knots:
                cell = (..., column // 2, column % 2)
                known = np.isfinite(out[cell])
                out[cell] = np.where(known, np.interp(np.where(known, out[cell], 0.0), knots, shares), np.nan)
        total = out.sum(axis=-1, keepdims=True)
        return np.asarray(np.where(total > 1.0, out / np.where(total > 1.0, total, 1.0), out))


def fit_calibration(raw: Floats, side: NDArray[np.int8], known: NDArray[np.bool_]) -> Calibration:
    """Isotonic regression of what came true on what was said, for every horizon and side.

    Shape: raw (R, H, 2), side and known (R, H).   Missing: a column with fewer than 50 outcomes is left as it is.
    """
    from sklearn.isotonic import IsotonicRegression

    knots: list[tuple[float, ...]] = []
    shares: list[tuple[float, ...]] = []
    for column in range(2 * raw.shape[1]):
        h, which = divmod(column, 2)
        take = known[:, h]
        if take.sum() < 50:
            knots.append(())
            shares.append(())
            continue
        came = (side[take, h] == (1, -1)[which]).astype(np.float64)
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(raw[take, h, which], came)
        knots.append(tuple(map(float, fitted.X_thresholds_)))
        shares.append(tuple(map(float, fitted.y_thresholds_)))
    return Calibration(tuple(knots), tuple(shares))


@dataclass(frozen=True)
class Choice:
    """What it takes to speak: mean p_up - p_down of at least `tau`, and `agree` horizons on that side.

    With a `base`, one number for each horizon, p_up - p_down is what exceeds it.
    """

    tau: float = 0.0
    agree: int = 0
    base: tuple[float, ...] = ()

    def edge(self, probabilities: Floats) -> Floats:
        """p_up - p_down beyond the base.   Shape: (..., H, 2) -> (..., H)."""
        return np.asarray(probabilities[..., 0] - probabilities[..., 1] - (np.array(self.base) if self.base else 0.0))


def views(probabilities: Floats, choice: Choice) -> Floats:
    """The ternary view with its confidence: sign times mean confidence, 0 to hold, NaN for no view.

    Shape: (..., H, 2) -> (...).
    """
    edge = choice.edge(probabilities)
    mean = edge.mean(axis=-1)
    with np.errstate(invalid="ignore"):
        sign = np.sign(mean)
        agreeing = (np.sign(edge) == sign[..., None]).sum(axis=-1)
        said = (np.abs(mean) >= max(choice.tau, 1e-12)) & (agreeing >= choice.agree)
    return np.asarray(np.where(np.isfinite(mean), np.where(said, mean, 0.0), np.nan))


def choose(
    probabilities: Floats, earned: Floats, dates: NDArray[np.int64], *, agreement: bool, base: tuple[float, ...] = ()
) -> tuple[Choice, float, int]:
    """The thresholds whose views earned most steadily on the validation bars: choice, its t, how many were tried.

    Each date's mean signed return of the spoken views, beyond the mean of all assets on that date, is one observation:
    assets of one date move together, and a quarter in which everything rose would otherwise choose to be long. The
    t-statistic over dates decides, the laxer threshold on a tie. Candidates for tau are quantiles of the confidence
    itself. Choices that speak about less than 5 % of the cells, or on fewer than five dates, do not count; if none
    counts, every view is spoken.
    Shape: probabilities (R, H, 2), earned (R,), dates (R,) ascending.
    """
    H = probabilities.shape[1]
    known = np.isfinite(earned)
    best, best_t, tried = Choice(0.0, 0, base), -np.inf, 0
    if not known.any():
        return best, float("nan"), 0
    day = np.unique(dates[known], return_inverse=True)[1]
    outcome = earned[known]
    rounding = 1e-9 * float(np.abs(outcome).max())
    outcome = outcome - (np.bincount(day, weights=outcome) / np.bincount(day))[day]
    told = probabilities[known]
    sureness = np.abs(best.edge(told).mean(axis=-1))
    taus = [0.0, *np.unique(np.quantile(sureness, _SHARES[1:])).tolist()]
    for agree in sorted({0, (H + 1) // 2, (7 * H + 9) // 10, (9 * H + 9) // 10, H}) if agreement else (0,):
        for tau in taus:
            tried += 1
            side = np.sign(views(told, Choice(tau, agree, base)))
            spoken = side != 0.0
            if spoken.mean() < _LEAST_COVERAGE:
                continue
            count = np.bincount(day, weights=spoken)
            gain = np.bincount(day, weights=np.where(spoken, side * outcome, 0.0))
            daily = gain[count > 0] / count[count > 0]
            if len(daily) < _LEAST_DATES or daily.std(ddof=1) <= rounding:
                continue
            t = float(daily.mean() / daily.std(ddof=1) * np.sqrt(len(daily)))
            if t > best_t + 1e-12:
                best, best_t = Choice(tau, agree, base), t
    return best, best_t if np.isfinite(best_t) else float("nan"), tried
