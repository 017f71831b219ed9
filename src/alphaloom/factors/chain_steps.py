"""The steps of the chain that fit nothing: each date is treated by itself, so nothing can leak through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors.chain_blocks import Cube, Run, through
from alphaloom.factors.neutralise import design, neutralise
from alphaloom.panel import Panel
from alphaloom.signal import Features, Target

__all__ = ["AvailabilityLag", "FillMissing", "Late", "Neutralise", "Standardise", "Winsorize"]

Fences = Literal["mad", "sigma", "quantile"]
Scale = Literal["zscore", "rank"]
Weights = Literal["sqrt_cap", "cap", "equal"]


@dataclass(frozen=True)
class AvailabilityLag:
    """Show factors `rows` bars later: for data that are published after the date they carry.

    `only` names the factors that are late; all are if it is empty.   Time: row t holds what row t - rows held.
    """

    rows: int = 1
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rows < 0:
            raise DataError("a lag is not negative", found=self.rows, where="AvailabilityLag.rows")

    @property
    def lookback(self) -> int:
        """Rows before today that the step reads."""
        return self.rows

    def fit(self, features: Features, target: Target, panel: Panel) -> Late:
        """Find the columns of the late factors.   Raises: DataError for a factor that is not there."""
        unknown = [name for name in self.only if name not in features.names]
        if unknown:
            raise DataError(
                "only factors of the features can be late", found=", ".join(unknown), where="AvailabilityLag.only"
            )
        late = [k for k, name in enumerate(features.names) if not self.only or name in self.only]
        return Late(self.rows, tuple(late))


@dataclass(frozen=True)
class Late:
    """The columns of the features that are shown late."""

    rows: int
    columns: tuple[int, ...]

    @property
    def lookback(self) -> int:
        """Rows before today that the step reads."""
        return self.rows

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The factors stay what they are."""
        return given

    def open(self, panel: Panel) -> Run:
        """A walk that keeps the last rows of the block before."""
        columns = list(self.columns)
        kept: list[Cube] = []

        def run(block: Cube, rows: slice) -> Cube:
            now = block[:, :, columns]
            before = kept.pop() if kept else np.full((self.rows, *now.shape[1:]), np.nan, now.dtype)
            joined = np.concatenate([before, now])
            block[:, :, columns] = joined[: len(now)]
            kept.append(joined[len(now) :])
            return block

        return run

    def transform(self, features: Features, panel: Panel) -> Features:
        """The features with late factors shown late."""
        return through((self,), features, panel)


@dataclass(frozen=True)
class Winsorize:
    """Hold each factor within fences around the middle of its date.

    "mad": median +- k * 1.4826 * median absolute deviation (where more than half of the values are equal, 1.2533 * the
    mean one); "sigma": mean +- k deviations; "quantile": between the k and the 1 - k quantile.
    Missing: non-members become NaN.
    """

    method: Fences = "mad"
    k: float = 5.0

    def __post_init__(self) -> None:
        good = self.method in get_args(Fences) and (0 <= self.k < 0.5 if self.method == "quantile" else self.k > 0)
        if not good:
            raise DataError(
                "fences are k deviations (mad, sigma), k > 0, or k of each tail (quantile), 0 <= k < 0.5",
                found=f"{self.method}, k = {self.k}",
                where="Winsorize",
            )

    lookback = 0

    def fit(self, features: Features, target: Target, panel: Panel) -> Winsorize:
        """Nothing is learned."""
        return self

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The factors stay what they are."""
        return given

    def open(self, panel: Panel) -> Run:
        """A walk over the panel's dates."""
        from alphaloom.factors.chain_kernels import winsorised

        def run(block: Cube, rows: slice) -> Cube:
            winsorised(block, panel.member[rows], get_args(Fences).index(self.method), self.k)
            return block

        return run

    def transform(self, features: Features, panel: Panel) -> Features:
        """The features within their fences."""
        return through((self,), features, panel)


@dataclass(frozen=True)
class FillMissing:
    """Give unknown cells the median of their group that day, or of all where the group knows none.

    A factor known for less than the fraction `coverage` of the date's members that traded is dropped for that date.
    Missing: non-members stay NaN, and so do cells whose close is not known: an asset without a price has no view.
    """

    label: str = "sector"
    coverage: float = 0.3

    lookback = 0

    def fit(self, features: Features, target: Target, panel: Panel) -> FillMissing:
        """Nothing is learned."""
        return self

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The factors stay what they are."""
        return given

    def open(self, panel: Panel) -> Run:
        """A walk over the panel's dates.   Raises: DataError where the label is unknown."""
        from alphaloom.factors.chain_kernels import filled

        groups = labels_of(panel, self.label)
        count = int(groups.max(initial=0)) + 1
        priced = np.isfinite(panel["close"])

        def run(block: Cube, rows: slice) -> Cube:
            filled(block, panel.member[rows], priced[rows], groups[rows], count, self.coverage)
            return block

        return run

    def transform(self, features: Features, panel: Panel) -> Features:
        """The features with their gaps filled."""
        return through((self,), features, panel)


