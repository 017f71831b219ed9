"""Column names: which column of a file is the date, the asset, the close."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from alphaloom.errors import DataError

__all__ = ["ALIASES", "REQUIRED", "find_column", "match_columns", "near", "plain"]

REQUIRED = ("time", "asset", "open", "high", "low", "close", "volume")

# Spellings are compared without case, blanks, dots and underscores.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "time": ("time", "date", "datetime", "timestamp", "day", "tradedate", "session", "opentime", "closetime"),
    "asset": ("asset", "ticker", "symbol", "code", "tscode", "secid", "instrument", "permno", "name"),
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h"),
    "low": ("low", "lowprice", "l"),
    "close": ("close", "closeprice", "c", "last"),
    "volume": ("volume", "vol", "v", "shares"),
    "adj_close": ("adjclose", "adjustedclose", "closeadj", "adjustedcloseprice"),
    "preclose": ("preclose", "prevclose", "previousclose"),
    "vwap": ("vwap", "averageprice"),
    "amount": ("amount", "dollarvolume", "quotevolume", "moneyvolume", "tradedvalue"),
    "split": ("split", "splits", "splitcoefficient", "splitratio", "stocksplits"),
    "dividend": ("dividend", "dividends", "dividendamount", "divcash"),
    "tradestatus": ("tradestatus", "tradingstatus"),
    "limit_up": ("limitup", "uplimit", "upperlimit"),
    "limit_down": ("limitdown", "downlimit", "lowerlimit"),
    "shares_out": ("sharesout", "sharesoutstanding"),
    "cap": ("cap", "marketcap", "mktcap"),
}


def plain(name: str) -> str:
    """A column name without case, blanks and punctuation."""
    return re.sub(r"[\W_]+", "", name.lower())


def near(name: str, choices: Iterable[str]) -> str:
    """The choice that is spelt most like `name`, or an empty word."""
    spelt = {plain(choice): choice for choice in choices}
    found = difflib.get_close_matches(plain(name), list(spelt), n=1, cutoff=0.6)
    return spelt[found[0]] if found else ""


def find_column(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The first of `names` that is spelt like one of `wanted`, in the order of `wanted`."""
    spelt: dict[str, str] = {}
    for name in names:
        spelt.setdefault(plain(name), name)
    return next((spelt[plain(word)] for word in wanted if plain(word) in spelt), None)


def match_columns(
    names: Sequence[str], columns: Mapping[str, str], *, where: str, required: Sequence[str] = REQUIRED
) -> dict[str, str]:
    """Which column of a file stands for which canonical one: what the user said first, then the usual spellings.

    A mapping value that begins with "=" is a constant and not a column: {"asset": "=SPY"} names a file of one asset.
    Raises: DataError for a column that is missing, mapped twice or unknown.
    """
    given = {("time" if key == "date" else key): value for key, value in columns.items()}
    matched = _matched_by_user(names, given, where)
    taken = set(matched.values())
    for canonical, spellings in ALIASES.items():
        if canonical in matched:
            continue
        found = find_column([name for name in names if name not in taken], (canonical, *spellings))
        if found is not None:
            matched[canonical] = found
            taken.add(found)
    for canonical in required:
        if canonical not in matched:
            raise _missing(canonical, [name for name in names if name not in taken], where, columns)
    return matched


def _matched_by_user(names: Sequence[str], given: Mapping[str, str], where: str) -> dict[str, str]:
    matched: dict[str, str] = {}
    for canonical, name in given.items():
        if not name.startswith("=") and name not in names:
            hint = near(name, names)
            raise DataError(
                "a mapped column must exist in the file",
                found=f"{name!r} for {canonical!r}",
                where=where,
                fix=(f"did you mean {hint!r}? " if hint else "") + f"the columns are: {', '.join(names)}",
            )
        if name in matched.values() and not name.startswith("="):
            raise DataError("a column can be mapped once", found=f"{name!r} twice", where=where)
        matched[canonical] = name
    return matched


def _missing(canonical: str, names: Sequence[str], where: str, columns: Mapping[str, str]) -> DataError:
    """The error for a column that was not found; `names` are the columns of the file that stand for nothing yet."""
    shown = "date" if canonical == "time" else canonical
    hint = next((guess for word in ALIASES[canonical] if len(word) > 2 and (guess := near(word, names))), "")
    misspelt = near(shown, [key for key in columns if key not in ALIASES and key != "date"])
    if misspelt:
        fix = f"the mapping {misspelt}={columns[misspelt]} should read {shown}={columns[misspelt]}"
    else:
        told = hint or "ITS_NAME_IN_THE_FILE"
        fix = f"map it: --map {shown}={told}, or columns={{{shown!r}: {told!r}}} in Python"
    if canonical == "asset" and not misspelt:
        fix += "; for a file of one asset give its name after '=': --map asset==SPY"
    alone = names[0] if len(names) == 1 else ""
    if not hint and re.search(r"[;|]", alone):
        fix = "the columns of a CSV file are separated by commas; those of a .tsv file by tabs"
    found = f"the columns {', '.join(names)}" if names else "no further column"
    return DataError(f"prices need a column {shown!r}", found=found, where=where, fix=fix)
