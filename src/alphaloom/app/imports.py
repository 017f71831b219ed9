"""Imports and stores as a person sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alphaloom.app.config import nearest
from alphaloom.errors import DataError

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from alphaloom.data import ValidationReport

__all__ = ["Sources", "import_files", "store_table", "validation_table"]

_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


@dataclass(frozen=True)
class Sources:
    """The files that a user names on the command line beside the prices."""

    sectors: Path | None = None
    membership: Path | None = None
    fundamentals: Path | None = None
    documents: Path | None = None
    actions: Path | None = None
    benchmark: str | None = None
    labels: tuple[str, ...] = ()
    adjustment: str = "auto"
    limits: str = "none"


def import_files(
    prices: Sequence[Path],
    store: Path,
    *,
    columns: Mapping[str, str],
    series: Mapping[str, str],
    sources: Sources,
    calendar: str | None,
    revise: bool,
    progress: Callable[[str, int, int], None],
) -> ValidationReport:
    """Bring files into a store and return what was noticed.   Raises: DataError; the store is then as it was."""
    from alphaloom.data import MarketFiles, import_market

    for path in prices:
        _must_exist(path)
    for name in ("sectors", "membership", "fundamentals", "documents", "actions"):
        path = getattr(sources, name)
        if path is not None:
            _must_exist(path)
    extras = MarketFiles(
        membership=sources.membership,
        sectors=sources.sectors,
        label_columns=sources.labels,
        series=dict(series),
        benchmark=sources.benchmark,
        fundamentals=sources.fundamentals,
        documents=sources.documents,
        actions=sources.actions,
        adjustment=sources.adjustment,
        limits=sources.limits,
        revise=revise,
    )
    return import_market(
        [str(path) for path in prices],
        store,
        columns=dict(columns),
        extras=extras,
        calendar=calendar,
        progress=lambda stage, share: progress("import", round(100 * share), 100),
    )


def validation_table(report: ValidationReport) -> Group:
    """What an import read, kept, set aside and noticed, errors first."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text(f"{report.rows_read:,} rows of {report.assets:,} assets, {report.first} to {report.last}", style="bold")
    counts = Text(
        f"{report.rows_new:,} new, {report.rows_unchanged:,} unchanged, {report.rows_revised:,} revised, "
        f"{report.rows_quarantined:,} in quarantine; adjustment: {report.adjustment}"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("severity")
    table.add_column("rule", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("what was noticed", overflow="fold", ratio=3)
    table.add_column("for example", overflow="fold", ratio=2)
    for severity, rule, count, sentence, example in report.rows():
        table.add_row(
            Text(severity, style=_STYLES.get(severity, "")), rule, f"{count:,}", Text(sentence), Text(example)
        )
    notes = [Text(f"note: {note}") for note in report.notes]
    return Group(head, counts, table if report.findings else Text("nothing to remark"), *notes)


def store_table(path: Path) -> Table:
    """What a store holds."""
    from rich.table import Table
    from rich.text import Text

    from alphaloom.data import Store

    if not path.is_dir():
        raise DataError(
            "a store is a directory that `alphaloom data import` made",
            found="a file" if path.exists() else "no such directory",
            where=str(path),
            fix="alphaloom data import PRICES --store DIR",
        )
    store = Store(path)
    if not store.manifest:
        raise DataError(
            "a store must hold an import",
            found="no manifest",
            where=str(path),
            fix=f"alphaloom data import PRICES --store {path}",
        )
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in store.manifest.items():
        if isinstance(value, (str, int, float)):
            table.add_row(key, Text(str(value)))
        elif isinstance(value, Mapping):
            table.add_row(
                key, Text(", ".join(f"{k}: {v}" if not isinstance(v, Mapping) else str(k) for k, v in value.items()))
            )
        elif value and all(isinstance(part, str) for part in value):
            table.add_row(key, Text("\n".join(value)))
    return table


def _must_exist(path: Path) -> None:
    if path.exists() or any(mark in str(path) for mark in "*?["):
        return
    near = nearest(path.name, [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else [])
    raise DataError("a file to import exists", found=str(path), fix=near or "check the path")
