"""The torch back end on a graphics card or a processor, against the default engine and the device's copy bandwidth.

Both engines first evaluate the same libraries and must agree; then seconds, cells per second (a cell is one value of
one factor) and the share of the device's copy bandwidth are printed. The traffic of a set is what its distinct parts
must read and write at least once in the storage type, so the share says how far a plain copy of it would be faster.

    python benchmarks/gpu_speed.py                       # device cuda, ends quietly where there is none
    python benchmarks/gpu_speed.py --device cpu --quick
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np

from alphaloom.factors import FactorSet, evaluate, load_library, parse
from alphaloom.factors.torch_backend import evaluate_torch
from alphaloom.factors.torch_plan import operands, steps
from alphaloom.panel import Panel

OPERATIONS = (
    "close + open",
    "ts_sum(close, 20)",
    "ts_max(close, 20)",
    "ts_argmax(close, 20)",
    "ts_std(close, 20)",
    "ts_corr(close, volume, 20)",
    "ts_kurt(close, 20)",
    "ts_slope(close, 20)",
    "ts_rank(close, 20)",
    "ts_rank(close, 250)",
    "ts_median(close, 20)",
    "decay_linear(close, 20)",
    "ema(close, 20)",
    "rank(close)",
    "zscore(close)",
    "winsorize(close)",
    "indneutralize(close, sector)",
)


def panel_of(days: int, assets: int) -> Panel:
    """Walks of prices with volumes, caps and groups; members are nine of ten."""
    rng = np.random.default_rng(0)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (days, assets)), axis=0))
    opened = close * np.exp(rng.normal(0.0, 0.006, close.shape))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, 0.005, close.shape)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, 0.005, close.shape)))
    volume = np.exp(rng.normal(13.0, 0.5, close.shape))
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    fields |= {"vwap": (high + low + close) / 3.0, "cap": close * 1e7}
    groups = {"sector": 11, "industry": 60, "subindustry": 120}
    codes = {name: rng.integers(0, count, assets).astype(np.int16) for name, count in groups.items()}
    return Panel(
        times=np.datetime64("2000-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D"),
        assets=tuple(f"A{j:05d}" for j in range(assets)),
        fields={name: values.astype(np.float32) for name, values in fields.items()},
        labels={name: np.broadcast_to(values, close.shape) for name, values in codes.items()},
        member=np.broadcast_to(rng.random(assets) < 0.9, close.shape),
    )


class Clock:
    """Seconds on the wall and on the processor; a graphics card is waited for.

    `cost` is what ratios are made of: seconds of the wall on a graphics card, else of the processor, which other work
    on the machine disturbs less.
    """

    def __init__(self, device: str) -> None:
        self.device = device

    def wait(self) -> None:
        import torch

        if self.device != "cpu":
            torch.cuda.synchronize(self.device)

    def cost(self, runs: int, work: Callable[[], object]) -> float:
        """The best of some runs."""
        found = [self.best(1, work) for _ in range(runs)]
        return min(processor if self.device == "cpu" else wall for wall, processor in found)

    def best(self, runs: int, work: Callable[[], object]) -> tuple[float, float]:
        found = []
        for _ in range(runs):
            self.wait()
            wall, processor = time.perf_counter(), time.process_time()
            work()
            self.wait()
            found.append((time.perf_counter() - wall, time.process_time() - processor))
        return min(found)


def copy_bandwidth(clock: Clock) -> float:
    """Bytes read and written per second by the device's own copy of 256 MiB."""
    import torch

    source = torch.ones(1 << 26, dtype=torch.float32, device=clock.device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.nbytes / clock.cost(5, lambda: target.copy_(source))


def traffic(factors: FactorSet, panel: Panel) -> int:
    """Bytes that the distinct parts of a set read and write at least, in float32."""
    roots = list(dict.fromkeys(factor.expr for factor in factors.factors))
    parts = [node for step in steps(roots, factors.options, 0) for node in step.nodes if node.args]
    ends = sum(1 + len(operands(node, factors.options)) for node in parts)
    return ends * 4 * panel.shape[0] * panel.shape[1]


def agreement(factors: FactorSet, panel: Panel, device: str) -> tuple[float, float]:
    """Shares of cells that agree with the default engine: in float64 within 1e-6, in float32 within 1e-3.

    Formulas that compare or rank values which differ by rounding alone may fall on either side.
    """
    few = panel[: min(len(panel), factors.lookback + 40)]
    shares = []
    for dtype, within in ((np.float64, 1e-6), (np.float32, 1e-3)):
        wanted = evaluate(factors, few, dtype=dtype).values
        got = evaluate_torch(factors, few, device=device, dtype=dtype).values
        shares.append(float(np.isclose(got, wanted, rtol=within, atol=within * 1e-2, equal_nan=True).mean()))
    return shares[0], shares[1]


def compare(name: str, panel: Panel, clock: Clock, *, bandwidth: float, runs: int) -> None:
    import torch

    factors, left_out = load_library(name).supported_by(panel)
    wide, narrow = agreement(factors, panel, clock.device)
    cells = panel.shape[0] * panel.shape[1] * len(factors)
    evaluate(factors, panel[:30])
    wall, processor = Clock("cpu").best(1, lambda: evaluate(factors, panel))
    if clock.device != "cpu":
        torch.cuda.reset_peak_memory_stats(clock.device)
    ours, ours_processor = clock.best(runs, lambda: evaluate_torch(factors, panel, device=clock.device))
    print(f"{name}: {len(factors)} factors ({len(left_out)} left out), {cells / 1e6:.0f} million cells")
    print(f"  agreement: {wide:.6f} of the cells in float64, {narrow:.6f} in float32")
    print(f"  default engine  {wall:8.2f} s wall {processor:8.2f} s CPU {cells / wall / 1e6:9.1f} Mcells/s")
    print(
        f"  torch {clock.device:10s}{ours:8.2f} s wall {ours_processor:8.2f} s CPU {cells / ours / 1e6:9.1f} Mcells/s"
    )
    mine, theirs = (ours_processor, processor) if clock.device == "cpu" else (ours, wall)
    share = traffic(factors, panel) / mine / bandwidth
    print(f"  times as fast: {theirs / mine:.2f}; least traffic at {100 * share:.1f} % of the copy bandwidth")
    if clock.device != "cpu":
        print(f"  peak memory of the device {torch.cuda.max_memory_allocated(clock.device) / 2**20:.0f} MiB")


def table(panel: Panel, clock: Clock, bandwidth: float) -> None:
    """Nanoseconds per cell of single operators, their copy in and out of the device taken off."""
    T, N = panel.shape
    reading = {}
    for names in ("close", "close, volume", "close, open"):
        roots = [parse(name) for name in names.split(", ")]
        reading[names] = clock.cost(3, lambda roots=roots: _single(roots, panel, clock.device))
    limit = 8.0 / bandwidth * 1e9
    print(f"operators, nanoseconds per cell; a copy takes {limit:.3f}")
    for text in OPERATIONS:
        _single([parse(text)], panel, clock.device)
        taken = clock.cost(3, lambda text=text: _single([parse(text)], panel, clock.device))
        names = "close, volume" if "volume" in text else "close, open" if "open" in text else "close"
        cost = max(taken - reading[names], 0.0) / (T * N) * 1e9
        print(f"  {text:32s} {cost:9.3f}   {cost / limit:7.1f} copies")


def _single(roots: list, panel: Panel, device: str) -> None:
    from alphaloom.factors import Factor

    evaluate_torch(FactorSet("one", tuple(Factor(f"f{k}", root) for k, root in enumerate(roots))), panel, device=device)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--device", default="cuda")
    reader.add_argument("--days", type=int, default=2520)
    reader.add_argument("--assets", type=int, default=1000)
    reader.add_argument("--libraries", default="classic,alpha101,alpha158")
    reader.add_argument("--runs", type=int, default=3)
    reader.add_argument("--threads", type=int, default=1, help="processor threads of torch")
    reader.add_argument("--quick", action="store_true", help="400 days, 200 assets, the classic library")
    given = reader.parse_args()
    if given.quick:
        given.days, given.assets, given.libraries, given.runs = 400, 200, "classic", 1
    try:
        import torch
    except ModuleNotFoundError:
        print('torch is not installed: pip install "alphaloom[deep]"')
        return
    if given.device != "cpu" and not torch.cuda.is_available():
        print(f"no CUDA device here, so nothing was measured on {given.device}; --device cpu runs everywhere")
        return
    torch.set_num_threads(given.threads)
    clock = Clock(given.device)
    bandwidth = copy_bandwidth(clock)
    named = torch.cuda.get_device_name(given.device) if given.device != "cpu" else f"threads: {given.threads}"
    print(f"torch {torch.__version__}, {given.device} ({named}), copies {bandwidth / 1e9:.1f} GB/s in and out")
    panel = panel_of(given.days, given.assets)
    print(f"{given.days} days x {given.assets} assets, float32")
    for name in given.libraries.split(","):
        compare(name, panel, clock, bandwidth=bandwidth, runs=given.runs)
    table(panel, clock, bandwidth)
    if given.device == "cpu":
        print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