@dataclass(frozen=True)
class Standardise:
    """Make factors comparable across dates and with each other.

    "zscore": mean 0 and population deviation 1 each day, 0 where all are equal; "rank": the normal quantile of
    (rank - 1/2) / n.   Missing: non-members become NaN.
    """

    method: Scale = "zscore"

    def __post_init__(self) -> None:
        if self.method not in get_args(Scale):
            raise DataError("a scale is zscore or rank", found=self.method, where="Standardise.method")

    lookback = 0

    def fit(self, features: Features, target: Target, panel: Panel) -> Standardise:
        """Nothing is learned."""
        return self

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The factors stay what they are."""
        return given

    def open(self, panel: Panel) -> Run:
        """A walk over the panel's dates."""
        from alphaloom.factors.chain_kernels import percentiles, zscored

        def zscore(block: Cube, rows: slice) -> Cube:
            zscored(block, panel.member[rows])
            return block

        def rank(block: Cube, rows: slice) -> Cube:
            from scipy.special import ndtri

            member = panel.member[rows]
            step = max(1, (1 << 20) // max(1, block[0].size))
            for start in range(0, len(block), step):
                part = block[start : start + step]
                share = np.empty(part.shape)
                percentiles(part, member[start : start + step], share)
                part[:] = ndtri(share)
            return block

        return zscore if self.method == "zscore" else rank

    def transform(self, features: Features, panel: Panel) -> Features:
        """The features on one scale."""
        return through((self,), features, panel)


@dataclass(frozen=True)
class Neutralise:
    """Take out of each factor what the groups of `label` and the `exposures` explain that day.

    `exposures` names styles (see `alphaloom.factors.style`) or fields of the panel. `weights`: square root of market
    value, market value, or equal. An asset whose style is not known counts as average in it, if 30 % of the members
    have it; otherwise nothing is said on that date. `parent` is the label whose groups lone members of a group join.
    """

    label: str = "sector"
    exposures: tuple[str, ...] = ("size", "beta")
    weights: Weights = "sqrt_cap"
    parent: str = ""

    def __post_init__(self) -> None:
        if self.weights not in get_args(Weights):
            raise DataError(
                "weights are sqrt_cap, cap or equal", found=self.weights, where="Neutralise.weights", fix="equal"
            )

    @property
    def lookback(self) -> int:
        """Rows before today that the styles read."""
        from alphaloom.factors.style import LOOKBACKS

        return max((LOOKBACKS.get(name, 0) for name in self.exposures), default=0)

    def fit(self, features: Features, target: Target, panel: Panel) -> Neutralise:
        """Nothing is learned."""
        return self

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The factors stay what they are."""
        return given

    def open(self, panel: Panel) -> Run:
        """A walk over the panel's dates.   Raises: DataError where the panel lacks a label, a style or a field."""
        from alphaloom.factors.style import exposures_named, market_value

        weights = None
        if self.weights != "equal":
            cap = market_value(panel)
            weights = cap if self.weights == "cap" else np.sqrt(cap)
        plan = design(
            panel.shape,
            exposures_named(panel, self.exposures),
            weights=weights,
            labels=labels_of(panel, self.label) if self.label else None,
            parents=labels_of(panel, self.parent) if self.parent else None,
            member=panel.member,
        )

        def run(block: Cube, rows: slice) -> Cube:
            neutralise(block, plan[rows], in_place=True)
            return block

        return run

    def transform(self, features: Features, panel: Panel) -> Features:
        """The features without what groups and styles explain."""
        return through((self,), features, panel)


def labels_of(panel: Panel, label: str) -> NDArray[np.int16]:
    """The codes of a label.   Raises: DataError naming those that the panel has."""
    if label not in panel.labels:
        raise DataError(
            "a group must be a label of the panel",
            found=label,
            where="chain",
            fix=f"one of: {', '.join(panel.labels)}" if panel.labels else "import sectors with the prices",
        )
    return panel.labels[label]
