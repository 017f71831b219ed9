"""The evaluator that formula searches call: many new formulas, each with its score, sharing their common parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from alphaloom.errors import AxisError, FormulaError
from alphaloom.factors.expr import Expr
from alphaloom.factors.options import PLAIN, Options
from alphaloom.factors.parse import parse
from alphaloom.factors.search_cache import ArrayCache, CacheStatistics
from alphaloom.panel import Panel
from alphaloom.signal import Target

__all__ = ["CacheStatistics", "Evaluator", "Fault", "Score"]

Grid = NDArray[Any]
Fault = Literal["", "constant", "sparse", "thin"]


@dataclass(frozen=True)
class Score:
    """How well one formula's values foretold the target, averaged over dates.

    `ic`: mean correlation of a date's values with its target over the cells where both are known, the same as
    `metrics.ranking.ic`; `icir`: that mean over its standard deviation (ddof 1); `rank_ic`: the same on ranks, None
    unless asked for; `projection`: mean inner product of standardised values and target where an unknown cell or date
    counts 0, which is what a pool's algebra adds up and equals `ic` where nothing is missing; `coverage`: known share
    of the cells that have a target; `days`: dates that `ic` is a mean of.
    `fault`: "" for a usable formula; "constant" or "sparse" where too many dates have equal or too few values, "thin"
    where too few cells are known. The numbers of a faulty formula are those of the dates that it has.
    """

    ic: float
    icir: float
    rank_ic: float | None
    projection: float
    coverage: float
    days: int
    fault: Fault = ""

    @property
    def valid(self) -> bool:
        """True where the formula is usable."""
        return not self.fault


class Evaluator:
    """Scores formulas on one panel and one target, keeping the values of their sub-formulas.

    `target` is a Target or an array (T, N); cells of non-members are left out. Rows before `start_row` warm windows up
    and are not scored. A date counts with at least `min_pairs` cells. A formula is usable when at least `min_days` of
    the dates and `min_coverage` of the cells that have a target have values. `threads` work on one batch together;
    results do not depend on them, nor on what the cache holds.
    Unit: `cache_bytes` bounds the kept sub-formulas; `min_days` and `min_coverage` are fractions.
    Time: the target lies in the future of its row: an evaluator belongs to training rows alone.
    Missing: values of every sub-formula are stored as `dtype`, so they differ from `evaluate` by its rounding.
    Raises: AxisError, FormulaError at construction.
    """

    def __init__(
        self,
        panel: Panel,
        target: Target | NDArray[Any],
        *,
        options: Options = PLAIN,
        cache_bytes: int = 512 << 20,
        dtype: DTypeLike = np.float32,
        start_row: int = 0,
        min_pairs: int = 10,
        min_days: float = 0.95,
        min_coverage: float = 0.6,
        threads: int = 1,
    ) -> None:
        # The compiler behind the kernels takes half a second to load: only those who search wait for it.
        from alphaloom.factors.search_nodes import nodes_for

        kind = np.dtype(dtype)
        if kind not in (np.float32, np.float64):
            raise FormulaError("factors are stored as float32 or float64", found=str(kind), where="Evaluator(dtype=)")
        if not 0 <= start_row < len(panel):
            raise AxisError("scores start at a row of the panel", found=start_row, where="Evaluator(start_row=)")
        if min_pairs < 2 or threads < 1 or cache_bytes < 0:
            found = f"min_pairs {min_pairs}, threads {threads}, cache_bytes {cache_bytes}"
            raise FormulaError("min_pairs is at least 2, threads at least 1, cache_bytes not negative", found=found)
        self.panel, self.options, self.threads = panel, options, threads
        self._start, self._least = start_row, min_pairs
        self._min_days, self._min_coverage = min_days, min_coverage
        self._nodes = nodes_for(panel, options, kind)
        self._cache = ArrayCache(cache_bytes)
        self._target, self._counts = _standard_target(panel, target, start_row, min_pairs)

    @property
    def days(self) -> int:
        """How many dates have a target that a formula can be scored on."""
        return int(np.count_nonzero(self._counts))

    @property
    def statistics(self) -> CacheStatistics:
        """What the cache of sub-formulas has done so far."""
        return self._cache.statistics

    @property
    def target(self) -> NDArray[np.float64]:
        """The scored rows' target with mean 0 and length 1 over its known cells.   Shape: (T - start_row, N)."""
        view = self._target.view()
        view.flags.writeable = False
        return view

    def shared_values(self, expr: Expr | str) -> Grid:
        """The values of one formula as the cache holds them: for reading, while the caller holds the array.

        Shape: (T, N).   Raises: FormulaError for an illegal formula.
        """
        return self._values(self._key(expr))

    def values(self, expr: Expr | str) -> Grid:
        """The values of one formula.   Shape: (T, N).   Raises: FormulaError for an illegal formula."""
        return np.array(self._values(self._key(expr)))

    def score(self, expr: Expr | str, *, rank: bool = False) -> Score:
        """How well one formula foretells the target.   Raises: FormulaError for an illegal formula."""
        return self._score(self._key(expr), rank)

    def scores(self, exprs: Iterable[Expr | str], *, rank: bool = False) -> list[Score]:
        """The scores of a batch, in its order; equal formulas and shared parts are computed once.

        Raises: FormulaError for an illegal formula, before anything is computed.
        """
        roots = [self._key(expr) for expr in exprs]
        distinct = list(dict.fromkeys(roots))
        if self.threads == 1 or len(distinct) < 2:
            found = {root: self._score(root, rank) for root in distinct}
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                found = dict(zip(distinct, pool.map(lambda root: self._score(root, rank), distinct), strict=True))
        return [found[root] for root in roots]

    def standardised(self, expr: Expr | str) -> Grid:
        """Each scored date's values with mean 0 and length 1, and 0 where they are not known or no date is scored.

        Shape: (T - start_row, N).
        """
        return np.array(self._standardised(self._key(expr))[self._start :])

    def correlation(self, left: Expr | str, right: Expr | str) -> float:
        """The mean inner product of two formulas' standardised values over the scored dates, in [-1, 1]."""
        return float(self.correlations(left, [right])[0])

    def correlations(self, expr: Expr | str, others: Sequence[Expr | str]) -> NDArray[np.float64]:
        """`correlation` of one formula with each of K others.   Shape: (K,)."""
        from alphaloom.factors.search_kernels import inner_products

        roots = [self._key(other) for other in others]
        mine, sums = self._standardised(self._key(expr)), []
        for root in roots:
            other = self._standardised(root)
            sums.append(inner_products(mine[self._start :], other[self._start :]).sum())
        return np.asarray(sums, np.float64) / max(self.days, 1)

    def _key(self, expr: Expr | str) -> Any:
        return self._nodes.key(parse(expr, options=self.options) if isinstance(expr, str) else expr)

    def _values(self, key: Any) -> Grid:
        held = self._nodes.field(key)
        return self._cache.get(key, lambda: self._nodes.compute(key, self._values)) if held is None else held

    def _standardised(self, key: Any) -> Grid:
        from alphaloom.factors.search_kernels import standardised

        def make() -> Grid:
            # The whole arrays are held: a view of them would not keep their memory from being used again.
            values, out = self._values(key), self._nodes.empty()
            standardised(values[self._start :], self._target, self._least, out[self._start :])
            return out

        return self._cache.get(("standardised", key), make)

    def _score(self, key: Any, rank: bool) -> Score:
        from alphaloom.factors.search_kernels import rank_scored, scored

        whole = self._values(key)
        values = whole[self._start :]
        dates = np.empty((len(values), 4))
        scored(values, self._target, self._least, dates)
        pairs, ic, product, constant = dates[self._counts > 0].T
        known = ic[np.isfinite(ic)]
        mean = float(known.sum() / len(known)) if len(known) else float("nan")
        apart = known - mean
        deviation = float(np.sqrt(apart @ apart / (len(known) - 1))) if len(known) > 1 else float("nan")
        by_rank = None
        if rank:
            ranked = rank_scored(values, self._target, self._least)
            by_rank = float(np.nanmean(ranked)) if np.isfinite(ranked).any() else float("nan")
        return Score(
            ic=mean,
            icir=mean / deviation if deviation > 0.0 else float("nan"),
            rank_ic=by_rank,
            projection=float(product[np.isfinite(product)].sum() / max(len(product), 1)),
            coverage=float(pairs.sum() / max(self._counts.sum(), 1)),
            days=len(known),
            fault=self._fault(pairs, constant, len(known)),
        )

    def _fault(self, pairs: NDArray[np.float64], constant: NDArray[np.float64], days: int) -> Fault:
        if days == 0 or days < self._min_days * len(pairs):
            flat = np.count_nonzero(constant)
            return "constant" if flat and flat >= np.count_nonzero(pairs < self._least) else "sparse"
        return "" if pairs.sum() >= self._min_coverage * self._counts.sum() else "thin"


