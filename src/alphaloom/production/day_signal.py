"""The signal of a production day: today's row from exactly the rows it needs, and every row before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.panel import Panel
from alphaloom.production.day_models import Model
from alphaloom.roles import Forecaster
from alphaloom.signal import Signal
from alphaloom.study.serving import columns_of, signal_rows, stored_signal

__all__ = ["SIGNAL", "SignalHistory", "spoken"]

SIGNAL = "signal.parquet"


def spoken(model: Model, panel: Panel, *, start: int, stop: int) -> Signal:
    """What a model says on rows start..stop-1, given these rows and its look-back and nothing else.

    Time: a row's numbers do not depend on how many rows are asked for, so a day gives the study's own row to the bit.
    """
    assert isinstance(model.made, Forecaster)
    begin = max(0, start - model.made.lookback)
    return model.made.predict(panel[begin:stop])[start - begin :]


@dataclass(eq=False)
class SignalHistory:
    """The rows of the signal since the first test bar: those of the study, those of earlier days, and today's.

    Allocators count bars on the signal's own rows, so none may be missing. `first` is the row of the first test bar,
    `last` the study's last bar. What was looked up once is kept for the next day of the same process.
    """

    run: Path
    first: int
    last: np.datetime64
    _assets: tuple[str, ...] = ()
    _rows: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    _filled: int = 0
    _study: Signal | None = None

    def whole(
        self, panel: Panel, row: int, *, model: Callable[[int], Model], folder: Callable[[np.datetime64], Path]
    ) -> Signal:
        """The signal of all bars from the first test bar to `row`.

        `model` gives the model in charge of a row, `folder` the folder in which the row of a bar would be stored.
        Raises: DataError when the study stored another row for today, naming the first asset that differs.
        """
        absent = self._gather(panel, row, folder=folder)
        # Rows of one model that follow each other are made in one go.
        breaks = [
            k
            for k in range(1, len(absent))
            if absent[k] != absent[k - 1] + 1 or model(absent[k]) is not model(absent[k - 1])
        ]
        for block in np.split(np.array(absent, dtype=np.intp), breaks) if absent else ():
            start, stop = int(block[0]), int(block[-1]) + 1
            self._rows[start - self.first : stop - self.first] = spoken(
                model(start), panel, start=start, stop=stop
            ).values
        today = spoken(model(row), panel, start=row, stop=row + 1)
        return self._with_today(panel, row, today)

    def _gather(self, panel: Panel, row: int, *, folder: Callable[[np.datetime64], Path]) -> list[int]:
        """Take in what is stored of the rows before `row`; the rows that must be made anew, ascending."""
        count, times = row - self.first, panel.times[self.first : row]
        if self._assets != panel.assets or count < self._filled:
            self._assets, self._filled, self._rows = panel.assets, 0, np.full((0, len(panel.assets)), np.nan)
            self._study = self._studied(panel)
        if count + 1 > len(self._rows):
            grown = np.full((2 * count + 256, len(self._assets)), np.nan)
            grown[: self._filled] = self._rows[: self._filled]
            self._rows = grown
        absent = []
        for k in range(self._filled, count):
            if times[k] <= self.last:
                self._rows[k] = np.nan if self._study is None else self._study.row_at(times[k])
            elif not self._take(k, times[k], folder(times[k]) / SIGNAL):
                absent.append(self.first + k)
        return absent

    def _studied(self, panel: Panel) -> Signal | None:
        span = panel.times[self.first : int(np.searchsorted(panel.times, self.last, side="right"))]
        return stored_signal(self.run, span, assets=panel.assets)

    def _take(self, k: int, time: np.datetime64, path: Path) -> bool:
        """Read the row that an earlier day stored."""
        if not path.is_file():
            return False
        columns = columns_of(path.read_bytes())[0]
        keep = np.isin(columns["asset"].astype(str), np.array(self._assets))
        kept = {name: values[keep] for name, values in columns.items()}
        self._rows[k] = signal_rows(kept, np.array([time]), assets=self._assets)[0]
        return True

    def _with_today(self, panel: Panel, row: int, today: Signal) -> Signal:
        """The whole signal, today's row last; from now on its rows are at hand."""
        if self._study is not None and panel.times[row] <= self.last:
            self._check(self._study.row_at(panel.times[row]), today.values[-1], today.times[-1])
        count = row - self.first
        self._rows[count] = today.values[-1]
        self._filled = count + 1
        values = self._rows[: count + 1]
        return Signal(panel.times[self.first : row + 1], panel.assets, values, today.kind, today.horizon, today.name)

    def _check(self, old: NDArray[np.float64], new: NDArray[np.float64], time: np.datetime64) -> None:
        apart = np.flatnonzero(~((old == new) | (np.isnan(old) & np.isnan(new))))
        if len(apart):
            at = int(apart[0])
            raise DataError(
                "the model of a fold gives the study's own signal again",
                found=f"{len(apart)} assets differ: {self._assets[at]} has {float(new[at])!r}, not {float(old[at])!r}",
                where=f"{self.run}, {str(time)[:10]}",
                fix="the program or its libraries changed since the study was run: run the study again",
            )
