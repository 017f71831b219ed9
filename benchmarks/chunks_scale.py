"""More factors than memory: minute bars of 5,000 assets, 20 GB of factor values, computed in chunks of time.

The bars are drawn day by day from a seed of their own, so no file and no memory ever holds them all. Every chunk brings
the look-back rows before it; a few stretches are compared with one evaluation of just these rows afterwards, bit by
bit. The folder is removed at the end unless `--keep` is given.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphaloom.factors import Factor, FactorSet, evaluate, parse
from alphaloom.factors.chunks import evaluate_chunks
from alphaloom.panel import Panel

BARS = 240
WINDOWS = (5, 10, 20, 30, 60)
TEMPLATES = {
    "return": "close / delay(close, {d}) - 1",
    "level": "ts_mean(close, {d}) / close",
    "spread": "ts_std(close, {d}) / close",
    "high": "ts_max(high, {d}) / close",
    "low": "ts_min(low, {d}) / close",
    "place": "(close - ts_min(low, {d})) / (ts_max(high, {d}) - ts_min(low, {d}))",
    "rank": "rank(close / delay(close, {d}))",
    "order": "ts_rank(volume, {d})",
    "flow": "ts_corr(close, log(volume), {d})",
    "trend": "decay_linear(vwap, {d}) / close",
}


@dataclass(frozen=True)
class MinuteBars:
    """Days of minute bars, each from its own seed; a source of rows."""

    days: int
    assets: int
    seed: int = 0

    @property
    def source(self) -> str:
        return f"minute bars {self.days} x {self.assets}, seed {self.seed}"

    def __len__(self) -> int:
        return self.days * BARS

    def rows(self, start: int, stop: int) -> Panel:
        days = range(start // BARS, -(-stop // BARS))
        parts = [self.day(day) for day in days]
        cut = slice(start - days[0] * BARS, stop - days[0] * BARS)
        minutes = np.arange(start, stop)
        times = (
            np.datetime64("2024-01-02T09:31", "ns")
            + (minutes // BARS) * np.timedelta64(1, "D")
            + (minutes % BARS) * np.timedelta64(1, "m")
        )
        known = np.ones((stop - start, self.assets), bool)
        return Panel(
            times=times,
            assets=tuple(f"M{j:05d}" for j in range(self.assets)),
            fields={name: np.concatenate([part[name] for part in parts])[cut] for name in parts[0]},
            member=known,
            listed=known,
            buyable=known,
            sellable=known,
            periods_per_year=252.0 * BARS,
            source=f"{self.source}[{start}:{stop}]",
        )

    def day(self, day: int) -> dict[str, np.ndarray]:
        """One day's bars: a walk from the day's own opening level, and wicks around it."""
        rng = np.random.default_rng([self.seed, day])
        shape = (BARS, self.assets)
        steps = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.001)
        opening = np.exp(3.0 + 0.3 * np.sin(np.arange(self.assets)) + 0.02 * rng.standard_normal(self.assets))
        close = np.exp(np.cumsum(steps, axis=0, dtype=np.float32)) * opening.astype(np.float32)
        wick = 1.0 + np.abs(rng.standard_normal(shape, dtype=np.float32)) * np.float32(0.0005)
        volume = np.exp(rng.standard_normal(shape, dtype=np.float32) + np.float32(8.0))
        return {"high": close * wick, "low": close / wick, "close": close, "volume": volume, "vwap": close * (2 - wick)}


def factor_set() -> FactorSet:
    """Ten templates over five windows."""
    rows = [(f"{name}_{d}", text.format(d=d)) for name, text in TEMPLATES.items() for d in WINDOWS]
    return FactorSet("minutes", tuple(Factor(name, parse(text)) for name, text in rows))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="an empty or absent folder on a disk with room for the output")
    arguments.add_argument("--gigabytes", type=float, default=20.0, help="how much output to make")
    arguments.add_argument("--assets", type=int, default=5000)
    arguments.add_argument("--rows", type=int, default=480, help="rows of a chunk")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--keep", action="store_true", help="leave the folder")
    given = arguments.parse_args()
    factors = factor_set()
    per_row = given.assets * len(factors) * 4
    days = int(np.ceil(given.gigabytes * 1e9 / per_row / BARS))
    source = MinuteBars(days, given.assets)
    size = len(source) * per_row / 1e9
    print(f"{len(source):,} bars x {given.assets:,} assets x {len(factors)} factors = {size:.1f} GB", flush=True)
    wall, cpu = time.perf_counter(), time.process_time()

    def tell(done: int, rows: int) -> None:
        print(f"{done:,} of {rows:,} bars, {time.perf_counter() - wall:.0f} s", flush=True)

    made = evaluate_chunks(
        factors, source, out=given.folder, rows_per_chunk=given.rows, threads=given.threads, progress=tell
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{wall:.0f} s by the clock, {cpu:.0f} CPU s, {1000 * size / wall:.0f} MB/s")
    print(f"peak memory {peak:.2f} GiB, digest {made.digest[:16]}")
    for start in (0, given.rows - 7, len(source) - 30):
        stop, before = start + 30, max(0, start - factors.lookback)
        whole = evaluate(factors, source.rows(before, stop)).values[start - before :]
        same = np.array(made.rows(start, stop).values).tobytes() == np.ascontiguousarray(whole).tobytes()
        print(f"rows {start:,}:{stop:,} have the bits of an evaluation of their own: {same}")
        if not same:
            raise SystemExit(1)
    if not given.keep:
        shutil.rmtree(given.folder)


if __name__ == "__main__":
    main()
