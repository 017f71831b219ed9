"""Every error that a user may meet, in one family.

A message has four parts: the rule, the value found, the place, the way out. They are kept apart so that the
terminal, the JSON output and the tests can each read the part they need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AlphaloomError",
    "AxisError",
    "ConfigError",
    "DataError",
    "DecisionError",
    "Fault",
    "FormulaError",
    "GrammarError",
    "LookaheadError",
    "SolveError",
    "UnitError",
]


class AlphaloomError(Exception):
    """A rule that was broken, with the value found, the place and the way out."""

    def __init__(self, rule: str, *, found: object = None, where: str = "", fix: str = "") -> None:
        self.rule = rule
        self.found = found
        self.where = where
        self.fix = fix
        super().__init__(rule)

    def __str__(self) -> str:
        parts = [self.rule]
        if self.where:
            parts.append(f"where: {self.where}")
        if self.found is not None:
            parts.append(f"found: {self.found}")
        if self.fix:
            parts.append(f"way out: {self.fix}")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only fields would be lost by the default protocol when a worker process sends an error home.
        return (_rebuild, (type(self), self.rule, self.found, self.where, self.fix))


def _rebuild(kind: type[AlphaloomError], rule: str, found: object, where: str, fix: str) -> AlphaloomError:
    error = kind.__new__(kind)
    AlphaloomError.__init__(error, rule, found=found, where=where, fix=fix)
    return error


class DataError(AlphaloomError):
    """Input data break a rule of the panel, the store or a source."""


class AxisError(AlphaloomError):
    """Times, assets or shapes of two values do not match."""


class FormulaError(AlphaloomError):
    """A formula cannot be used as it stands."""


class GrammarError(FormulaError):
    """A formula does not follow the grammar; `where` names the column."""


class UnitError(FormulaError):
    """A formula mixes units (price, share) in a way that has no meaning."""


class DecisionError(AlphaloomError):
    """A policy returned weights that cannot be traded."""


class SolveError(AlphaloomError):
    """An optimisation or a fit has no usable solution."""


class LookaheadError(AlphaloomError):
    """Something read rows that were not known at its time."""


@dataclass(frozen=True)
class Fault:
    """One fault of a configuration: dotted key, the rule, the value found, the way out."""

    key: str
    rule: str
    found: object = None
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.key}: {self.rule}"
        if self.found is not None:
            text += f" (found {self.found!r})"
        return text + (f"; {self.fix}" if self.fix else "")


class ConfigError(AlphaloomError):
    """A configuration with all its faults at once."""

    def __init__(self, where: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        super().__init__(f"the configuration has {count} fault{'s' if count != 1 else ''}", where=where)

    def __str__(self) -> str:
        return "\n".join([f"{self.where}: {self.rule}", *(f"  {fault}" for fault in self.faults)])

    def __reduce__(self) -> tuple[object, ...]:
        return (ConfigError, (self.where, self.faults))
