"""What a person sees while a search runs: the best formulas, how strong they are, how fast it goes, what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from alphaloom.app.console import out

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

    from alphaloom.mining import Session

__all__ = ["View", "state_of", "watching"]

SHOWN = 8


class View:
    """What is on the screen: the search as it stood when it last spoke, and what is done beside it."""

    def __init__(self, live: Live | None = None) -> None:
        self._live = live
        self._state: Group | None = None

    def show(self, session: Session) -> None:
        """Draw the search as it stands."""
        if self._live is not None:
            self._state = state_of(session)
            self._live.update(self._state)

    def tell(self, stage: str, done: int = 0, total: int = 1) -> None:
        """Say what is done before or after the search; a stage that is done says nothing."""
        if self._live is None:
            return
        from rich.console import Group
        from rich.text import Text

        above = [self._state] if self._state is not None else []
        self._live.update(Group(*above, *([Text(f"{stage} ...", style="cyan")] if done < total else [])))


@contextmanager
def watching(quiet: bool = False) -> Iterator[View]:
    """A live view on stderr; silent where stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield View()
        return
    from rich.live import Live

    with Live(console=out(error=True), transient=True, refresh_per_second=4) as live:
        yield View(live)


def state_of(session: Session) -> Group:
    """The pool's strongest formulas and the counts, as they stand; at least 80 columns are filled well."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    now = session.standing(best=0)
    table = Table(box=None, pad_edge=False)
    table.add_column("weight", justify="right")
    table.add_column("IC", justify="right")
    table.add_column("formula", overflow="ellipsis", no_wrap=True)
    held = sorted(zip(session.pool.weights, session.pool.alphas, strict=True), key=lambda one: -abs(one[0]))
    for weight, alpha in held[:SHOWN]:
        table.add_row(f"{weight:+.3f}", f"{alpha.ic:+.4f}", Text(str(alpha.expr)))
    head = Text(f"IC of the pool {now.pool_ic:+.4f}   {now.evaluations:,} of {now.budget:,} evaluations")
    if now.rate is not None:
        head.append(f"   {now.rate:,.0f}/s", style="cyan")
    part, left = _course(session, now.rate)
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(ProgressBar(total=1.0, completed=part), f"{_clock(now.seconds)} gone{left}")
    refused = ", ".join(f"{count:,} {name}" for name, count in now.invalid.items()) or "none"
    foot = f"{now.cached:,} cached   {now.duplicates:,} duplicates   invalid: {refused}"
    return Group(head, line, table, Text(foot, style="bright_black"))


def _course(session: Session, rate: float | None) -> tuple[float, str]:
    """How much of the budget is spent, and the time that is left; formulas or seconds, whichever end first."""
    done, budget = session.evaluations, session.budget
    part = done / budget.evaluations
    left = max(budget.evaluations - done, 0) / rate if rate else None
    if budget.seconds is not None:
        part = max(part, session.seconds / budget.seconds)
        remains = max(budget.seconds - session.seconds, 0.0)
        left = remains if left is None else min(left, remains)
    return min(part, 1.0), "" if left is None else f", {_clock(left)} left"


def _clock(seconds: float) -> str:
    """Hours where there are any, minutes and seconds."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