def _standard_target(
    panel: Panel, target: Target | NDArray[Any], start: int, least: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The target's scored rows with mean 0 and length 1 over the known cells of members, and their counts."""
    if isinstance(target, Target) and (target.assets != panel.assets or not np.array_equal(target.times, panel.times)):
        raise AxisError("a target has the panel's times and assets", found="other axes", where="Evaluator(target=)")
    values = np.array(target.values if isinstance(target, Target) else target, dtype=np.float64)
    if values.shape != panel.shape:
        raise AxisError(
            "a target has the panel's shape", found=f"{values.shape}, not {panel.shape}", where="Evaluator(target=)"
        )
    rows = np.where(panel.member & np.isfinite(values), values, np.nan)[start:]
    known = np.isfinite(rows)
    counts = known.sum(axis=1)
    centred = np.where(known, rows, 0.0)
    mean = centred.sum(axis=1) / np.maximum(counts, 1)
    centred = np.where(known, centred - mean[:, None], 0.0)
    length = np.sqrt((centred * centred).sum(axis=1))
    usable = (counts >= least) & (length > 1e-9 * np.abs(mean) * np.sqrt(np.maximum(counts, 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.where(known & usable[:, None], centred / length[:, None], np.nan)
    return out, np.where(usable, counts, 0)
