"""The plan of a walk-forward study: which bars are learned from, and which are then traded."""

from __future__ import annotations

from dataclasses import dataclass

from alphaloom.errors import ConfigError, DataError, Fault

__all__ = ["Fold", "WalkForward"]


@dataclass(frozen=True, order=True)
class Fold:
    """One step of the walk: learn on rows [train_start, train_stop), trade on rows [test_start, test_stop)."""

    train_start: int
    train_stop: int
    test_start: int
    test_stop: int


@dataclass(frozen=True)
class WalkForward:
    """Learn on the past, trade the next block, move on by one block, until the data end.

    Unit: bars. `train` is the length of the training slice, or its least length when it is `expanding`; `test` is the
    length of a test block; `embargo` bars before a test block are neither learned from nor tested; `first` is the row
    at which testing begins, by default the earliest one possible.
    Time: the training slice ends where its test block, less the embargo, begins. A label that needs later rows is
    missing inside that slice, which is the purge; the embargo comes on top of it.
    Raises: ConfigError with every fault at once.
    """

    train: int
    test: int
    expanding: bool = False
    embargo: int = 0
    first: int | None = None

    def __post_init__(self) -> None:
        faults = [
            Fault(f"plan.{name}", "counts bars, at least one", value)
            for name, value in (("train", self.train), ("test", self.test))
            if not _is_count(value, 1)
        ]
        if not _is_count(self.embargo, 0):
            faults.append(Fault("plan.embargo", "counts bars, zero for none", self.embargo))
        if not faults and self.first is not None and not _is_count(self.first, self.train + self.embargo):
            rule = f"testing begins at row {self.train + self.embargo} (train + embargo) at the earliest"
            faults.append(Fault("plan.first", rule, self.first, "leave it out to begin there"))
        if faults:
            raise ConfigError("walk-forward plan", faults)

    @property
    def start(self) -> int:
        """The first row that is tested."""
        return self.train + self.embargo if self.first is None else self.first

    def folds(self, T: int) -> tuple[Fold, ...]:
        """The folds over T bars; their test blocks follow one another and cover every bar from the first to the last.

        Raises: DataError when T leaves fewer than two bars to test, since a decision needs a later bar to be judged.
        """
        need = self.start + 2
        if need > T:
            raise DataError(
                "a walk-forward needs its training bars, its embargo and two bars to test",
                found=f"{T} bars, {need} needed",
                where="plan",
                fix=f"bring {need - T} more bars, or shorten train, embargo or first",
            )
        return tuple(self._fold(at, min(at + self.test, T)) for at in range(self.start, T, self.test))

    def _fold(self, test_start: int, test_stop: int) -> Fold:
        stop = test_start - self.embargo
        return Fold(0 if self.expanding else stop - self.train, stop, test_start, test_stop)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
