"""What a person sees in the terminal: errors, findings, progress. The only module that knows rich."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alphaloom.errors import AlphaloomError, ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from alphaloom.app.check import Finding

__all__ = ["out", "progress", "show_error", "show_findings"]


def out(*, error: bool = False) -> Console:
    """A console for results (stdout) or for faults and progress (stderr)."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    # A pipe has no width of its own; 80 columns would cut the tables that people redirect to files.
    return Console(file=stream, soft_wrap=False, width=None if stream.isatty() else 120, highlight=False)


def show_error(fault: AlphaloomError) -> None:
    """Print a fault: the rule, then what was found, where, and the way out."""
    from rich.text import Text

    console = out(error=True)
    console.print(Text("error: ", style="bold red") + Text(fault.rule))
    if isinstance(fault, ConfigError):
        console.print(Text(f"  in {fault.where}"))
        for one in fault.faults:
            line = Text("  - ") + Text(one.key, style="bold") + Text(f": {one.rule}")
            if one.found is not None:
                line.append(f" (found {one.found!r})")
            console.print(line)
            if one.fix:
                console.print(Text(f"      {one.fix}", style="cyan"))
        return
    for label, part, style in (
        ("where", fault.where, ""),
        ("found", fault.found, ""),
        ("way out", fault.fix, "cyan"),
    ):
        if part not in (None, ""):
            console.print(Text(f"  {label + ':':9}") + Text(str(part), style=style))


def show_findings(findings: Sequence[Finding]) -> None:
    """Print the results of a check, one block for each subject."""
    from rich.text import Text

    console = out()
    for finding in findings:
        word, style = ("pass", "bold green") if finding.passed else ("LEAK" if finding.ran else "FAIL", "bold red")
        mark = Text(f"{word} ", style=style)
        console.print(mark + Text(finding.subject, style="bold") + Text(f"  {finding.detail}"))
    leaks = sum(not finding.passed and finding.ran for finding in findings)
    failed = sum(not finding.ran for finding in findings)
    said = [f"{len(findings)} checked", f"{leaks} with a leak" if leaks else "no leak found"]
    console.print(", ".join([*said, f"{failed} could not be run"] if failed else said))


@contextmanager
def progress(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on stderr, one for each stage; silent where stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out(error=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report
