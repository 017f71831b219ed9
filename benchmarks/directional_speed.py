"""How long the directional service takes: 1,000 assets x 10 horizons from a stored model, and a training of full size.

    python benchmarks/directional_speed.py [--names 500] [--bars 2520] [--every 10] [--train]

Data are simulated, the model's weights are those of a short training: neither changes what a prediction costs.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.forecast import load_model, save_model
from alphaloom.forecast.directional import DirectionalForecaster, DirectionalNets
from alphaloom.market import Market


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=500, help="assets of the training")
    parser.add_argument("--bars", type=int, default=2520, help="bars of the training")
    parser.add_argument("--every", type=int, default=10, help="one date in so many is learnt from")
    parser.add_argument("--threads", type=int, default=2, help="threads of the training")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--train", action="store_true", help="train the full system too")
    given = parser.parse_args()
    _predict()
    if given.train:
        _train(given)


def _predict() -> None:
    panel = simulate(EmbeddedMarket(days=420, assets=1000, members=1.0, late=0.0, seed=1))
    model = DirectionalNets(every=30, epochs=1).fit(panel[:400], Market())
    with tempfile.TemporaryDirectory() as folder:
        path = save_model(model, Path(folder) / "model.json")
        started = time.perf_counter()
        stored = load_model(path)
        assert isinstance(stored, DirectionalForecaster)
        view = panel[len(panel) - stored.lookback - 1 :]
        told = stored.probabilities(view)[-1]
        signal = stored.predict(view).values[-1]
        taken = time.perf_counter() - started
    print(f"from a stored model: {told.shape[0]} assets x {told.shape[1]} horizons and the signal in {taken:.1f} s")
    print(f"spoken about: {int((signal == signal).sum())} assets; nets: {len(stored.nets)}")


def _train(given: argparse.Namespace) -> None:
    panel = simulate(EmbeddedMarket(days=given.bars, assets=given.names, members=1.0, late=0.0, seed=1))
    learner = DirectionalNets(every=given.every, threads=given.threads, device=given.device)
    started = time.perf_counter()
    model = learner.fit(panel, Market())
    taken = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"training: {given.names} assets x {given.bars} bars, every {given.every}: {taken:.0f} s, {memory:.1f} GB")
    print("; ".join(model.notes))


if __name__ == "__main__":
    main()
