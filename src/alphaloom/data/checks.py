"""Row rules: which bars cannot be true, and are set aside with the rule that they break."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from alphaloom.data.findings import Finding, finding_of

__all__ = ["sift"]

_PRICES = ("open", "high", "low", "close")
# A quote that was rounded or converted may stick out of the day's range by a hair; beyond this share it is a mistake.
_HAIR = 1e-5
# No market has such numbers, and a panel of 32-bit floats could not hold them.
_ENDLESS = 1e30

_SENTENCES = {
    "missing_key": "rows without a date or without an asset",
    "missing_close": "rows with some prices but no close",
    "not_finite": "rows with a price or volume that is infinite or beyond 1e30",
    "non_positive_price": "rows with a price of zero or below",
    "negative_volume": "rows with a volume below zero",
    "high_below_low": "rows whose high is below their low",
    "outside_range": "rows whose open or close lies outside low..high",
    "conflicting_duplicate": "rows that share asset and time with another row but not its values; no copy is trusted",
    "duplicate": "rows that repeat another row; one copy is kept",
}


def sift(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, list[Finding]]:
    """Separates the rows that obey every error rule from those that break one.

    Returns the good rows sorted by asset and time, the others with the column `rule`, and the findings. Each row is
    counted under the first rule that it breaks.
    """
    findings: list[Finding | None] = []
    ruled = frame.with_columns(_rule_of_row(frame).alias("rule"))
    broken = ruled.filter(pl.col("rule").is_not_null())
    good = ruled.filter(pl.col("rule").is_null()).drop("rule") if broken.height else frame
    backward, good = _sorted(good)
    findings.append(
        finding_of("unsorted", "info", "rows that stand after a later row of their asset; they were sorted", backward)
    )
    good, twins = _split_duplicates(good)
    quarantine = pl.concat([broken, twins], how="diagonal") if twins.height else broken
    for rule, sentence in _SENTENCES.items():
        rows = quarantine.filter(pl.col("rule") == rule) if quarantine.height else quarantine
        severity = "warning" if rule == "duplicate" else "error"
        findings.append(finding_of(rule, severity, sentence, rows, (*_PRICES, "volume")))
    findings.extend(_soft(good))
    return good, quarantine, [finding for finding in findings if finding is not None]


def _rule_of_row(frame: pl.DataFrame) -> pl.Expr:
    open_, high, low, close = (pl.col(name) for name in _PRICES)
    numeric = [name for name in (*_PRICES, "volume", "adj_close", "preclose", "vwap") if name in frame.columns]
    positive = [name for name in (*_PRICES, "adj_close", "preclose", "vwap") if name in frame.columns]
    hair = close.abs() * _HAIR
    rules = {
        "missing_key": pl.col("time").is_null() | pl.col("asset").is_null(),
        "missing_close": close.is_null() & pl.any_horizontal(pl.col("open", "high", "low").is_not_null()),
        "not_finite": pl.any_horizontal(pl.col(numeric).abs() > _ENDLESS),
        "non_positive_price": pl.any_horizontal(pl.col(positive) <= 0),
        "negative_volume": pl.col("volume") < 0,
        "high_below_low": high < low,
        "outside_range": (low > pl.min_horizontal(open_, close) + hair)
        | (high < pl.max_horizontal(open_, close) - hair),
    }
    chain: pl.Expr = pl.lit(None, dtype=pl.String)
    for rule, broken in reversed(list(rules.items())):
        chain = pl.when(broken.fill_null(False)).then(pl.lit(rule)).otherwise(chain)
    return chain


def _sorted(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that stood in the wrong order, and the frame sorted by asset and time."""
    same = pl.col("asset") == pl.col("asset").shift(1)
    if frame.select(((~same) & (pl.col("asset") < pl.col("asset").shift(1))).any()).item():
        # Not grouped by asset as it came: a stable sort by asset alone leaves each asset's own order visible.
        frame = frame.sort("asset", maintain_order=True)
    backward = frame.filter(same & (pl.col("time") < pl.col("time").shift(1)))
    return backward, frame.sort("asset", "time", maintain_order=True) if backward.height else frame


def _split_duplicates(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    key = (pl.col("asset") == pl.col("asset").shift(1)) & (pl.col("time") == pl.col("time").shift(1))
    if not frame.select(key.any()).item():
        return frame, frame.clear().with_columns(rule=pl.lit(None, pl.String))
    twin = frame.select((key | key.shift(-1)).fill_null(False)).to_series()
    groups = frame.filter(twin)
    values = [name for name in frame.columns if name not in ("asset", "time")]
    kinds = pl.struct(values).n_unique().over("asset", "time")
    first = pl.int_range(pl.len()).over("asset", "time") == 0
    groups = groups.with_columns(
        rule=pl.when(kinds > 1).then(pl.lit("conflicting_duplicate")).when(~first).then(pl.lit("duplicate"))
    )
    kept = groups.filter(pl.col("rule").is_null()).drop("rule")
    good = pl.concat([frame.filter(~twin), kept]).sort("asset", "time")
    return good, groups.filter(pl.col("rule").is_not_null())


def _soft(good: pl.DataFrame) -> Iterable[Finding | None]:
    no_price = pl.all_horizontal(pl.col(_PRICES).is_null())
    yield finding_of(
        "no_price", "info", "rows without any price; they count as halts", good.filter(no_price), ("volume",)
    )
    partial = good.filter(~no_price & pl.any_horizontal(pl.col(_PRICES).is_null()))
    yield finding_of(
        "missing_price",
        "warning",
        "rows without open, high or low; kept, not tradable without an open",
        partial,
        _PRICES,
    )
    yield finding_of(
        "missing_volume",
        "warning",
        "rows with prices and no volume; kept, not tradable",
        good.filter(~no_price & pl.col("volume").is_null()),
        ("close",),
    )
    yield finding_of(
        "zero_volume",
        "warning",
        "rows without any trade (volume 0); kept, not tradable",
        good.filter(pl.col("volume") == 0),
        ("close",),
    )
    if "adj_close" in good.columns:
        yield finding_of(
            "missing_adj_close",
            "warning",
            "rows without an adjusted close; the factor of the next row is used",
            good.filter(pl.col("adj_close").is_null() & pl.col("close").is_not_null()),
            ("close",),
        )
