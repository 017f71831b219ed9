"""Firm names and headlines of the embedded market."""

from __future__ import annotations

import numpy as np

from alphaloom.corpus import Corpus
from alphaloom.data.simulate_draws import SECTORS, Grid, stream

__all__ = ["headlines", "name_firms"]

_HEADS: tuple[str, ...] = (
    "Al",
    "Bren",
    "Cor",
    "Dal",
    "El",
    "Fen",
    "Gra",
    "Hal",
    "Is",
    "Jun",
    "Kel",
    "Lor",
    "Mar",
    "Nor",
    "Or",
    "Pel",
)
_HEADS += ("Quin", "Ros", "Sel", "Tor", "Ul", "Ver", "Wes", "Xan", "Yor", "Zen")
_TAILS: tuple[str, ...] = (
    "ado",
    "bridge",
    "cast",
    "dyne",
    "era",
    "ford",
    "gate",
    "holm",
    "ion",
    "kith",
    "lume",
    "mont",
    "nova",
    "ora",
)
_TAILS += ("point", "quay", "rise", "stone", "tide", "vale", "wick", "yard")
_TRADES = {
    "energy": ("Energy", "Petroleum", "Drilling"),
    "materials": ("Materials", "Mining", "Chemicals"),
    "industrials": ("Industries", "Engineering", "Logistics"),
    "consumer": ("Brands", "Stores", "Foods"),
    "health": ("Health", "Biosciences", "Devices"),
    "financials": ("Financial", "Bancorp", "Insurance"),
    "technology": ("Systems", "Software", "Semiconductor"),
    "utilities": ("Power", "Water", "Utilities"),
}
_GOOD = (
    "{name} beats forecasts as demand proves strong",
    "{name} raises its outlook for the year",
    "Analysts upgrade {name} on robust margins",
    "{name} wins a record contract in {trade}",
    "Shares of {name} in favour as growth accelerates",
    "{name} announces a breakthrough and expands capacity",
    "Improved cash flow lets {name} pay down debt ahead of plan",
)
_BAD = (
    "{name} misses forecasts as demand proves weak",
    "{name} cuts its outlook for the year",
    "Analysts downgrade {name} on shrinking margins",
    "{name} loses a major contract in {trade}",
    "Regulator opens a probe into {name}",
    "{name} warns of losses after a costly recall",
    "Lawsuit adds to the trouble at {name}",
)
_PLAIN = (
    "{name} to present at a {trade} conference",
    "{name} names a new head of operations",
    "{name} schedules its annual meeting",
    "{name} renews its credit facility on unchanged terms",
    "{name} moves its head office",
)


def name_firms(seed: int, sector: Grid) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A ticker and a name for each firm, all different."""
    rng, tickers, names = stream(seed, "names"), [], []
    taken: set[str] = set()
    pairs = rng.permutation(len(_HEADS) * len(_TAILS))
    for j, code in enumerate(sector.tolist()):
        head, tail = divmod(int(pairs[j % len(pairs)]), len(_TAILS))
        stem = _HEADS[head] + _TAILS[tail]
        trade = _TRADES[SECTORS[code]][int(rng.integers(3))]
        number = "" if j < len(pairs) else f" {j // len(pairs) + 1}"
        letters = (_HEADS[head][:2] + _TAILS[tail][:2]).upper()
        ticker, count = letters, 1
        while ticker in taken:
            count += 1
            ticker = f"{letters}{count}"
        taken.add(ticker)
        tickers.append(ticker)
        names.append(f"{stem} {trade}{number}")
    return tuple(tickers), tuple(names)


def headlines(seed: int, times: Grid, *, spoken: Grid, tone: Grid, firms: tuple[tuple[str, ...], Grid]) -> Corpus:
    """One headline for each spoken cell, stamped between the last close and the close of its row.

    Shape: times (T,), spoken and tone (T, N); firms is the names and the sector codes, (N,).
    Time: row t is the first that may read it; two thirds appear in session, the others in the evening after the last
    close or in the morning before the open.
    """
    names, sector = firms
    rows, columns = np.nonzero(spoken)
    rng = stream(seed, "wording")
    chance = rng.random((len(rows), 3))
    session = 60.0 + chance[:, 1] * 23_300.0
    morning = 24_000.0 + chance[:, 1] * 15_000.0
    before = np.where(chance[:, 0] < 0.65, session, morning)
    when = times[rows] - (before * 1e9).astype("timedelta64[ns]")
    evening = times[np.maximum(rows - 1, 0)] + ((60.0 + chance[:, 1] * 21_000.0) * 1e9).astype("timedelta64[ns]")
    when = np.where((chance[:, 0] >= 0.85) & (rows > 0), evening, when)
    mood = tone[rows, columns]
    texts = []
    for j, feeling, luck in zip(columns.tolist(), mood.tolist(), chance[:, 2].tolist(), strict=True):
        words = _GOOD if feeling > 0 else _BAD if feeling < 0 else _PLAIN
        texts.append(words[int(luck * len(words))].format(name=names[j], trade=SECTORS[sector[j]]))
    return Corpus.from_documents(when, columns.astype(np.int32), texts)
