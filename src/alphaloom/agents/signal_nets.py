"""The three nets of the baselines: what they look like, how they are taught, and what they say of a panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.observation import Observation, Observed, Observer
from alphaloom.agents.signal_policy import SignalPolicy, Sizing, sized
from alphaloom.agents.signal_rules import Signs
from alphaloom.errors import DataError, SolveError
from alphaloom.market import Market
from alphaloom.nn import FittedNet, Recurrent, Samples, Training, fit_net
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Architecture", "NetRule", "NetSignals", "WindowNet"]

Architecture = Literal["ann", "lstm", "cnn"]
_CLASSES = 3


@dataclass(frozen=True)
class WindowNet:
    """One of the three nets over a window of bars.

    Shape: (R, L, F) -> (R, O). "ann": the window laid out flat, then 128 and 64 neurons. "lstm": two layers of 64,
    read after the last bar. "cnn": convolutions over time of width 3 with 32 and then 64 channels, averaged over time.
    Source: arXiv:2508.20467 names the three kinds and no sizes; the sizes are ours.
    """

    kind: Architecture
    length: int

    def build(self, features: int, outputs: int) -> nn.Module:
        """The module with fresh weights, drawn from torch's present random state."""
        from torch import nn

        if self.kind == "lstm":
            return Recurrent("lstm", hidden=64, layers=2, dropout=0.0).build(features, outputs)
        if self.kind == "ann":
            wide = nn.Linear(self.length * features, 128)
            return nn.Sequential(nn.Flatten(), wide, nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, outputs))
        from alphaloom.agents.signal_modules import TimeConvolution

        return TimeConvolution(features, outputs)


