"""How long a user waits for `import alphaloom` and `alphaloom --help`, beside the import of the peers.

Each figure is the best of several fresh interpreters. Peers that are not installed are named and left out.
Run: python benchmarks/start_time.py
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 0.5  # seconds that a user should never have to wait


def best_of(command: list[str], count: int) -> float:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5, help="fresh interpreters for each figure")
    count = parser.parse_args().count
    script = shutil.which("alphaloom", path=str(Path(sys.executable).parent)) or "alphaloom"
    ours = {
        "import alphaloom": best_of([sys.executable, "-c", "import alphaloom"], count),
        "alphaloom --help": best_of([script, "--help"], count),
    }
    bare = best_of([sys.executable, "-c", "pass"], count)
    print(f"{'what':24}{'seconds':>9}{'ratio to import alphaloom':>28}")
    print(f"{'python -c pass':24}{bare:9.3f}")
    for name, seconds in ours.items():
        print(f"{name:24}{seconds:9.3f}{seconds / ours['import alphaloom']:28.1f}")
    for peer in ("vectorbt", "bt"):
        if importlib.util.find_spec(peer) is None:
            print(f"import {peer:17} not installed")
            continue
        seconds = best_of([sys.executable, "-W", "ignore", "-c", f"import {peer}"], max(1, count // 2))
        print(f"import {peer:17}{seconds:9.3f}{seconds / ours['import alphaloom']:28.1f}")
    slow = [name for name, seconds in ours.items() if seconds > LIMIT]
    if slow:
        print(f"above {LIMIT} s: {', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
