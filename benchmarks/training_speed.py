"""How fast nets are trained: seconds an epoch of the layered net, the factor Transformer and the GRU, by threads.

The samples are random, the same for every net: `--dates` dates of `--assets` assets with `--factors` factors, labels
with a planted part, in a memory-mapped file. An epoch is one pass with AdamW in batches of 8 whole dates and the
judging on the last fifth; the second one is measured. The Transformer's cost grows with the square of its tokens, so
it is measured with 16 shared tokens on a third of the dates and with a token for every factor on a sixth of those; the
column samples/s compares them. No peer is measured: this is a plain statement of what to expect.

    python benchmarks/training_speed.py                  # 500 assets x 60 dates x 158 factors, one and two threads
    python benchmarks/training_speed.py --device cuda    # on a card, with bfloat16
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from alphaloom.nn import FactorTransformer, Mlp, NetSpec, Recurrent, Samples, Training, fit_net

BATCH = 8
LENGTH = 20
HEAD = f"{'net':36s} {'weights':>8s} {'threads':>7s} {'samples':>8s} {'s/epoch':>8s} {'cpu s':>7s} {'samples/s':>9s}"


def main() -> None:
    """Make the samples, train each net, print one line for each."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--assets", type=int, default=500)
    reader.add_argument("--dates", type=int, default=60)
    reader.add_argument("--factors", type=int, default=158)
    reader.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    reader.add_argument("--device", default="cpu")
    wanted = reader.parse_args()
    T, N, F = wanted.dates, wanted.assets, wanted.factors
    print(f"{N} assets x {T} dates x {F} factors = {N * T:,} samples, {4e-6 * T * N * F:,.0f} MB; {wanted.device}")
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        grid = made(Path(folder) / "grid", T, N, F)
        few = max(4, T // 3)
        jobs: list[tuple[str, NetSpec, Samples]] = [
            ("Mlp 256-128", Mlp(), points(grid, T)),
            ("FactorTransformer 64x4x2, 16 tokens", FactorTransformer(tokens=16), points(grid, few)),
            (f"FactorTransformer 64x4x2, {F} tokens", FactorTransformer(), points(grid, max(4, few // 6))),
            (f"GRU 64x2 over {LENGTH} bars", Recurrent(), windows(grid, T)),
        ]
        for name, spec, samples in jobs:
            for threads in wanted.threads:
                measure(name, spec, samples, threads=threads, device=wanted.device)


def made(path: Path, T: int, N: int, F: int) -> np.ndarray:
    """Random factors in a mapped file.   Shape: (T, N, F)."""
    rng = np.random.default_rng(0)
    grid = np.memmap(path, np.float32, "w+", shape=(T, N, F))
    for t in range(T):
        grid[t] = rng.normal(size=(N, F))
    return grid


def labels(grid: np.ndarray, dates: int) -> tuple[np.ndarray, np.ndarray]:
    """What the first two factors say, under noise, and the date of each cell."""
    rng = np.random.default_rng(1)
    N = grid.shape[1]
    y = 0.1 * np.asarray(grid[:dates, :, 0] - grid[:dates, :, 1]).ravel() + rng.normal(size=dates * N)
    return y, np.repeat(np.arange(dates), N)


def points(grid: np.ndarray, dates: int) -> Samples:
    """Every cell of the first dates with its factors."""
    y, date = labels(grid, dates)
    cut = round(0.8 * dates)
    return Samples(grid[:dates].reshape(-1, grid.shape[2]), y, date, fit=date < cut, held=date >= cut)


def windows(grid: np.ndarray, dates: int) -> Samples:
    """Every cell of the first dates with the bars before it, cut when they are due."""
    y, date = labels(grid, dates)
    cut = round(0.8 * dates)
    column = np.tile(np.arange(grid.shape[1]), dates)
    return Samples(grid, y, date, fit=date < cut, held=date >= cut, column=column, length=LENGTH)


def measure(name: str, spec: NetSpec, samples: Samples, *, threads: int, device: str) -> None:
    """Two epochs; the time between the end of the first one's batches and the end of the second one's is told."""
    training = Training(epochs=2, dates_per_batch=BATCH, threads=threads, device=device, amp=device != "cpu")
    batches = -(-len(samples.dates_of(samples.masks[0])) // BATCH)
    marks: dict[int, tuple[float, float]] = {}

    def tell(stage: str, done: int, total: int) -> None:
        marks.setdefault(done, (time.perf_counter(), time.process_time()))

    net = fit_net(spec, samples, training, progress=tell)
    wall, cpu = (marks[2 * batches][k] - marks[batches][k] for k in range(2))
    weights, count = sum(values.size for values in net.state.values()), len(samples.y)
    print(f"{name:36s} {weights:8,d} {threads:7d} {count:8,d} {wall:8.2f} {cpu:7.2f} {count / wall:9,.0f}", flush=True)


if __name__ == "__main__":
    main()
