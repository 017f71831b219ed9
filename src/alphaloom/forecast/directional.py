"""Up, down or wait: nets that give the chance of both sides for each of the next days, and what they dare to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import FactorSet, load_library
from alphaloom.forecast.directional_choice import Calibration, Choice, choose, fit_calibration, views
from alphaloom.forecast.directional_rows import Scaling, fit_scaling, move_sizes, outcomes, sides
from alphaloom.forecast.directional_state import restored, stored
from alphaloom.market import Market
from alphaloom.nn import FittedNet, Mlp, Recurrent, Samples, Training, fit_net
from alphaloom.panel import Panel
from alphaloom.signal import Signal

__all__ = ["DirectionalForecaster", "DirectionalNets"]

Memory = Literal["gru", "lstm"]
_CELLS_AT_ONCE = 1 << 16
_PLAIN, _ANY = Calibration(), Choice()


@dataclass(frozen=True)
class DirectionalNets:
    """Learns how likely each asset rises, and falls, over each of the next 1 to `horizons` bars.

    `feed_forward` nets read today's factors, `recurrent` ones (`memory` gru or lstm) the last `length` rows of
    them; each has one head for each horizon and side, and all are averaged. A move counts as up or down
    when it is larger than `dead_zone` times the asset's usual move over that horizon; 0 makes every move count. Dates
    are thinned to every `every`-th, for the labels of neighbours overlap.
    The last `validation` bars of the training slice are not learnt from: on them probabilities are calibrated by
    isotonic regression (`calibrate`), and the confidence and the number of agreeing horizons that a view needs are
    chosen (`thresholds`, `agreement`). `centred` holds p_up - p_down against its mean on those bars, so that a market
    that mostly rises does not make every view a long one. The `holdout` bars before them stop the training early.
    Time: each part is cut off from the next as if later rows did not exist, so no label reaches into the next part.
    Raises: DataError for a setting out of range; SolveError for a slice that is too short.
    Source: arXiv:2509.16707; what it leaves open is named in systems/increase_alpha.py.
    """

    factors: FactorSet | str = "directional"
    horizons: int = 10
    length: int = 20
    dead_zone: float = 0.25
    feed_forward: int = 2
    recurrent: int = 2
    memory: Memory = "gru"
    hidden: tuple[int, ...] = (64, 32)
    width: int = 32
    dropout: float = 0.1
    every: int = 5
    known: float = 0.5
    validation: int = 63
    holdout: int = 63
    calibrate: bool = True
    thresholds: bool = True
    agreement: bool = True
    centred: bool = False
    epochs: int = 12
    patience: int = 3
    learning_rate: float = 1e-3
    dates_per_batch: int = 4
    device: str = "cpu"
    amp: bool = False
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        counts = {"horizons": 1, "length": 1, "every": 1, "validation": self.horizons + 2, "feed_forward": 0}
        counts |= {"recurrent": 0, "holdout": 0, "dates_per_batch": 1, "seed": 0}
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise DataError(
                    f"a count is at least {least}", found=getattr(self, name), where=f"DirectionalNets.{name}"
                )
        if not self.feed_forward + self.recurrent:
            raise DataError("an ensemble has at least one net", found=0, where="DirectionalNets.feed_forward")
        if self.memory not in get_args(Memory):
            raise DataError("a memory is gru or lstm", found=self.memory, where="DirectionalNets.memory")
        if not 0.0 <= self.dead_zone < 3.0:
            raise DataError(
                "a dead zone is 0 to below 3 moves", found=self.dead_zone, where="DirectionalNets.dead_zone"
            )
        if not 0.0 < self.known <= 1.0:
            raise DataError("the known part is a fraction above 0", found=self.known, where="DirectionalNets.known")
        _ = tuple(self._members())  # the nets and their training check the rest

    def _members(self) -> Iterator[tuple[Mlp | Recurrent, Training]]:
        """Every net of the ensemble with its training, each with a seed of its own."""
        for k in range(self.feed_forward + self.recurrent):
            spec: Mlp | Recurrent = Mlp(self.hidden, self.dropout)
            if k >= self.feed_forward:
                spec = Recurrent(self.memory, self.width, 1, self.dropout)
            yield (
                spec,
                Training(
                    epochs=self.epochs,
                    patience=self.patience if self.holdout else 0,
                    lr=self.learning_rate,
                    dates_per_batch=self.dates_per_batch,
                    loss="bce",
                    amp=self.amp,
                    device=self.device,
                    threads=self.threads,
                    seed=1000 * self.seed + k,
                ),
            )

    def fit(self, train: Panel, market: Market) -> DirectionalForecaster:
        """The ensemble that the training slice teaches, calibrated on its last bars."""
        T = len(train)
        stop = T - self.validation  # learning and early stopping end here
        cut = stop - self.holdout
        if cut < self.horizons + 3:
            raise SolveError(
                "directional nets need bars to learn from, to stop by and to validate on",
                found=f"{T} bars, {self.holdout} held out, {self.validation} for validation",
                where="the training slice",
                fix="train on more bars, or lower holdout or validation",
            )
        wanted = load_library(self.factors) if isinstance(self.factors, str) else self.factors
        factors, missing = wanted.supported_by(train)
        scaling = fit_scaling(factors, train[:stop], self.known)
        grid, able = scaling.grid(train)
        learnt = outcomes(train[:cut], market, self.horizons)
        sizes = move_sizes(learnt)
        earned = np.full((T, train.shape[1], self.horizons), np.nan, np.float32)
        earned[cut:stop] = outcomes(train[:stop], market, self.horizons)[cut:]
        earned[:cut] = learnt
        earned[stop:] = outcomes(train, market, self.horizons)[stop:]
        earned[~able] = np.nan
        nets = self._trained(grid, earned, sizes, (cut, stop))
        raw = DirectionalForecaster(scaling, self.length, nets, self.horizons, device=self.device)
        return self._decided(raw, grid, earned, sizes, notes=_notes(self, wanted, missing, nets))

    def _trained(
        self, grid: NDArray[np.float32], earned: NDArray[np.float32], sizes: NDArray[np.float64], cuts: tuple[int, int]
    ) -> tuple[FittedNet, ...]:
        cut, stop = cuts
        H = earned.shape[2]
        useful: NDArray[np.bool_] = np.asarray(np.isfinite(earned[:stop]).any(axis=2))
        useful[np.arange(stop) % self.every != 0] = False
        row, column = np.nonzero(useful)
        if not (row < cut).any():
            raise SolveError(
                "directional nets need rows with factors and outcomes", found="none", where="the training slice"
            )
        told = earned[row, column]
        side = sides(told, sizes[column], self.dead_zone)
        y = np.stack([side == 1, side == -1], axis=2).astype(np.float32)
        y[~np.isfinite(told)] = np.nan
        y = y.reshape(len(row), 2 * H)
        parts: dict[str, Any] = {"y": y, "date": row, "fit": row < cut, "held": row >= cut}
        points = Samples(x=np.ascontiguousarray(grid[row, column]), **parts)
        windows = Samples(x=grid, column=column, length=self.length, **parts)
        return tuple(
            fit_net(spec, points if isinstance(spec, Mlp) else windows, training) for spec, training in self._members()
        )

    def _decided(
        self,
        raw: DirectionalForecaster,
        grid: NDArray[np.float32],
        earned: NDArray[np.float32],
        sizes: NDArray[np.float64],
        *,
        notes: tuple[str, ...],
    ) -> DirectionalForecaster:
        """Calibrate and choose on the last bars of the slice."""
        start = len(grid) - self.validation
        seen = np.zeros(earned.shape[:2], np.bool_)
        seen[start:] = np.isfinite(earned[start:]).any(axis=2)
        row, column = np.nonzero(seen)
        said, came = raw.raw(grid, row, column), earned[row, column]
        calibration, choice = _PLAIN, _ANY
        if self.calibrate and len(row):
            side = sides(came, sizes[column], self.dead_zone)
            calibration = fit_calibration(said, side, np.isfinite(came))
        if self.centred and len(row):
            choice = Choice(base=tuple(map(float, choice.edge(calibration(said)).mean(axis=0))))
        if self.thresholds and len(row):
            middle = came[:, (self.horizons - 1) // 2].astype(np.float64)
            choice, t, tried = choose(calibration(said), middle, row, agreement=self.agreement, base=choice.base)
            notes = (
                *notes,
                f"validation: of {tried} thresholds tau {choice.tau:g} with {choice.agree} of {self.horizons} horizons "
                f"agreeing was chosen (t {t:.2f} over dates, in sample)",
            )
        return DirectionalForecaster(
            raw.scaling, raw.length, raw.nets, raw.horizons, calibration, choice, notes, raw.device
        )


@dataclass(frozen=True, eq=False)
class DirectionalForecaster:
    """A fitted ensemble with its calibration and its thresholds."""

    scaling: Scaling
    length: int
    nets: tuple[FittedNet, ...]
    horizons: int
    calibration: Calibration = _PLAIN
    choice: Choice = _ANY
    notes: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads."""
        return self.scaling.lookback + self.length - 1

    def predict(self, panel: Panel) -> Signal:
        """Sign times mean confidence, 0 to hold, for the members.

        Shape: (T, N).   Missing: NaN on the first `lookback` rows, and for who has too few known factors.
        """
        grid, able = self._cells(panel)
        out = np.full(panel.shape, np.nan)
        for row, column in _batches(able):
            out[row, column] = views(self.calibration(self.raw(grid, row, column)), self.choice)
        return Signal(panel.times, panel.assets, out, "score", (self.horizons + 1) // 2, "directional")

    def probabilities(self, panel: Panel) -> NDArray[np.float64]:
        """The chances of a move up and of a move down within 1, 2, ... bars.

        Shape: (T, N, H, 2).   Missing: as in `predict`.
        """
        grid, able = self._cells(panel)
        out = np.full((*panel.shape, self.horizons, 2), np.nan)
        for row, column in _batches(able):
            out[row, column] = self.calibration(self.raw(grid, row, column))
        return out

    def _cells(self, panel: Panel) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scaled factors, and the cells to speak about: a row without its look-back says nothing."""
        grid, able = self.scaling.grid(panel)
        able[: self.lookback] = False
        return grid, able

    def state(self) -> dict[str, Any]:
        """All parts as texts, numbers, lists and arrays, for `save_model`."""
        return stored(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DirectionalForecaster:
        """The forecaster that `state` described.   Raises: DataError where parts do not fit each other."""
        return cls(**restored(state))

    def raw(self, grid: NDArray[np.float32], row: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.float64]:
        """The nets' mean probabilities of some cells of scaled factors, not calibrated.   Shape: (R, H, 2)."""
        total = np.zeros((len(row), 2 * self.horizons))
        points = grid[row, column] if any(isinstance(net.spec, Mlp) for net in self.nets) else None
        for net in self.nets:
            if isinstance(net.spec, Mlp):
                assert points is not None
                said = net.predict(points, device=self.device)
            else:
                said = net.predict_windows(grid, row, column, length=self.length, device=self.device)
            total += 1.0 / (1.0 + np.exp(-said.astype(np.float64)))
        return (total / len(self.nets)).reshape(len(row), self.horizons, 2)


def _batches(able: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The cells to speak about, so many at a time."""
    row, column = np.nonzero(able)
    for start in range(0, len(row), _CELLS_AT_ONCE):
        yield row[start : start + _CELLS_AT_ONCE], column[start : start + _CELLS_AT_ONCE]


def _notes(
    recipe: DirectionalNets, wanted: FactorSet, missing: tuple[str, ...], nets: tuple[FittedNet, ...]
) -> tuple[str, ...]:
    notes = []
    if missing:
        notes.append(
            f"{len(missing)} of {len(wanted)} factors left out, the panel lacks their fields: {', '.join(missing)}"
        )
    epochs = ", ".join(f"{type(net.spec).__name__} {net.best + 1}" for net in nets)
    notes.append(f"epochs kept of at most {recipe.epochs}: {epochs}")
    return tuple(notes)
