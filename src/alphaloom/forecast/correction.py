"""What is done to factors before a model reads them: the bias-correction chain as one setting of a learner.

The order is that of `alphaloom.factors.chain`: untradable cells are masked before any factor is computed, then factors
are shown late, cut, filled, standardised, freed of what sectors and styles explain, standardised again; directions and
duplicates are learned on training rows; labels that overlap weigh less. Each step can be switched off by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors import Factor, FactorSet, evaluate, load_library, lookback, parse
from alphaloom.factors.chain import (
    AvailabilityLag,
    Chain,
    FillMissing,
    FittedChain,
    Neutralise,
    Orient,
    Redundancy,
    Standardise,
    Winsorize,
    mask_first,
    measured,
    tradable,
)
from alphaloom.factors.options import Options
from alphaloom.factors.style import STYLES, standardised
from alphaloom.panel import Panel
from alphaloom.signal import Target
from alphaloom.units import ONE

__all__ = ["Correction", "Mask", "Standard", "uniqueness"]

Mask = Literal["first", "post_hoc", "none"]
Standard = Literal["zscore", "normal", "none"]

_PREFIX = "exposure."
_LEAST = Options(min_periods=42)
_LIKENESS_DATES = 40
# Size where the panel has no market value: the money traded a day, which grows with it.
_SIZES = (
    ("cap", "log(cap)"),
    ("shares_out", "log(close * shares_out)"),
    ("volume", "log(ts_mean(close * volume, 63))"),
)


@dataclass(frozen=True)
class Correction:
    """The steps between raw factors and a model, each with its switch.

    `mask`: cells that could not be traded at the close are unknown before factors are computed ("first"), after
    ("post_hoc", the wrong order, for comparison), or not at all; assets listed for fewer than `seasoning` bars count as
    untradable. `lag`: factors are shown so many bars later. `winsorize`: fences of `deviations` times 1.4826 * median
    absolute deviation. `fill`: group medians, a factor known for less than `coverage` of a date is dropped on it.
    `standardise`: "zscore", "normal" (rank to normal) or "none"; `again` repeats it after `neutralise`, the residual of
    each date's regression on the groups of `label` ("" for none) and on `exposures`, which are styles or fields of the
    panel. `orient` turns factors by their training rank IC; of factors whose rank correlation exceeds `redundancy` the
    one with the best training ICIR stays (1 keeps all). `uniqueness`: a row weighs the share of its label that no
    other learned date covers, about `every` / `horizon`.
    Time: orientation and redundancy read training rows alone; all other steps treat each date by itself.
    Missing: "size" without market value is the log of the money traded a day over 63 bars.
    """

    mask: Mask = "first"
    seasoning: int = 0
    lag: int = 0
    winsorize: bool = True
    deviations: float = 5.0
    fill: bool = True
    coverage: float = 0.3
    standardise: Standard = "zscore"
    neutralise: bool = True
    label: str = "sector"
    exposures: tuple[str, ...] = ("size", "beta")
    again: bool = True
    orient: bool = True
    redundancy: float = 0.9
    uniqueness: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "exposures", tuple(self.exposures))
        rules = (
            (self.mask in get_args(Mask), "a mask comes first, post_hoc or none", "mask"),
            (self.seasoning >= 0, "a seasoning counts bars", "seasoning"),
            (self.lag >= 0, "a lag is not negative", "lag"),
            (self.deviations > 0, "fences lie a positive number of deviations away", "deviations"),
            (0.0 <= self.coverage <= 1.0, "a coverage is a fraction", "coverage"),
            (self.standardise in get_args(Standard), "a standard is zscore, normal or none", "standardise"),
            (0.0 < self.redundancy <= 1.0, "a limit of correlation is above 0 and at most 1", "redundancy"),
            (len(set(self.exposures)) == len(self.exposures), "exposures differ from each other", "exposures"),
        )
        for good, rule, name in rules:
            if not good:
                raise DataError(rule, found=getattr(self, name), where=f"Correction.{name}")

    @property
    def learned(self) -> bool:
        """Whether a step learns from training rows."""
        return self.orient or self.redundancy < 1.0

    def chain(self) -> Chain:
        """The steps after the mask as a chain for `prepared` panels, which hold the exposures as fields."""
        steps: list[Any] = [AvailabilityLag(self.lag)] if self.lag else []
        steps += [Winsorize("mad", self.deviations)] if self.winsorize else []
        steps += [FillMissing(self.label, self.coverage)] if self.fill else []
        scale = (
            [Standardise("rank" if self.standardise == "normal" else "zscore")] if self.standardise != "none" else []
        )
        steps += scale
        if self.neutralise:
            steps.append(Neutralise(self.label, tuple(_PREFIX + name for name in self.exposures)))
            steps += scale if self.again else []
        steps += [Orient()] if self.orient else []
        steps += [Redundancy(self.redundancy)] if self.redundancy < 1.0 else []
        return Chain(tuple(steps))

    def fixed(self, names: tuple[str, ...]) -> FittedChain:
        """The part of the chain that learns nothing, ready to be used on features of these names."""
        steps = [step for step in self.chain().steps if not isinstance(step, Orient | Redundancy)]
        return FittedChain(tuple(_bare(step, names) for step in steps))

    @property
    def fixed_part(self) -> Correction:
        """The correction without the settings that do not change what is computed date by date."""
        return replace(self, orient=False, redundancy=1.0, uniqueness=False)

    @property
    def mask_rows(self) -> int:
        """Rows before today that the mask reads."""
        return 0 if self.mask == "none" else max(1, self.seasoning)

    @property
    def exposure_rows(self) -> int:
        """Rows before today that the exposures read."""
        return _exposure_rows(self.exposures) if self.neutralise else 0

    def rows_before(self, reach: int) -> int:
        """Rows before today that a factor of look-back `reach` needs in all."""
        return self.mask_rows + max(reach + self.lag, self.exposure_rows)

    def keep(self, panel: Panel) -> NDArray[np.bool_]:
        """The cells that count as tradable.   Shape: (T, N).   Time: row t reads rows t - mask_rows..t."""
        mask = tradable(panel, limit_pct=np.inf)
        bound = panel.fields.get("limit_pct")
        if bound is not None and "limit_up" not in panel.fields:
            close = np.asarray(panel["close"], dtype=np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                mask[1:] &= ~(np.abs(close[1:] / close[:-1] - 1.0) > bound[1:])
        if self.seasoning:
            mask[self.seasoning :] &= panel.listed[: -self.seasoning]
        return mask

    def prepared(self, panel: Panel) -> tuple[Panel, Panel, NDArray[np.bool_] | None]:
        """The panel that factors are computed on, the one that the chain walks over, and a mask for afterwards."""
        if self.mask == "none":
            return panel, self._dressed(panel), None
        keep = self.keep(panel)
        masked = mask_first(panel, mask=keep)
        dressed = self._dressed(masked)
        return (masked, dressed, None) if self.mask == "first" else (panel, dressed, keep)

    def _dressed(self, panel: Panel) -> Panel:
        """The panel with one field for each exposure; a missing group "" becomes one group of all."""
        labels = dict(panel.labels)
        if not self.label:
            labels[""] = np.zeros(panel.shape, dtype=np.int16)
        fields = {name: panel.fields[name] for name in ("close", "cap", "shares_out") if name in panel.fields}
        units = {name: panel.units[name] for name in fields}
        for name in self.exposures if self.neutralise else ():
            fields[_PREFIX + name], units[_PREFIX + name] = self._exposure(panel, name), ONE
        return panel.replace(fields=fields, units=units, labels=labels, series={}, source=f"{panel.source}+corrected")

    def _exposure(self, panel: Panel, name: str) -> NDArray[np.float64]:
        if name in panel.fields and name not in STYLES:
            return np.asarray(panel[name], dtype=np.float64)
        if name not in STYLES:
            raise DataError(
                "an exposure is a style or a field of the panel",
                found=name,
                where="Correction.exposures",
                fix=f"styles: {', '.join(STYLES)}",
            )
        expr = next(factor.expr for factor in load_library("style").factors if factor.name == name)
        if name == "size":
            expr = parse(next((text for field, text in _SIZES if field in panel.fields), _SIZES[0][1]))
        return standardised(panel, _one(expr, panel))

    def notes(self, panel: Panel) -> tuple[str, ...]:
        """What a reader of the result must know about the correction on this panel."""
        said = []
        if self.neutralise and "size" in self.exposures and not {"cap", "shares_out"} & set(panel.fields):
            said.append("The panel has no market value: size is the log of the money traded a day over 63 bars.")
        if self.mask != "none":
            seen = panel.member & panel.listed
            share = float((seen & ~self.keep(panel)).sum() / max(1, seen.sum()))
            said.append(f"{share:.1%} of the members' cells could not be traded and are masked ({self.mask}).")
        return tuple(said)

    def learn(
        self,
        names: tuple[str, ...],
        walk: Iterable[tuple[NDArray[np.intp], NDArray[np.float32]]],
        target: Target,
        panel: Panel,
    ) -> FittedChain:
        """Directions and choice from training rows; `walk` gives dates and their features (B, N, F)."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        dates = np.flatnonzero(np.isfinite(target.values).any(axis=1))
        near = np.zeros(len(panel), dtype=np.bool_)
        # One thread: how a product is cut among threads would otherwise show in its last digits.
        with threadpool_limits(limits=1):
            evidence = measured(names, _marked(walk, near, len(dates)), target, panel, alike=near)
        steps: list[Any] = []
        for step in (Orient(), Redundancy(self.redundancy)):
            if self.orient if isinstance(step, Orient) else self.redundancy < 1.0:
                fitted = step.learn(evidence)
                evidence = fitted.carry(evidence)
                steps.append(fitted)
        return FittedChain(tuple(steps), target.horizon)