@dataclass(frozen=True, eq=False)
class NetRule:
    """A taught net that says of each asset whether its next bar rises, falls or does neither."""

    observer: Observer
    net: FittedNet

    @property
    def lookback(self) -> int:
        """Rows before today that a signal reads."""
        return self.observer.lookback

    def signals(self, panel: Panel, start: int = 0) -> Signs:
        """1 rises, -1 falls, 0 neither or not to be said.   Shape: (T, N), zero before `start`."""
        observed = self.observer.observe(panel)
        said = np.zeros(panel.shape, dtype=np.int8)
        seen = _sayable(observed)
        seen[:start] = False
        row, column = np.nonzero(seen)
        if len(row):
            scores = self.net.predict_windows(observed.features, row, column, length=observed.window)
            said[row, column] = scores.argmax(axis=1) - 1
        return said

    def state(self) -> dict[str, Any]:
        """The stored form; the weights are arrays."""
        spec = self.net.spec
        assert isinstance(spec, WindowNet)
        return {
            "observer": self.observer.state(),
            "kind": spec.kind,
            "length": spec.length,
            "features": self.net.features,
            "weights": {name: np.array(values) for name, values in self.net.state.items()},
            "history": {name: list(values) for name, values in self.net.history.items()},
            "best": self.net.best,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> NetRule:
        """The rule that `state` described.   Raises: DataError where its weights do not fit its net."""
        if state["kind"] not in get_args(Architecture):
            raise DataError("a net of signals is ann, lstm or cnn", found=state["kind"], where="rule.kind")
        net = FittedNet(
            WindowNet(state["kind"], int(state["length"])),
            int(state["features"]),
            _CLASSES,
            {name: np.asarray(values) for name, values in state["weights"].items()},
            {name: tuple(float(value) for value in values) for name, values in state["history"].items()},
            int(state["best"]),
        ).fitting("rule.weights")
        return cls(Observer.from_state(state["observer"]), net)


@dataclass(frozen=True)
class NetSignals:
    """Buys what a net takes to rise, sells what it takes to fall: classes of the next return around a band.

    One net for all assets reads the window of each. Adam and cross-entropy; an epoch sees every date once, in batches
    of whole dates of about `batch` samples; at most `samples` are seen in all; the last `validation` rows of the
    training slice judge when to stop, and the best weights are kept. `band` is a fraction. Needs the extra `deep`.
    Time: it learns from labels that were known before those last rows, and scales by those rows alone.
    Deviation: the paper names the kinds of nets; sizes (see `WindowNet`), label, band, batch and stopping are ours.
    Raises: SolveError where there is nothing to learn from or to judge by.
    """

    net: Architecture = "ann"
    observation: Observation = field(default_factory=lambda: Observation(features="qtmrl", market=False, window=20))
    band: float = 0.005
    rate: float = 1e-4
    batch: int = 256
    samples: int = 1_000_000
    patience: int = 5
    validation: int = 252
    sizing: Sizing = "fraction"
    seed: int = 42
    threads: int = 1

    def __post_init__(self) -> None:
        sized(self.sizing)
        if self.net not in get_args(Architecture):
            raise DataError("a net of signals is ann, lstm or cnn", found=self.net, where="NetSignals.net")
        for name, least in (("batch", 1), ("samples", 1), ("validation", 1)):
            if getattr(self, name) < least:
                raise DataError(f"a count is at least {least}", found=getattr(self, name), where=f"NetSignals.{name}")
        if not 0.0 <= self.band < 1.0:
            raise DataError("a band is a fraction below one", found=self.band, where="NetSignals.band")
        self._training(1, 1)

    def fit(self, train: Panel, market: Market) -> SignalPolicy:
        """The policy of the net that the training slice teaches."""
        cut = max(1, len(train) - self.validation)
        observer = self.observation.fit(train[:cut])
        observed = observer.observe(train)
        returns = forward_returns(train, market).values
        sayable = _sayable(observed)
        learned, held = np.zeros((2, *train.shape), dtype=np.bool_)
        # What a slice that ends at the cut could have known: the purge is the absence of later rows.
        learned[:cut] = sayable[:cut] & np.isfinite(forward_returns(train[:cut], market).values)
        held[cut:] = sayable[cut:] & np.isfinite(returns[cut:])
        count, judges = int(learned.sum()), int(held.sum())
        if not count or not judges:
            raise SolveError(
                "a net of signals learns on some rows and is judged on later ones",
                found=f"{count} samples before the last {self.validation} rows, {judges} in them",
                where="NetSignals.validation",
                fix="train on more bars",
            )
        label = _classes(returns, self.band)
        data = _samples(observed, label, learned, held)
        training = self._training(count, len(np.unique(data.date[data.masks[0]])))
        net = fit_net(WindowNet(self.net, observed.window), data, training, outputs=_CLASSES)
        parts = np.bincount(label[learned], minlength=_CLASSES) / count
        note = (
            f"{self.net}: {count} samples, {judges} held, the best of {len(net.history['loss'])} epochs is "
            f"{net.best + 1}; falls {parts[0]:.0%}, neither {parts[1]:.0%}, rises {parts[2]:.0%}"
        )
        return SignalPolicy(NetRule(observer, net), sized(self.sizing), market, (note,))

    def _training(self, count: int, dates: int) -> Training:
        return Training(
            epochs=max(1, self.samples // count),
            patience=self.patience,
            lr=self.rate,
            weight_decay=0.0,
            dates_per_batch=max(1, round(self.batch * dates / count)),
            loss="cross_entropy",
            threads=self.threads,
            seed=self.seed,
        )


def _classes(returns: NDArray[np.float64], band: float) -> NDArray[np.int64]:
    """0 below the band, 1 within it, 2 above it; 1 for what is not known."""
    with np.errstate(invalid="ignore"):
        return 1 + (returns > band).astype(np.int64) - (returns < -band).astype(np.int64)


def _sayable(observed: Observed) -> NDArray[np.bool_]:
    """Where the whole window is there.   Shape: (T, N)."""
    seen = np.array(observed.usable, dtype=np.bool_)
    seen[: max(observed.first, observed.window - 1)] = False
    return seen


def _samples(
    observed: Observed, label: NDArray[np.int64], learned: NDArray[np.bool_], held: NDArray[np.bool_]
) -> Samples:
    row, column = np.nonzero(learned | held)
    return Samples(
        observed.features,
        label[row, column].astype(np.float32),
        row,
        fit=learned[row, column],
        held=held[row, column],
        column=column,
        length=observed.window,
    )
