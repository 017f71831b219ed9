"""What the folds learned, joined into one signal or one policy over the whole test span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError, ConfigError, DataError, Fault
from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.roles import Forecaster, Learner, Policy, ScheduledPolicy
from alphaloom.signal import Signal
from alphaloom.study.folds import Fold

__all__ = [
    "FoldOutcome",
    "FoldWork",
    "ScheduledSwitch",
    "Switch",
    "Walk",
    "counts_of",
    "notes_of",
    "shared_notes",
    "shuffled_signal",
    "stitched",
    "switching",
]


@dataclass(frozen=True, eq=False)
class FoldOutcome:
    """What one fold gave: the signal of its test rows, or a policy for them."""

    made: Signal | Policy
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Walk:
    """All folds joined: what is traded over the test span, and the signal behind it if there is one.

    `notes` were said in every fold (or by the policy itself); `fold_notes` holds what single folds said besides.
    """

    folds: tuple[Fold, ...]
    policy: Policy
    signal: Signal | None
    notes: tuple[str, ...]
    fold_notes: tuple[str, ...] = ()

    @property
    def start(self) -> int:
        """The first row that is tested."""
        return self.folds[0].test_start


@dataclass(frozen=True, eq=False)
class FoldWork:
    """Learns on the training slice of a fold and speaks on its test block; an executor maps it over folds.

    Time: the learner sees panel[train_start:train_stop]; the forecaster sees its look-back and the test block, and
    only the rows of the test block are kept.
    """

    learner: Learner | Forecaster | Policy
    panel: Panel
    market: Market

    def __call__(self, fold: Fold) -> FoldOutcome:
        model: Any = self.learner
        if isinstance(model, Learner):
            model = model.fit(self.panel[fold.train_start : fold.train_stop], self.market)
        notes = notes_of(model)
        if not isinstance(model, Forecaster):
            if not isinstance(model, Policy):
                rule = "fit gives a forecaster (lookback, predict) or a policy (lookback, decide)"
                raise ConfigError("study", [Fault("learner", rule, type(model).__name__)])
            return FoldOutcome(model, notes)
        begin = max(0, fold.test_start - model.lookback)
        view = self.panel[begin : fold.test_stop]
        signal = model.predict(view)
        _check_axes(signal, view)
        return FoldOutcome(signal[fold.test_start - begin :], notes)


def shared_notes(parts: Sequence[FoldOutcome]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What every fold said, and for each fold what it alone said."""
    shared = tuple(note for note in parts[0].notes if all(note in part.notes for part in parts)) if parts else ()
    return shared, tuple("; ".join(note for note in part.notes if note not in shared) for part in parts)


def notes_of(model: object) -> tuple[str, ...]:
    """What a model says about itself that a reader of the result must know."""
    return tuple(str(note) for note in getattr(model, "notes", ()))


def counts_of(policy: object) -> dict[str, int]:
    """What a policy counted while it decided: solves, fallbacks and the like; none for a policy that counts nothing."""
    found = getattr(policy, "counts", None)
    return {str(name): int(count) for name, count in found.items()} if isinstance(found, Mapping) else {}


def _check_axes(signal: Signal, view: Panel) -> None:
    if signal.assets != view.assets or not np.array_equal(signal.times, view.times):
        raise AxisError(
            "a forecaster speaks about every bar and every asset of the panel that it was given",
            found=f"{len(signal.times)} bars and {len(signal.assets)} assets",
            where="predict",
            fix=f"return a signal of {len(view)} bars and {len(view.assets)} assets, NaN where there is no view",
        )


def stitched(parts: Sequence[Signal]) -> Signal:
    """Signals of consecutive test blocks as one signal.   Raises: DataError when they are not of one kind."""
    kinds = {(part.kind, part.horizon) for part in parts}
    if len(kinds) > 1:
        raise DataError(
            "the folds of a study must give signals of one kind and one horizon",
            found=", ".join(f"{kind} over {horizon}" for kind, horizon in sorted(kinds)),
            where="study.learner",
        )
    times = np.concatenate([part.times for part in parts])
    return replace(parts[0], times=times, values=np.concatenate([part.values for part in parts]))


def shuffled_signal(signal: Signal, seed: int) -> Signal:
    """The same scores dealt to other assets, bar by bar: a control that knows nothing about the assets.

    Time: scores stay on their bar.   Missing: an asset without a view stays without one.
    """
    random = np.random.default_rng(seed)
    values = signal.values.copy()
    for row in values:
        known = ~np.isnan(row)
        row[known] = random.permutation(row[known])
    return replace(signal, values=values, name=f"shuffled {signal.name}")


@dataclass(frozen=True, eq=False)
class Switch:
    """A policy that asks the policy of the latest block that has begun.

    Shape: `starts` (M,) ascending, one time for each of the M policies.
    Time: decisions before the first start hold what is held.
    """

    starts: NDArray[np.datetime64]
    policies: tuple[Policy, ...]

    @property
    def lookback(self) -> int:
        """The largest look-back of the policies."""
        return max(policy.lookback for policy in self.policies)

    @property
    def counts(self) -> dict[str, int]:
        """What the policies counted, added up."""
        total: dict[str, int] = {}
        for policy in self.policies:
            for name, count in counts_of(policy).items():
                total[name] = total.get(name, 0) + count
        return total

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The decision of the policy in charge on the last bar of the view."""
        at = int(np.searchsorted(self.starts, view.times[-1], side="right")) - 1
        return np.full(len(view.assets), np.nan) if at < 0 else self.policies[at].decide(view, book)


@dataclass(frozen=True, eq=False)
class ScheduledSwitch(Switch):
    """A switch between policies that all know their weights beforehand."""

    def weights(self, panel: Panel) -> NDArray[np.float64]:
        """Each policy's rows from its start to the next one's.   Shape: (T, N)."""
        T, N = panel.shape
        rows = np.full((T, N), np.nan)
        bounds = [*np.searchsorted(panel.times, self.starts).tolist(), T]
        for policy, begin, end in zip(self.policies, bounds[:-1], bounds[1:], strict=True):
            if isinstance(policy, ScheduledPolicy) and end > begin:
                rows[begin:end] = policy.weights(panel[:end])[begin:end]
        return rows


def switching(panel: Panel, folds: Sequence[Fold], *, policies: Sequence[Policy]) -> Policy:
    """One policy over all test blocks; scheduled when every part is."""
    starts = panel.times[[fold.test_start for fold in folds]]
    kind = ScheduledSwitch if all(isinstance(policy, ScheduledPolicy) for policy in policies) else Switch
    return kind(starts, tuple(policies))
