"""Price limits that follow from a market's rules, for sources that do not state them."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from alphaloom.errors import DataError

__all__ = ["LIMITS", "check_limits", "with_limits"]

LIMITS = ("none", "a_share")
# ChiNext went over to registered listings, and to limits of 20 %, on this day; the main boards to registration later.
_CHINEXT_REFORM = datetime(2020, 8, 24)
_MAIN_REFORM = datetime(2023, 4, 10)
_FREE_DAYS = 5


def check_limits(kind: str) -> None:
    """Raise DataError for a market whose limits are not known here."""
    if kind not in LIMITS:
        raise DataError("price limits follow a known market's rules", found=kind, where="limits", fix=", ".join(LIMITS))


def with_limits(frame: pl.DataFrame, kind: str, *, known: frozenset[str] = frozenset()) -> pl.DataFrame:
    """Bars with `limit_up` and `limit_down` as traded, where the source has none of its own.

    "a_share": the reference price `preclose` plus and minus 10 % (main boards), 20 % (STAR, ChiNext from 2020-08-24),
    30 % (Beijing) or 5 % (ST names of the main boards, by a column `isST`), rounded to a cent; codes may carry the
    exchange before or behind (sh.600000, 600000.SH). The first five bars of a registered listing have no limit, of
    older main-board listings the first bar has none here. Assets in `known`, or on the first day of the table, are
    not new.
    Missing: null where `preclose` is.   Raises: DataError without `preclose` or without six-digit codes.
    """
    if kind == "none" or "limit_up" in frame.columns:
        return frame
    check_limits(kind)
    if "preclose" not in frame.columns:
        raise DataError(
            "limits of A-shares are counted from the reference price",
            found="no column preclose",
            where="prices",
            fix="map it: --map preclose=ITS_NAME, or leave --limits out",
        )
    code = pl.col("asset").str.extract(r"(\d{6})", 1)
    strange = frame.filter(code.is_null())
    if strange.height:
        raise DataError("an A-share has a code of six digits", found=strange["asset"][0], where="prices.asset")
    star, chinext = code.str.starts_with("68"), code.str.contains(r"^30[01]")
    beijing = code.str.contains(r"^(?:4|8|92)")
    reformed = star | (chinext & (pl.col("time") >= _CHINEXT_REFORM))
    special = pl.col("isST").fill_null(0) > 0 if "isST" in frame.columns else pl.lit(False)
    part = pl.when(beijing).then(0.30).when(reformed).then(0.20).when(special).then(0.05).otherwise(0.10)
    age = pl.col("time").rank("ordinal").over("asset") - 1
    first = pl.col("time").min().over("asset")
    fresh = (first > pl.col("time").min()) & ~pl.col("asset").is_in(list(known))
    free_days = pl.when(reformed | (pl.col("time") >= _MAIN_REFORM)).then(_FREE_DAYS).otherwise(1)
    base = pl.when(fresh & (age < free_days)).then(None).otherwise(pl.col("preclose").round(2))
    return frame.with_columns(limit_up=_to_cent(base * (1 + part)), limit_down=_to_cent(base * (1 - part)))


def _to_cent(price: pl.Expr) -> pl.Expr:
    # Exchanges round half a cent up; the small number undoes what binary fractions take from an exact half.
    return (price * 100 + 0.5 + 1e-6).floor() / 100
