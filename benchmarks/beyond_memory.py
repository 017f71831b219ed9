"""Factors of a market that fits into no memory: minute bars of 5,000 assets, 20 GB of values, in chunks of time.

The market is a closed formula of time with seeded noise, so that a worker makes any stretch of it for itself. The job
runs on worker processes of this machine with its peak memory watched, then, with `--ray`, on a Ray cluster of two
nodes on this machine, one worker of which is killed in the middle. Both must give the same bytes, and some chunks are
compared with an evaluation in this process that begins further back.

    python benchmarks/beyond_memory.py --ray           # needs 20 GB of disk
    python benchmarks/beyond_memory.py --ray --quick   # 0.2 GB
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphaloom.compute import processes
from alphaloom.factors import Factor, FactorSet, evaluate, parse
from alphaloom.factors.chunks import ChunkedFeatures, evaluate_chunks
from alphaloom.panel import Panel

BARS_A_DAY = 240
WINDOWS = (5, 15, 30, 60)
FORMULAS = (
    "close / delay(close, {w}) - 1",
    "close / ts_mean(close, {w}) - 1",
    "ts_std(close / delay(close, 1) - 1, {w})",
    "rank(ts_sum(volume, {w}))",
    "ts_corr(close, volume, {w})",
)
WORKERS = 2


@dataclass(frozen=True)
class MinuteMarket:
    """Five waves in each asset's price and noise that is drawn row by row, so any stretch can be made alone."""

    length: int
    assets: int
    seed: int = 0
    killer: str = ""  # a file: the first worker that reads beyond the middle makes it and is killed

    @property
    def source(self) -> str:
        return f"minutes of {self.assets} assets, seed {self.seed}"

    def __len__(self) -> int:
        return self.length

    def rows(self, start: int, stop: int) -> Panel:
        if self.killer and stop > self.length // 2 and not Path(self.killer).exists():
            Path(self.killer).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        N = self.assets
        t = np.arange(start, stop)
        setting = np.random.Generator(np.random.Philox(key=self.seed))
        level = np.log(setting.uniform(5.0, 200.0, N)).astype(np.float32)
        log_price = np.repeat(level[None], len(t), axis=0)
        for period in (31, 127, 480, 2400, 12_000):
            phase = setting.uniform(0.0, 2.0 * np.pi, N)
            angle = 2.0 * np.pi * t / period
            swing = 0.002 * np.sqrt(period / 31.0)
            log_price += np.outer(np.sin(angle), swing * np.cos(phase)).astype(np.float32)
            log_price += np.outer(np.cos(angle), swing * np.sin(phase)).astype(np.float32)
        noise = np.empty((3, len(t), N), np.float32)
        for k, row in enumerate(t):
            draws = np.random.Generator(np.random.Philox(key=self.seed + 1, counter=[0, 0, 0, int(row)]))
            noise[:, k] = draws.standard_normal((3, N), dtype=np.float32)
        close = np.exp(log_price + np.float32(0.001) * noise[0])
        fields = {
            "close": close,
            "high": close * (1 + np.float32(0.001) * np.abs(noise[1])),
            "volume": np.exp(np.float32(8.0) + np.float32(0.7) * noise[2]),
        }
        minutes = (t // BARS_A_DAY) * 1440 + 570 + t % BARS_A_DAY
        times = np.datetime64("2020-01-02", "m") + minutes.astype("timedelta64[m]")
        names = tuple(f"A{j:04d}" for j in range(N))
        return Panel(times, names, fields, periods_per_year=252.0 * BARS_A_DAY, source=f"{self.source}[{start}:{stop}]")


def factor_set() -> FactorSet:
    """Twenty factors over minutes."""
    made = [(f"f{k}_{w}", text.format(w=w)) for k, text in enumerate(FORMULAS) for w in WINDOWS]
    return FactorSet("minutes", tuple(Factor(name, parse(text), "minutes", "benchmark") for name, text in made))


class Watch(threading.Thread):
    """The most memory that this process and its children held together; pages of files do not count (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.1):
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            self.peak = max(self.peak, sum(map(held, [str(os.getpid()), *children])))

    def stop(self) -> float:
        """Gigabytes."""
        self._over.set()
        self.join()
        return self.peak * 1024 / 1e9


def held(process: str) -> int:
    """Kilobytes of a process that are not pages of files."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))


def check_some(made: ChunkedFeatures, market: MinuteMarket, factors: FactorSet) -> None:
    """Three chunks against an evaluation that begins much earlier."""
    size = made.layout.rows_per_chunk
    for number in sorted({0, made.layout.chunks // 2, made.layout.chunks - 1}):
        start, stop = number * size, min(len(market), number * size + 50)
        begin = max(0, start - 3 * factors.lookback)
        whole = evaluate(factors, market.rows(begin, stop)).values[start - begin :]
        assert made.rows(start, stop).values.tobytes() == whole.tobytes(), f"chunk {number} differs"


def on_processes(market: MinuteMarket, factors: FactorSet, folder: Path, rows: int) -> str:
    watch = Watch()
    watch.start()
    begin = time.perf_counter()
    with processes(WORKERS) as executor:
        made = evaluate_chunks(factors, market, out=folder, rows_per_chunk=rows, executor=executor)
    seconds = time.perf_counter() - begin
    size = np.prod(made.shape) * 4 / 1e9
    print(f"processes({WORKERS}): {size:.2f} GB in {made.layout.chunks} chunks, {seconds:.0f} s, ", end="")
    print(f"{np.prod(made.shape) / seconds / 1e6:.0f} million values a second, peak memory {watch.stop():.2f} GB")
    check_some(made, market, factors)
    return made.digest


def on_ray(market: MinuteMarket, factors: FactorSet, folder: Path, rows: int) -> str:
    from ray.cluster_utils import Cluster

    from alphaloom.compute import ray_cluster

    node = {"num_cpus": 1, "object_store_memory": 200 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        begin = time.perf_counter()
        with ray_cluster(cluster.address) as executor:
            made = evaluate_chunks(factors, market, out=folder, rows_per_chunk=rows, executor=executor)
        seconds = time.perf_counter() - begin
    finally:
        cluster.shutdown()
    assert Path(market.killer).exists(), "no worker was killed"
    print(f"Ray, two nodes, one worker killed: {seconds:.0f} s")
    return made.digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=50_400)
    parser.add_argument("--assets", type=int, default=5_000)
    parser.add_argument("--rows", type=int, default=240, help="rows of a chunk")
    parser.add_argument("--folder", type=Path, default=None, help="where the values are written (and removed)")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.bars, options.assets = 2_400, 1_000
    factors = factor_set()
    market = MinuteMarket(options.bars, options.assets)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        digest = on_processes(market, factors, folder / "processes", options.rows)
        shutil.rmtree(folder / "processes")
        if options.ray:
            mortal = MinuteMarket(options.bars, options.assets, killer=str(folder / "killed"))
            other = on_ray(mortal, factors, folder / "ray", options.rows)
            assert other == digest, "Ray gave other bytes"
            print("equal bytes")


if __name__ == "__main__":
    main()
