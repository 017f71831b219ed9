"""From a panel and a set of formulas to the judgement of each formula alone, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors import FactorSet, evaluate
from alphaloom.market import Market
from alphaloom.metrics import factors as judging
from alphaloom.metrics import ranking
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns
from alphaloom.study.factor_analysis import FactorAnalysis
from alphaloom.study.study import Progress

__all__ = ["analyse_factors"]

QUANTILES: Final = 5
LAGS: Final = (1, 5)
MIN_PAIRS: Final = 10
LEVEL: Final = 0.05
ALIKE: Final = 0.5
_NORMAL: Final = NormalDist()
_BATCH_BYTES: Final = 200_000_000
_SAMPLED_CELLS: Final = 24_000_000  # standardised ranks kept for the correlations between factors, about 96 MB

Floats = NDArray[np.float64]


def analyse_factors(
    factors: FactorSet,
    panel: Panel,
    *,
    market: Market | None = None,
    horizons: Sequence[int] = (1, 5, 10, 20),
    start: int = 0,
    threads: int = 1,
    progress: Progress | None = None,
) -> FactorAnalysis:
    """Hold every factor alone against the returns that followed: coefficients, decay, buckets, turnover, luck.

    Factors whose names the panel lacks are left out and named in the notes. The first horizon is the one that factors
    are ranked by. Earlier rows than `start` serve as look-back only.
    Time: factor row t uses rows <= t, its return runs from the fill that follows; a finding about the whole span must
    not be traded inside it.   Missing: only members of each date are counted.
    Raises: DataError for a horizon below 1, a repeated one, or a start beyond the panel; FormulaError.
    """
    wanted = tuple(int(horizon) for horizon in horizons)
    if not wanted or min(wanted) < 1 or len(set(wanted)) < len(wanted):
        raise DataError("horizons are different numbers of bars, at least one each", found=wanted, where="horizons")
    if not 0 <= start < len(panel):
        raise DataError("an analysis starts inside the panel", found=f"row {start} of {len(panel)}", where="start")
    rules = market or Market()
    kept, left_out = factors.supported_by(panel)
    span = panel[start:]
    targets = judging.rank_targets(
        {horizon: forward_returns(span, rules, horizon=horizon).values for horizon in wanted}, member=span.member
    )
    sample = _sampled_rows(span, len(kept))
    parts, ranks = [], []
    view = panel[max(0, start - kept.lookback) :]
    for done, batch in _batches(kept, view):
        if progress is not None:
            progress("factors", done, len(kept))
        values = evaluate(batch, view, threads=threads).values[len(view) - len(span) :]
        found = judging.factor_scores(
            values, targets, quantiles=QUANTILES, lags=LAGS, min_pairs=MIN_PAIRS, sample=sample, threads=threads
        )
        parts.append(_reduced(found, span, wanted))
        ranks.append(found.ranks)
    if progress is not None:
        progress("factors", len(kept), len(kept))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    correlation = judging.mean_rank_correlation(np.concatenate(ranks, axis=2))
    order, clusters = judging.related_order(correlation, alike=ALIKE)
    table = _table(kept, whole, clusters)
    setting = _Setting(span, rules, wanted, left_out, len(sample))
    facts = _facts(setting, table)
    return FactorAnalysis(
        name=kept.name,
        horizons=wanted,
        times=span.times,
        table=table,
        decay={name: whole[name] for name in ("ic", "ic_se", "rank_ic", "rank_ic_se", "spread", "spread_se")},
        quantiles=whole["quantiles"],
        turnover=whole["turnover"],
        years=np.unique(_year(span.times)),
        yearly=whole["yearly"],
        rank_ic=np.ascontiguousarray(whole["daily"].T),
        coverage=np.ascontiguousarray(whole["coverage"].T),
        correlation=correlation,
        order=order,
        facts=facts,
        notes=_notes(setting, facts, span.notes),
    )


@dataclass(frozen=True)
class _Setting:
    span: Panel
    market: Market
    horizons: tuple[int, ...]
    left_out: tuple[str, ...]
    sampled: int


def _batches(factors: FactorSet, panel: Panel) -> Iterator[tuple[int, FactorSet]]:
    T, N = panel.shape
    size = max(1, min(20, _BATCH_BYTES // max(1, 4 * T * N)))
    for first in range(0, len(factors), size):
        yield first, replace(factors, factors=factors.factors[first : first + size])


def _sampled_rows(span: Panel, count: int) -> list[int]:
    """Evenly spaced rows with enough members, as many as memory allows, for the correlations between factors."""
    busy = np.flatnonzero(span.member.sum(axis=1) >= MIN_PAIRS)
    most = max(12, min(252, _SAMPLED_CELLS // max(1, span.shape[1] * count)))
    if len(busy) <= most:
        return [int(row) for row in busy]
    return [int(row) for row in busy[np.linspace(0, len(busy) - 1, most).round().astype(np.int64)]]


def _year(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return np.asarray(times.astype("datetime64[Y]").astype(np.int64) + 1970)


def _reduced(found: judging.FactorScores, span: Panel, horizons: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """The numbers of a batch, factors on axis 0; the series themselves stay behind, but for the first horizon's."""
    H = len(horizons)
    out: dict[str, NDArray[Any]] = {}
    spread = found.buckets[..., -1] - found.buckets[..., 0]
    for name, series in (("ic", found.ic), ("rank_ic", found.rank_ic), ("spread", spread)):
        tests = [judging.mean_tests(series[h], lag=horizons[h] - 1) for h in range(H)]
        out |= {name: _beside(t.mean for t in tests), f"{name}_se": _beside(t.error for t in tests)}
        out[f"{name}_t"] = tests[0].t
    size = np.where(np.isfinite(out["rank_ic"]), np.abs(out["rank_ic"]), -1.0)
    out["strongest_horizon"] = np.array(horizons, np.int64)[size.argmax(axis=1)]
    daily = found.rank_ic[0]
    known = np.isfinite(daily)
    out["dates"] = known.sum(axis=1)
    deviation = np.where(known, daily - _mean(daily)[:, None], 0.0)
    out["std"] = np.sqrt(_ratio((deviation**2).sum(axis=1), out["dates"] - 1.0))
    out["hit_rate"] = _ratio((np.where(known, daily, 0.0) > 0).sum(axis=1), out["dates"])
    half = daily.shape[1] // 2
    out["first_half"], out["second_half"] = _mean(daily[:, :half]), _mean(daily[:, half:])
    years = _year(span.times)
    out["yearly"] = _beside(_mean(daily[:, years == year], least=MIN_PAIRS) for year in np.unique(years))
    out["quantiles"] = _mean(found.buckets.transpose(1, 0, 3, 2))
    out["monotonicity"] = np.array([ranking.monotonicity(table) for table in found.buckets[0]])
    out["turnover"] = _mean(found.turnover.transpose(0, 2, 1))
    for k, lag in enumerate(LAGS):
        out[f"autocorrelation_{lag}"] = _mean(found.autocorrelation[k])
    members = span.member.sum(axis=1)
    out["coverage"] = _ratio(found.known, members).astype(np.float32)
    began = np.maximum.accumulate(found.known > 0, axis=1)
    out["missing"] = 1.0 - np.nan_to_num(_ratio(found.known.sum(axis=1), (began * members).sum(axis=1)))
    first = span.times[began.argmax(axis=1)]
    out["first"] = np.where(began.any(axis=1), first, np.datetime64("NaT", "ns"))
    out["daily"] = daily.astype(np.float32)
    out["periods"] = np.full(len(daily), span.periods_per_year)
    return out