def uniqueness(dates: NDArray[np.intp], horizon: int) -> NDArray[np.float64]:
    """How much of each label is its own: the mean over its bars of one over the labels that cover the bar.

    Shape: (D,) ascending rows of the labels -> (D,).
    Source: Lopez de Prado (2018), Advances in Financial Machine Learning, section 4.4.
    """
    if not len(dates):
        return np.empty(0)
    cover = np.zeros(int(dates[-1] - dates[0]) + horizon)
    for row in dates - dates[0]:
        cover[row : row + horizon] += 1.0
    share = np.concatenate([[0.0], np.cumsum(1.0 / np.maximum(cover, 1.0))])
    first = dates - dates[0]
    return np.asarray((share[first + horizon] - share[first]) / horizon)


@cache
def _exposure_rows(names: tuple[str, ...]) -> int:
    reach = [lookback(parse(formula)) for _, formula in _SIZES] if "size" in names else []
    styles = [factor for factor in load_library("style").factors if factor.name in names and factor.name != "size"]
    return max([*reach, *(lookback(factor.expr) for factor in styles)], default=0)


def _marked(
    walk: Iterable[tuple[NDArray[np.intp], NDArray[np.float32]]], near: NDArray[np.bool_], count: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """The walk as it is; every so-many-th date that it visits is marked for the correlations between factors."""
    step, seen = max(1, count // _LIKENESS_DATES), 0
    for dates, block in walk:
        near[dates[np.arange(seen, seen + len(dates)) % step == 0]] = True
        seen += len(dates)
        yield dates, block


def _bare(step: Any, names: tuple[str, ...]) -> Any:
    """A step that knows its columns; all but the lag know them without looking."""
    from alphaloom.factors.chain import Late

    return Late(step.rows, tuple(range(len(names)))) if isinstance(step, AvailabilityLag) else step


def _one(expr: Any, panel: Panel) -> NDArray[np.float64]:
    values = evaluate(FactorSet("exposure", (Factor("exposure", expr),), _LEAST), panel).values[:, :, 0]
    return np.asarray(values, dtype=np.float64)
