"""What an import noticed about the data: findings, each with a rule, a severity, a count and examples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

__all__ = ["Finding", "ValidationReport", "finding_of"]

SEVERITIES = ("error", "warning", "info")
_EXAMPLES = 12


@dataclass(frozen=True)
class Finding:
    """One rule and the rows that it caught.

    `severity` is "error" (the rows are in quarantine), "warning" (kept, look at them) or "info" (a fact worth knowing).
    `by_asset` counts the ten assets with most rows; every single row stands in the store's flags or quarantine.
    """

    rule: str
    severity: str
    count: int
    sentence: str
    examples: tuple[Mapping[str, Any], ...] = ()
    by_asset: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ValidationReport:
    """What an import read, kept, set aside and noticed.

    `rows_read` = `rows_new` + `rows_unchanged` + `rows_revised` + `rows_quarantined`: nothing is dropped in silence.
    """

    sources: tuple[Mapping[str, Any], ...]
    rows_read: int
    rows_new: int
    rows_unchanged: int
    rows_revised: int
    rows_quarantined: int
    assets: int
    first: str
    last: str
    adjustment: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str, int, str, str]]:
        """Lines for a table: severity, rule, count, sentence and one example; errors first."""
        order = {severity: rank for rank, severity in enumerate(SEVERITIES)}
        ranked = sorted(self.findings, key=lambda f: (order[f.severity], -f.count, f.rule))
        return [(f.severity, f.rule, f.count, f.sentence, _example_text(f)) for f in ranked]

    def finding(self, rule: str) -> Finding | None:
        """The finding of one rule, or None where the rule caught nothing."""
        return next((finding for finding in self.findings if finding.rule == rule), None)

    def to_json(self) -> str:
        """The whole report as JSON text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False, default=str)

    @classmethod
    def from_json(cls, text: str) -> ValidationReport:
        """The report that `to_json` wrote."""
        parts = json.loads(text)
        parts["findings"] = tuple(
            Finding(**{**item, "examples": tuple(item["examples"])}) for item in parts["findings"]
        )
        return cls(**{**parts, "sources": tuple(parts["sources"]), "notes": tuple(parts["notes"])})


def _example_text(finding: Finding) -> str:
    if not finding.examples:
        return ""
    first = finding.examples[0]
    values = ", ".join(f"{key} {value}" for key, value in first.items() if key not in ("asset", "time"))
    place = " ".join(str(first[key]) for key in ("asset", "time") if first.get(key) is not None)
    return f"{place}: {values}" if place and values else place or values


def finding_of(
    rule: str, severity: str, sentence: str, rows: pl.DataFrame, columns: Sequence[str] = ()
) -> Finding | None:
    """A finding from the rows that a rule caught, in the order in which examples are to be shown."""
    if rows.height == 0:
        return None
    by_asset: dict[str, int] = {}
    if "asset" in rows.columns:
        counts = rows.group_by("asset").len().sort(["len", "asset"], descending=[True, False]).head(10)
        by_asset = {str(name): int(count) for name, count in counts.iter_rows()}
    shown = [name for name in ("asset", "time", *columns) if name in rows.columns]
    examples = tuple(
        {key: _plain(value) for key, value in row.items()}
        for row in rows.select(list(dict.fromkeys(shown))).head(_EXAMPLES).iter_rows(named=True)
    )
    return Finding(rule, severity, rows.height, sentence, examples, by_asset)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        return text.removesuffix("T00:00:00")
    return value
