"""What a person sees while a search runs: the best formulas, how strong they are, how fast it goes, what is refused."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from alphaloom.app.console import out

if TYPE_CHECKING:
    from rich.console import Group

    from alphaloom.mining import Session

__all__ = ["state_of", "watching"]

SHOWN = 8


@contextmanager
def watching(quiet: bool = False) -> Iterator[Callable[[Session], None]]:
    """A live view on stderr; silent where stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda session: None
        return
    from rich.live import Live

    began: list[tuple[float, int]] = []
    with Live(console=out(error=True), transient=True, refresh_per_second=4) as live:

        def show(session: Session) -> None:
            now = time.monotonic()
            if not began:
                began.append((now, session.evaluations))
            since, before = began[0]
            rate = (session.evaluations - before) / (now - since) if now > since else 0.0
            live.update(state_of(session, rate))

        yield show


def state_of(session: Session, rate: float) -> Group:
    """The pool's strongest formulas and the counts, as they stand."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    counts, budget = session.counts, session.budget.evaluations
    table = Table(box=None, pad_edge=False)
    table.add_column("weight", justify="right")
    table.add_column("IC", justify="right")
    table.add_column("formula", overflow="ellipsis", no_wrap=True)
    held = sorted(zip(session.pool.weights, session.pool.alphas, strict=True), key=lambda one: -abs(one[0]))
    for weight, alpha in held[:SHOWN]:
        table.add_row(f"{weight:+.3f}", f"{alpha.ic:+.4f}", Text(str(alpha.expr)))
    invalid = {name.partition(".")[2]: count for name, count in sorted(counts.items()) if name.startswith("invalid.")}
    refused = ", ".join(f"{count:,} {name}" for name, count in invalid.items()) or "none"
    head = Text(f"IC of the pool {session.pool.ic:+.4f}   {session.evaluations:,} of {budget:,} evaluations")
    head.append(f"   {rate:,.0f}/s", style="cyan")
    foot = Text(
        f"{counts['cached']:,} cached   {counts['duplicate']:,} duplicates   invalid: {refused}", style="bright_black"
    )
    return Group(head, ProgressBar(total=budget, completed=min(session.evaluations, budget)), table, foot)