def _beside(columns: Iterator[Floats] | Any) -> Floats:
    return np.stack(list(columns), axis=1)


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> Floats:
    good = np.asarray(bottom) > 0
    return np.where(good, top / np.where(good, bottom, 1.0), np.nan)


def _mean(values: Floats, *, least: int = 1) -> Floats:
    """Means along the last axis of what is known; NaN below `least` values."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count >= least, total / np.maximum(count, 1), np.nan)


def _table(kept: FactorSet, whole: dict[str, NDArray[Any]], clusters: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """One row a factor: what it is, what it showed, and whether luck explains it."""
    F = len(kept)
    p = judging.normal_p(whole["rank_ic_t"])
    mean, error = whole["rank_ic"][:, 0], whole["rank_ic_se"][:, 0]
    reach = _NORMAL.inv_cdf(0.975)
    ratio = _ratio(mean, whole["std"])
    halves = whole["first_half"] * whole["second_half"]
    return {
        "name": np.array(kept.names, dtype=object),
        "family": np.array([factor.family for factor in kept.factors], dtype=object),
        "formula": np.array([str(factor.expr) for factor in kept.factors], dtype=object),
        "source": np.array([factor.source for factor in kept.factors], dtype=object),
        "sign": np.array([factor.sign for factor in kept.factors], dtype=np.int64),
        "ic": whole["ic"][:, 0],
        "ic_t": whole["ic_t"],
        "rank_ic": mean,
        "rank_ic_low": mean - reach * error,
        "rank_ic_high": mean + reach * error,
        "rank_ic_t": whole["rank_ic_t"],
        "rank_ic_ir": ratio,
        "rank_ic_annual_ir": ratio * np.sqrt(whole["periods"]),
        "hit_rate": whole["hit_rate"],
        "dates": whole["dates"].astype(np.int64),
        "strongest_horizon": whole["strongest_horizon"],
        "spread": whole["spread"][:, 0],
        "spread_t": whole["spread_t"],
        "monotonicity": whole["monotonicity"],
        "turnover": (whole["turnover"][:, 0] + whole["turnover"][:, -1]) / 2.0,
        **{f"autocorrelation_{lag}": whole[f"autocorrelation_{lag}"] for lag in LAGS},
        "missing": whole["missing"],
        "first": whole["first"],
        "first_half": whole["first_half"],
        "second_half": whole["second_half"],
        "halves_agree": halves > 0,
        "p": p,
        "stands_bh": judging.benjamini_hochberg(p, level=LEVEL),
        "stands_bonferroni": p < LEVEL / F,
        "cluster": clusters,
    }


def _facts(setting: _Setting, table: dict[str, NDArray[Any]]) -> dict[str, Any]:
    F, span = len(table["name"]), setting.span
    return {
        "first": str(span.times[0].astype("datetime64[D]")),
        "last": str(span.times[-1].astype("datetime64[D]")),
        "bars": len(span),
        "assets": int(span.member.any(axis=0).sum()),
        "fill": setting.market.fill,
        "data": span.source,
        "trials": F,
        "clusters": int(table["cluster"].max()) + 1,
        "alike": ALIKE,
        "level": LEVEL,
        "expected_max_t": judging.expected_max_t(F),
        "expected_max_t_clusters": judging.expected_max_t(int(table["cluster"].max()) + 1),
        "bonferroni_t": _NORMAL.inv_cdf(1.0 - LEVEL / (2 * F)),
        "stands_single": int((table["p"] < LEVEL).sum()),
        "stands_bh": int(table["stands_bh"].sum()),
        "stands_bonferroni": int(table["stands_bonferroni"].sum()),
        "sampled_dates": setting.sampled,
        "left_out": list(setting.left_out),
    }


def _notes(setting: _Setting, facts: dict[str, Any], given: tuple[str, ...]) -> tuple[str, ...]:
    F, fill = facts["trials"], setting.market.fill.replace("_", " ")
    luck = f"the best of {F} worthless and unrelated ones would show |t| of about {facts['expected_max_t']:.1f}"
    notes = [
        *given,
        f"trials: {F} factor{'s' if F != 1 else ''} judged on the same returns; {luck}. If the formulas were picked "
        "from more than these, the mark lies higher",
        "in sample: every figure looks back over the whole span; no choice made here was tested on other data",
        f"returns: from the {fill} over the horizon, of members of the universe at each date that could be traded at "
        "both ends, before costs",
    ]
    if max(setting.horizons) > 1:
        notes.append(
            "overlap: returns over h bars share h - 1 bars with the next; errors are Newey-West's with lag h - 1"
        )
    if F > 1:
        notes.append(
            f"correlations: ranks compared on {setting.sampled} evenly spaced dates; factors alike by {ALIKE:g} or "
            f"more, whatever the sign, form {facts['clusters']} cluster{'s' if facts['clusters'] != 1 else ''}"
        )
    if setting.left_out:
        some, count = ", ".join(setting.left_out[:8]), len(setting.left_out)
        more = f" and {count - 8} more" if count > 8 else ""
        notes.append(f"left out: {count} factors read fields that these data lack: {some}{more}")
    return tuple(dict.fromkeys(notes))
