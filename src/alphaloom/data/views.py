"""Small cuts and sentences that a panel from the store needs: dates, spans, notes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.corpus import Corpus
from alphaloom.data.adjust import METHODS
from alphaloom.errors import DataError
from alphaloom.panel import Panel

__all__ = ["cut_after", "last_moment", "moment", "no_bars", "notes_of"]


def notes_of(manifest: Mapping[str, Any], last: np.datetime64) -> list[str]:
    """Sentences about a store that every reader of its panel should know; `last` is the day of the view."""
    said = [f"Adjustment: {METHODS[manifest['adjustment']]}; as of {str(last)[:10]}."]
    said.extend(manifest["notes"])
    set_aside = {rule: count for rule, count in manifest["quarantine"].items() if count}
    if set_aside:
        listed = ", ".join(f"{rule} {count}" for rule, count in set_aside.items())
        said.append(f"Quarantine: {sum(set_aside.values())} rows were set aside and are absent ({listed}).")
    if closed := manifest["closed_days"]:
        said.append(
            f"Rows on {len(closed)} days on which {manifest['calendar']} was closed are left out of the panel, "
            f"the first of them {closed[0]}."
        )
    if manifest["revised"]:
        said.append(
            f"Revisions: {manifest['revised']} cells were changed by later imports; the panel holds the last values."
        )
    return said


def cut_after(panel: Panel, end: np.datetime64) -> Panel:
    """The panel up to `end`, without the assets that have no bar until then."""
    rows = int(np.searchsorted(panel.times, end, side="right"))
    if rows == 0:
        raise DataError(
            "the wanted span must hold bars",
            found=f"none up to {str(end)[:10]}",
            where="store.panel",
            fix=f"the first bar is of {str(panel.times[0])[:10]}",
        )
    part = panel[:rows]
    seen = np.isfinite(part["close"]).any(axis=0)
    keep = [name for name, has in zip(part.assets, seen, strict=True) if has]
    return part.replace() if len(keep) == len(part.assets) else _columns(part, np.flatnonzero(seen))


def _columns(panel: Panel, chosen: Any) -> Panel:
    place = np.full(len(panel.assets) + 1, -2, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    place[-1] = -1  # the whole market keeps its own number
    asset = place[panel.corpus.asset]
    keep = asset > -2
    corpus = Corpus(
        panel.corpus.available[keep], asset[keep].astype(np.int32), panel.corpus.text[keep], panel.corpus.kind[keep]
    )
    grids = {
        name: {key: value[:, chosen] for key, value in getattr(panel, name).items()} for name in ("fields", "labels")
    }
    masks = {name: getattr(panel, name)[:, chosen] for name in ("member", "listed", "buyable", "sellable")}
    return panel.replace(assets=tuple(panel.assets[j] for j in chosen), corpus=corpus, **grids, **masks)


def no_bars(manifest: Mapping[str, Any], path: Path) -> DataError:
    """The error for a span in which a store holds nothing."""
    return DataError(
        "the wanted span must hold bars",
        found="none in it",
        where=str(path),
        fix=f"the store spans {manifest['first']} to {manifest['last']}",
    )


def moment(when: str | np.datetime64) -> np.datetime64:
    """A date given as text or as a numpy date.   Raises: DataError if it is none."""
    try:
        stamp: np.datetime64 = np.array([when], dtype="datetime64[ns]")[0]
        return stamp
    except ValueError:
        raise DataError("a date is written as 2024-01-31", found=repr(when), where="store") from None


def last_moment(when: str | np.datetime64) -> np.datetime64:
    """The last moment of a day that was named as a day, so that an end in days takes in intraday bars."""
    stamp = moment(when)
    whole = stamp == stamp.astype("datetime64[D]")
    return stamp + np.timedelta64(86_400_000_000_000 - 1, "ns") if whole else stamp
