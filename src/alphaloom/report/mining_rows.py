"""Every number of a search for formulas as text: one list for the page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from alphaloom.report.formats import interval_text, number_of, number_text

if TYPE_CHECKING:
    from alphaloom.study.mining import MiningResult

__all__ = ["COLUMNS", "cards", "claim", "count_rows", "measure_rows", "mining_facts", "mining_verdict", "pool_rows"]


@dataclass(frozen=True)
class Column:
    """One column of the pool: its key, its heading, how it is written, what it means."""

    key: str
    label: str
    form: str
    about: str


COLUMNS: Final = (
    Column("weight", "Weight", "probability", "weight of the standardised formula in the pool's score"),
    Column("ic", "IC train", "correlation", "mean daily coefficient on training rows"),
    Column("icir", "ICIR train", "ratio", "mean over deviation of the daily coefficient, training"),
    Column("valid_ic", "IC valid", "correlation", "mean daily coefficient on validation rows"),
    Column("valid_icir", "ICIR valid", "ratio", "mean over deviation of the daily coefficient, validation"),
    Column("coverage", "Coverage", "percent", "known share of the cells that have a label, training"),
    Column("turnover", "Turnover", "percent", "share of the formula's own book that is exchanged a bar, training"),
    Column("unit", "Unit", "", "unit of the value; 1 has none"),
    Column("lookback", "Look-back", "count", "rows before today that the formula reads"),
)
_MEASURES: Final = (("ic", "IC"), ("rank_ic", "Rank IC"), ("icir", "ICIR"), ("rank_icir", "Rank ICIR"))
_BOOK: Final = (
    ("cagr", "Return a year", "percent"),
    ("volatility", "Volatility a year", "percent"),
    ("sharpe", "Sharpe ratio", "ratio"),
    ("gross_sharpe", "Sharpe ratio before costs", "ratio"),
    ("active_sharpe", "Sharpe ratio of the return above equal weights", "ratio"),
    ("max_drawdown", "Deepest fall", "percent"),
    ("turnover", "Turnover a bar", "percent"),
    ("costs", "Costs, share of the first capital", "percent"),
)


def pool_rows(result: MiningResult) -> list[tuple[int, Mapping[str, Any]]]:
    """The formulas with their numbers from 1, the heaviest first."""
    found = list(enumerate(result.alphas, 1))
    return sorted(found, key=lambda one: -abs(number_of(one[1]["weight"]) or 0.0))


def measured(value: object, form: str) -> str:
    """A number, or one with its interval."""
    if isinstance(value, Mapping):
        told = interval_text(value.get("low"), value.get("high"), form)
        return f"{number_text(value.get('value'), form)} {told}".strip()
    return number_text(value, form)


def measure_rows(result: MiningResult) -> list[tuple[str, str, str]]:
    """Label, validation, test: coefficients with intervals and the book after costs."""
    test = result.holdout or {}
    rows = []
    for key, label in _MEASURES:
        form = "ratio" if key.endswith("ir") else "correlation"
        rows.append(
            (label, measured(result.valid.get(key), form), measured(test.get(key), form) if test else "not read")
        )
    for key, label in (("ic_t", "t of the mean IC"), ("rank_ic_t", "t of the mean rank IC")):
        own, other = number_text(result.valid.get(key), "ratio"), number_text(test.get(key), "ratio")
        rows.append((label, own, other if test else "not read"))
    books = [part.get("book", {}) for part in (result.valid, test)]
    for key, label, form in _BOOK:
        rows.append(
            (label, number_text(books[0].get(key), form), number_text(books[1].get(key), form) if test else "not read")
        )
    rivals = [book.get("benchmark", {}) for book in books]
    for key, label, form in _BOOK[:3]:
        own = number_text(rivals[0].get(key), form)
        other = number_text(rivals[1].get(key), form) if test else "not read"
        rows.append((f"{label}, equal weights", own, other))
    return rows


def count_rows(result: MiningResult) -> list[tuple[str, str, str]]:
    """What the search did: label, count, meaning."""
    counts = result.counts
    rows = [
        ("Asked", counts.get("asked", 0), "formulas that the miner wrote"),
        ("Evaluated", counts.get("evaluated", 0), "cold: forms that were new, which is what the budget counts"),
        ("Cached", counts.get("cached", 0), "forms that were known, free"),
        ("Duplicate", counts.get("duplicate", 0), "evaluated, and equal in value to an earlier formula"),
        ("Distinct", result.facts["distinct"], "valid formulas with values of their own"),
        ("Accepted", counts.get("accepted", 0), "taken into the pool at some time"),
        ("Refused", counts.get("refused", 0), "offered to the pool in vain"),
    ]
    reasons = {
        "constant": "equal values on too many dates",
        "lookback": "reads further back than the grammar allows",
        "sparse": "too few values on too many dates",
        "thin": "too few cells known",
    }
    for name, count in sorted(counts.items()):
        if name.startswith("invalid."):
            reason = name.partition(".")[2]
            rows.append((f"Invalid: {reason}", count, reasons.get(reason, "not usable")))
    return [(label, f"{count:,}", about) for label, count, about in rows]


def claim(result: MiningResult) -> str:
    """What may be claimed, from the test, the placebos and the number of looks."""
    test = result.holdout
    if test is None:
        return "The test has not been read, so nothing is claimed; `alphaloom mine holdout` reads it."
    placebo, reads = test["placebo"], int(test["reads"])
    told = f"On the test its IC is {measured(test['ic'], 'correlation')}"
    looks = "" if reads == 1 else f" The test was read {reads} times, and only the first look was fresh."
    if not placebo["runs"]:
        return f"{told}. No placebo was run, so nothing is claimed.{looks}"
    train, unseen = placebo["train"], placebo["test"]
    both = (
        f"{number_text(train['high'], 'correlation')} in training and {number_text(unseen['high'], 'correlation')} here"
    )
    low = number_of(test["ic"]["low"])
    stands = bool(train["beyond"]) and bool(unseen["beyond"]) and low is not None and low > 0
    verdict = "which it exceeds" if stands else "so nothing is claimed"
    if not stands and train["beyond"] and unseen["beyond"]:
        verdict = "which it exceeds, but its interval holds zero, so nothing is claimed"
    return f"{told}; the placebos' 95th percentile is {both}, {verdict}.{looks}"


def mining_verdict(result: MiningResult) -> str:
    """What was found, in plain sentences."""
    facts, kept = result.facts, len(result.alphas)
    spent = f"{facts['miner']} evaluated {facts['evaluations']:,} formulas, {facts['distinct']:,} of them distinct"
    chosen = (
        f"validation kept {kept} formula{'s' if kept != 1 else ''} of the {facts['chosen']['base']}: "
        f"IC {number_text(facts['chosen']['train_ic'], 'correlation')} in training and "
        f"{measured(result.valid['ic'], 'correlation')} in validation"
    )
    return f"{spent}; {chosen}. {claim(result)}"


def mining_facts(result: MiningResult) -> list[tuple[str, str]]:
    """What the head of the page states."""
    facts = result.facts
    spans = [(name.capitalize(), f"{facts[name][0]} to {facts[name][1]}") for name in ("train", "valid")]
    if result.holdout:
        spans.append(("Test", f"{result.holdout['span'][0]} to {result.holdout['span'][1]}"))
    return [
        ("Miner", str(facts["miner"])),
        *spans,
        ("Purge", f"{facts['purge']} bars before each boundary"),
        ("Horizon", f"{facts['horizon']} bar{'s' if facts['horizon'] != 1 else ''}"),
        ("Universe", f"{facts['assets']:,} assets"),
        ("Fill", str(facts["fill"]).replace("_", " ")),
        ("Seed", str(facts["seed"])),
        ("Data", str(facts["data"]).rsplit(":", 1)[-1][:12]),
    ]


def cards(result: MiningResult) -> list[tuple[str, str, str]]:
    """The numbers at the top: label, value, remark."""
    facts, valid, test = result.facts, result.valid, result.holdout
    seconds = number_of(result.timings.get("seconds"))
    rate = f"{facts['evaluations'] / seconds:,.0f} a second" if seconds else "seconds not kept"
    found = [
        ("Evaluations", f"{facts['evaluations']:,}", rate),
        ("Pool, training IC", number_text(facts["pool_ic"], "correlation"), f"{facts['pool_size']} formulas"),
        ("Chosen, validation IC", number_text(valid["ic"]["value"], "correlation"), _range(valid["ic"])),
        ("Validation rank IC", number_text(valid["rank_ic"]["value"], "correlation"), _range(valid["rank_ic"])),
        (
            "Validation Sharpe, net",
            number_text(valid["book"]["sharpe"], "ratio"),
            f"equal weights {number_text(valid['book']['benchmark']['sharpe'], 'ratio')}",
        ),
        ("Likeness in the pool", number_text(facts["similarity"], "ratio"), "mean size of mutual coefficients"),
    ]
    if test is None:
        return found
    trials = test["trials"]
    return [
        *found,
        ("Test IC", number_text(test["ic"]["value"], "correlation"), _range(test["ic"])),
        ("Test rank IC", number_text(test["rank_ic"]["value"], "correlation"), _range(test["rank_ic"])),
        (
            "Test Sharpe, net",
            number_text(test["book"]["sharpe"], "ratio"),
            f"equal weights {number_text(test['book']['benchmark']['sharpe'], 'ratio')}",
        ),
        (
            "Deflated Sharpe",
            number_text(trials["deflated_sharpe"], "probability"),
            f"{trials['count']:,} trials, neutral book; {number_text(trials['deflated_by_spread'], 'probability')} by "
            "their own spread",
        ),
        ("Overfitting (PBO)", number_text(trials["pbo"], "percent"), f"{trials['archive']} formulas, before the test"),
        ("Looks at the test", f"{test['reads']:,}", "the first one alone is fresh"),
    ]


def _range(measure: Mapping[str, Any]) -> str:
    return interval_text(measure.get("low"), measure.get("high"), "correlation")
