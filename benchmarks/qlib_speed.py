"""All of Alpha158: our engine against qlib's expression engine, in one process on the same prices.

Both work from memory on one thread: qlib's raw fields are loaded into its memory cache before the clock starts, its
disk caches are off, and our kernels are compiled. CPU seconds of this process and its children are compared, after
checking that the two agree. pyqlib is heavy and wants an environment of its own: pip install pyqlib==0.9.7, then
alphaloom beside it.
Run: python benchmarks/qlib_speed.py [--assets 200] [--days 2520]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from alphaloom.factors import evaluate, load_library
from alphaloom.panel import Panel

FIELDS = ("open", "high", "low", "close", "volume", "vwap")
# Where qlib calls a window constant by an absolute bound of 2e-5, its answer is NaN or noise and ours follows the data.
CONSTANT = ("CORR", "CORD", "RSQR")


def cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def make_panel(days: int, assets: int) -> Panel:
    rng = np.random.default_rng(0)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0, 0.02, (days, assets)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.01, (days, assets)))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.005, (days, assets))))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.005, (days, assets))))
    volume = np.exp(rng.normal(13, 0.5, (days, assets)))
    fields = dict(zip(FIELDS, (open_, high, low, close, volume, (high + low + close) / 3), strict=True))
    times = np.busday_offset("2010-01-04", np.arange(days)).astype("datetime64[ns]")
    names = tuple(f"SH{600000 + j}" for j in range(assets))
    return Panel(times, names, {name: values.astype(np.float32) for name, values in fields.items()})


def write_qlib(panel: Panel, folder: Path) -> None:
    """The panel in qlib's binary layout: little-endian float32, first the row at which a series starts."""
    days = [str(day)[:10] for day in panel.times]
    (folder / "calendars").mkdir(parents=True)
    (folder / "calendars" / "day.txt").write_text("\n".join(days) + "\n")
    (folder / "instruments").mkdir()
    (folder / "instruments" / "all.txt").write_text("".join(f"{a}\t{days[0]}\t{days[-1]}\n" for a in panel.assets))
    for column, asset in enumerate(panel.assets):
        place = folder / "features" / asset.lower()
        place.mkdir(parents=True)
        for name in FIELDS:
            numbers = np.concatenate([[0.0], panel[name][:, column]]).astype("<f4")
            numbers.tofile(place / f"{name}.day.bin")


def run_qlib(panel: Panel) -> tuple[np.ndarray, list[str], float]:
    import qlib
    from qlib.contrib.data.loader import Alpha158DL
    from qlib.data import D

    config = {"kbar": {}, "price": {"windows": [0], "feature": ["OPEN", "HIGH", "LOW", "VWAP"]}, "rolling": {}}
    formulas, names = Alpha158DL.get_feature_config(config)
    with tempfile.TemporaryDirectory() as folder:
        write_qlib(panel, Path(folder))
        qlib.init(provider_uri=folder, kernels=1, expression_cache=None, dataset_cache=None, logging_level=40)
        assets = list(panel.assets)
        D.features(assets, [f"${name}" for name in FIELDS], freq="day", disk_cache=0)  # into the memory cache
        start = cpu_seconds()
        frame = D.features(assets, formulas, freq="day", disk_cache=0)
        spent = cpu_seconds() - start
    table = frame.to_numpy(dtype=np.float32).reshape(len(assets), len(panel), len(names))
    return table.transpose(1, 0, 2), names, spent


def run_ours(panel: Panel, names: list[str]) -> tuple[np.ndarray, float]:
    factors = load_library("alpha158")
    evaluate(factors, panel[:90])  # compiles or loads the kernels
    start = cpu_seconds()
    values = evaluate(factors, panel).values
    spent = cpu_seconds() - start
    place = {name: k for k, name in enumerate(factors.names)}
    return values[:, :, [place[name] for name in names]], spent


def disagreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The share of cells, known to both, that differ by more than 1e-3 of the factor's own spread."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    spread = np.nanstd(np.where(np.isfinite(theirs), theirs, np.nan)) or 1.0
    with np.errstate(invalid="ignore"):
        wrong = both & (np.abs(ours - theirs) > 1e-3 * np.maximum(spread, np.abs(theirs)))
    return float(wrong.sum() / max(1, both.sum()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=200)
    parser.add_argument("--days", type=int, default=2520)
    arguments = parser.parse_args()
    try:
        import qlib  # noqa: F401
    except ImportError:
        print("pyqlib is not installed: pip install pyqlib==0.9.7 into an environment of its own")
        return 0
    warnings.simplefilter("ignore")
    panel = make_panel(arguments.days, arguments.assets)
    theirs, names, their_seconds = run_qlib(panel)
    ours, our_seconds = run_ours(panel, names)
    apart = {name: disagreement(ours[60:, :, k], theirs[60:, :, k]) for k, name in enumerate(names)}
    worst = sorted(apart.items(), key=lambda item: -item[1])[:5]
    print(f"Alpha158, {arguments.days:,} days x {arguments.assets} assets, float32, one thread, CPU seconds")
    print(f"cells that differ: {', '.join(f'{name} {share:.2%}' for name, share in worst)}; the others less")
    print(f"alphaloom {our_seconds:8.2f}")
    print(f"qlib      {their_seconds:8.2f}   ratio {their_seconds / our_seconds:.1f}")
    wrong = [name for name, share in apart.items() if share > 0.001 and not name.startswith(CONSTANT)]
    if wrong:
        print(f"disagree: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
