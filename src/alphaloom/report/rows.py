"""The one list of key figures from which the page, the terminal table and the JSON are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from alphaloom.report.formats import interval_text, number_of, number_text
from alphaloom.report.reading import rival, rival_of

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = ["Row", "benchmark_rows", "key_rows", "summary_rows"]


@dataclass(frozen=True)
class Row:
    """One key figure: what it is, its value, its interval, how it is written.

    Missing: a value that could not be computed is None and reads `n/a`.
    """

    key: str
    label: str
    group: str
    form: str
    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        return number_text(self.value, self.form)

    @property
    def interval(self) -> str:
        return interval_text(self.low, self.high, self.form)


RELATIVE: Final = "Against the benchmark"

# key, label, form; the order is the order of every table.
CATALOGUE: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "Return after costs": (
        ("cagr", "Return a year", "percent"),
        ("volatility", "Volatility a year", "percent"),
        ("sharpe", "Sharpe ratio", "ratio"),
        ("sortino", "Sortino ratio", "ratio"),
        ("calmar", "Calmar ratio", "ratio"),
        ("hit_rate", "Bars with a gain", "percent"),
    ),
    "Risk": (
        ("max_drawdown", "Deepest drawdown", "percent"),
        ("var_95", "Value at risk, 95 %, one bar", "percent"),
        ("cvar_95", "Mean loss beyond it", "percent"),
        ("tail_ratio", "Tail ratio", "ratio"),
        ("skew", "Skew", "ratio"),
        ("kurtosis", "Kurtosis (normal: 3)", "ratio"),
    ),
    "Trading": (
        ("turnover", "Turnover a bar, one way", "percent"),
        ("cost_drag", "Lost to costs a year", "percent"),
        ("gross_sharpe", "Sharpe ratio before costs", "ratio"),
    ),
    RELATIVE: (
        ("information_ratio", "Information ratio", "ratio"),
        ("beta", "Beta", "ratio"),
        ("alpha", "Alpha a year", "percent"),
        ("correlation", "Correlation", "ratio"),
    ),
    "Signal": (
        ("ic_mean", "Mean IC", "correlation"),
        ("ic_ir", "IC information ratio", "ratio"),
        ("ic_t", "IC t-statistic", "ratio"),
        ("rank_ic_mean", "Mean rank IC", "correlation"),
        ("rank_ic_ir", "Rank IC information ratio", "ratio"),
        ("rank_ic_t", "Rank IC t-statistic", "ratio"),
        ("monotonicity", "Monotonicity of quintiles", "ratio"),
    ),
    "Direction": (
        ("coverage", "Assets with a side, a bar", "percent"),
        ("coverage_long", "Assets said to rise", "percent"),
        ("coverage_short", "Assets said to fall", "percent"),
        ("hit_rate_long", "Hit rate of longs", "percent"),
        ("hit_t_long", "Its t over bars, beyond the bar's own rises", "ratio"),
        ("hit_rate_short", "Hit rate of shorts", "percent"),
        ("hit_t_short", "Its t over bars, beyond the bar's own falls", "ratio"),
    ),
    "Evidence": (
        ("psr", "Probabilistic Sharpe ratio", "probability"),
        ("dsr", "Deflated Sharpe ratio", "probability"),
        ("trials", "Trials counted", "count"),
        ("min_track_record", "Track record needed, bars", "count"),
        ("shuffled_rank_ic_mean", "Mean rank IC of shuffled scores", "correlation"),
        ("shuffled_rank_ic_t", "Its t-statistic", "ratio"),
        ("shuffled_sharpe", "Sharpe ratio of shuffled scores", "ratio"),
    ),
}

CARDS: Final = (
    "cagr",
    "sharpe",
    "max_drawdown",
    "dsr",
    "rank_ic_mean",
    "turnover",
    "cost_drag",
    "volatility",
    "information_ratio",
    "beta",
    "sortino",
    "hit_rate",
)


def summary_rows(result: StudyResult) -> list[Row]:
    """Every key figure of a study in the order of the report; figures that the catalogue does not know come last."""
    rival_name = rival_of(result)
    if rival_name is None:
        return _rows(result.summary)
    against = f"Against {rival(rival_name)}"
    return [replace(row, group=against) if row.group == RELATIVE else row for row in _rows(result.summary)]


def key_rows(result: StudyResult) -> list[Row]:
    """The eight rows that the page shows as cards: the first of the order that have a value."""
    rows = {row.key: row for row in summary_rows(result) if row.value is not None}
    return [rows[key] for key in CARDS if key in rows][:8]


def benchmark_rows(result: StudyResult) -> dict[str, list[Row]]:
    """The key figures of each benchmark, by its name."""
    return {name: _rows(figures) for name, figures in result.benchmarks.items()}


def _rows(figures: Mapping[str, object]) -> list[Row]:
    known = [(key, label, group, form) for group, items in CATALOGUE.items() for key, label, form in items]
    names = {key for key, *_ in known}
    counts_last = sorted((key for key in figures if key not in names), key=lambda key: key.startswith("count."))
    extra = [_unlisted(key) for key in counts_last]
    rows = [_row(entry, figures[entry[0]]) for entry in known + extra if entry[0] in figures]
    # A group without one value (the signal of a study without scores) was not asked for and is not a finding.
    measured = {row.group for row in rows if row.value is not None}
    return [row for row in rows if row.group in measured]


def _unlisted(key: str) -> tuple[str, str, str, str]:
    """A figure that the catalogue does not know; what a policy counted while it decided is a whole number."""
    counted = key.removeprefix("count.")
    label = counted.replace("_", " ")
    return (key, label, "Other", "ratio") if counted == key else (key, label, "Counted by the policy", "count")


def _row(entry: tuple[str, str, str, str], found: object) -> Row:
    key, label, group, form = entry
    if isinstance(found, Mapping):
        low, high = number_of(found.get("low")), number_of(found.get("high"))
        return Row(key, label, group, form, number_of(found.get("value")), low, high)
    return Row(key, label, group, form, number_of(found))
