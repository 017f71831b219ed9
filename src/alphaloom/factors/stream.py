"""Factors bar by bar: what the last look-back rows say, kept between bars and over restarts."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from alphaloom.errors import AxisError, DataError, FormulaError
from alphaloom.factors.evaluate import evaluate
from alphaloom.factors.library import Factor, FactorSet
from alphaloom.factors.options import Options
from alphaloom.factors.parse import parse
from alphaloom.panel import Panel

__all__ = ["Stream", "load", "start"]

Grid = NDArray[Any]
_FORMAT = 1


class Stream:
    """A factor set that is fed one bar at a time; made by `start` or `load`.

    It keeps the rows that the set's look-back reaches and nothing older, so a bar costs the same after a day and after
    ten years.
    """

    def __init__(
        self, factors: FactorSet, assets: tuple[str, ...], last: np.datetime64, *, rows: Mapping[str, Grid], dtype: Any
    ) -> None:
        self.factors, self.assets, self.last, self.dtype = factors, assets, last, np.dtype(dtype)
        # Keys are "field:close", "series:rate", "label:sector" and "member:"; all hold the same newest rows.
        self._rows = dict(rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The factors' names, in the order of the columns that `update` gives."""
        return self.factors.names

    def update(self, row: Panel) -> Grid:
        """The factors of the next bar, the same bits as that row of `evaluate` on the whole history.

        Shape: (N, F).   Time: `row` is one bar later than all before.
        Raises: AxisError for other assets or more than one bar; DataError for a bar that is not later or lacks a name.
        The state changes only where no error is raised.
        """
        _check_next(row, self.assets, self.last)
        taken = _taken(self.factors, row)
        joined = {
            key: np.concatenate([kept, taken[key].astype(kept.dtype, copy=False)]) for key, kept in self._rows.items()
        }
        values = evaluate(self.factors, _window(joined, self.assets), dtype=self.dtype).values[-1].copy()
        self._rows = {key: grid[max(0, len(grid) - self.factors.lookback) :] for key, grid in joined.items()}
        self.last = row.times[-1]
        return np.asarray(values)

    def save(self, path: str | Path) -> Path:
        """Write the state to one file, at once or not at all; `load` goes on from it to the bit."""
        document = {
            "format": _FORMAT,
            "name": self.factors.name,
            "options": self.factors.options.stated,
            "assets": self.assets,
            "last": int(self.last.astype("datetime64[ns]").astype(np.int64)),
            "dtype": self.dtype.str,
            "factors": [[f.name, str(f.expr), f.family, f.source, f.sign] for f in self.factors.factors],
            "rows": list(self._rows),
        }
        place = Path(path)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        text = np.frombuffer(json.dumps(document, ensure_ascii=False).encode(), np.uint8)
        arrays = {f"rows{k}": grid for k, grid in enumerate(self._rows.values())}
        try:
            with beside.open("wb") as file:
                np.savez(file, allow_pickle=False, document=text, **arrays)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(place)
        except OSError as error:
            raise DataError("a state is written to a folder that exists", found=str(error), where=str(place)) from None
        finally:
            beside.unlink(missing_ok=True)
        return place


def start(factors: FactorSet, history: Panel, *, dtype: DTypeLike = np.float32) -> Stream:
    """A state that knows the end of a history and waits for the bar after it.

    Time: the last `factors.lookback` rows are read; with fewer, the first bars are as unknown as in a batch run.
    Raises: FormulaError for a name that the panel lacks, AxisError for a history without rows.
    """
    if not len(history):
        raise AxisError("a stream starts after at least one bar", found="0 rows", where="stream.start(history)")
    # The engine's own checks of names and dtype, before the first bar comes.
    evaluate(factors, history[-1:], dtype=dtype)
    tail = history[max(0, len(history) - factors.lookback) :] if factors.lookback else history[:0]
    rows = {key: np.array(grid) for key, grid in _taken(factors, tail).items()}
    return Stream(factors, history.assets, history.times[-1], rows=rows, dtype=dtype)


def load(path: str | Path) -> Stream:
    """The state that `save` wrote.   Raises: DataError where the file is absent, damaged or of another format."""
    place = Path(path)
    try:
        with np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as archive:
            document = json.loads(archive["document"].tobytes())
            rows = {key: archive[f"rows{k}"] for k, key in enumerate(document["rows"])}
        if document["format"] != _FORMAT:
            raise DataError("a saved state has a known format", found=document["format"], where=str(place))
        factors = FactorSet(
            document["name"],
            tuple(Factor(name, parse(text), *rest) for name, text, *rest in document["factors"]),
            Options.read(document["options"]),
        )
        last = np.datetime64(document["last"], "ns")
        return Stream(factors, tuple(document["assets"]), last, rows=rows, dtype=document["dtype"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, FormulaError) as error:
        raise DataError(
            "a saved state is a whole file that `save` wrote",
            found=str(error) or type(error).__name__,
            where=str(place),
            fix="start a new state from the history",
        ) from None


def _taken(factors: FactorSet, panel: Panel) -> dict[str, Grid]:
    """The arrays of a panel that the formulas read.   Raises: DataError naming what is missing."""
    found: dict[str, Grid] = {}
    for name in factors.fields:
        if name in panel.fields:
            found[f"field:{name}"] = panel.fields[name]
        elif name in panel.series:
            found[f"series:{name}"] = panel.series[name]
        else:
            raise _missing("field", name, (*panel.fields, *panel.series))
    for name in factors.groups:
        if name not in panel.labels:
            raise _missing("label", name, tuple(panel.labels))
        found[f"label:{name}"] = panel.labels[name]
    found["member:"] = panel.member
    return found


def _missing(what: str, name: str, held: tuple[str, ...]) -> DataError:
    return DataError(
        f"a bar brings every {what} that the formulas read",
        found=f"no {name}",
        where="Stream.update(row)",
        fix=f"the bar has: {', '.join(sorted(held)) or 'none'}",
    )


def _check_next(row: Panel, assets: tuple[str, ...], last: np.datetime64) -> None:
    if len(row) != 1:
        raise AxisError("a stream is fed one bar at a time", found=f"{len(row)} rows", where="Stream.update(row)")
    if row.assets != assets:
        other = sorted({*row.assets} ^ {*assets})
        found = f"{', '.join(other[:10])} on one side only" if other else "another order"
        raise AxisError("a bar has the assets of the history, in its order", found=found, where="Stream.update(row)")
    if row.times[0] <= last:
        raise DataError(
            "a bar must be later than all before it",
            found=f"{row.times[0]} after {last}",
            where="Stream.update(row)",
            fix="to repeat a bar, load the state that was saved before it",
        )


def _window(rows: Mapping[str, Grid], assets: tuple[str, ...]) -> Panel:
    """The kept rows and the new one as a panel; formulas read no clock, so its times only count."""
    parts: dict[str, dict[str, Grid]] = {"field": {}, "series": {}, "label": {}}
    for key, grid in rows.items():
        kind, _, name = key.partition(":")
        if kind != "member":
            parts[kind][name] = grid
    member = rows["member:"]
    return Panel(
        times=np.arange(len(member)).astype("datetime64[ns]"),
        assets=assets,
        fields=parts["field"],
        series=parts["series"],
        labels=parts["label"],
        member=member,
        listed=member,
        buyable=member,
        sellable=member,
        periods_per_year=1.0,
        source="stream",
    )
