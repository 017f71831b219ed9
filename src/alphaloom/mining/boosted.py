"""Trees over the values of formulas: learned on cells that have a target, and read for members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError

if TYPE_CHECKING:
    from alphaloom.mining.combiners import Boosting, Evidence

__all__ = ["boosted", "said", "tree_width"]


def boosted(
    evidence: Evidence, boosting: Boosting, *, seed: int, purge: int, held: Evidence | None
) -> tuple[str, NDArray[np.float64]]:
    """Trees as text, and each formula's share in what they gained.

    Growing stops when the error on later dates, `held` or the last part of the evidence's own, gets no better.
    Raises: DataError without a target; SolveError with too few rows.
    """
    import lightgbm

    S = evidence.z.shape[1]
    cut = S if held is not None else S - max(1, round(S * boosting.holdout))
    x, y = _table(evidence, 0, cut if held is not None else cut - purge)
    later_x, later_y = _table(held, 0, held.z.shape[1]) if held is not None else _table(evidence, cut, S)
    if len(y) < 2 * boosting.min_rows or not len(later_y):
        raise SolveError(
            "trees need rows for two leaves and rows to stop on",
            found=f"{len(y)} and {len(later_y)} rows, min_rows {boosting.min_rows}",
            where="combiner gbdt",
            fix="search on more bars or assets, or lower min_rows",
        )
    settings = {
        "objective": "regression",
        "learning_rate": boosting.learning_rate,
        "max_depth": boosting.depth,
        "num_leaves": 2**boosting.depth,
        "min_data_in_leaf": boosting.min_rows,
        "lambda_l2": boosting.l2,
        "seed": seed,
        "num_threads": boosting.threads,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(x, label=y, params=settings)
    stop = lightgbm.early_stopping(boosting.patience, verbose=False)
    judge = data.create_valid(later_x, label=later_y)
    grown = lightgbm.train(settings, data, num_boost_round=boosting.trees, valid_sets=[judge], callbacks=[stop])
    kept = max(int(grown.best_iteration), 1)
    gain = np.asarray(grown.feature_importance("gain", iteration=kept), dtype=np.float64)
    return str(grown.model_to_string(num_iteration=kept)), gain / (gain.sum() or 1.0)


def said(trees: str, z: NDArray[np.float32], member: NDArray[np.bool_], *, threads: int = 1) -> NDArray[np.float64]:
    """What the trees say of each member.   Shape: z (K, S, N), member (S, N) -> (S, N), NaN elsewhere."""
    booster = _read(trees)
    out = np.full(member.shape, np.nan)
    for rows in np.array_split(np.arange(len(member)), max(1, member.size // 200_000)):
        inside = member[rows]
        if inside.any():
            part = np.full(inside.shape, np.nan)
            x = _scaled(z[:, rows], inside)[:, inside].T
            part[inside] = booster.predict(np.ascontiguousarray(x), num_threads=threads)
            out[rows] = part
    return out


def tree_width(trees: str) -> int:
    """How many formulas the trees read.   Raises: DataError for text that is no trees."""
    return int(_read(trees).num_feature())


def _read(trees: str) -> Any:
    import lightgbm

    try:
        return lightgbm.Booster(model_str=trees)
    except lightgbm.basic.LightGBMError as error:
        raise DataError("stored trees can be read", found=str(error), where="trees") from None


def _scaled(z: NDArray[np.float32], cells: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values of length 1 a date as values of deviation 1, so that a split means the same in a small universe."""
    return np.asarray(z * np.sqrt(cells.sum(axis=1), dtype=np.float32)[:, None], np.float32)


def _table(evidence: Evidence, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The cells of some dates that have a target, in order.   Shape: (R, K), (R,)."""
    if evidence.target is None:
        raise DataError("trees are learned from the target's values", found="none", where="Evidence.target")
    y = evidence.target[first:last]
    cells = np.isfinite(y)
    x = _scaled(evidence.z[:, first:last], cells)[:, cells].T
    return np.ascontiguousarray(x), (y * np.sqrt(cells.sum(axis=1))[:, None])[cells]
