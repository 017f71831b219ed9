"""`alphaloom mine`: search for formulas, look at what was found, read the test once, take the formulas along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["mine_app"]

mine_app = typer.Typer(
    help="Search for formulas on training rows alone; validation chooses; the test is read by `mine holdout`.",
    no_args_is_help=True,
)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a search.")]
Store = Annotated[
    Path | None, typer.Option("--data", help="A store made by `alphaloom data import`.", show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No live progress.")]


@mine_app.command("run")
def run_search(
    config: Annotated[Path, typer.Argument(help="A search as TOML, or the name of one that comes with alphaloom.")],
    data: Store = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override: dotted.key=value; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The seed of the search.", show_default=False)] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Directory of the search; runs/NAME-HASH without one.", show_default=False),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads that judge a batch; they change no result.", min=1)] = 1,
    quiet: Quiet = False,
) -> None:
    """Search for formulas and write the chosen pool and its page; a search that was stopped goes on where it was."""
    from alphaloom.app.console import out
    from alphaloom.app.mine import run_search as search
    from alphaloom.app.mine_config import load_search
    from alphaloom.report import mining_table, write_mining_page

    loaded = load_search(config, settings=settings or [], seed=seed, data=data, threads=threads)
    result, directory = search(loaded, out_dir, quiet=quiet)
    page = write_mining_page(result, directory / "mining.html")
    console = out()
    console.print(mining_table(result))
    console.print(f"pool: {directory / 'pool.toml'}", soft_wrap=True)
    console.print(f"report: {page}", soft_wrap=True)


@mine_app.command("report")
def report_search(directory: Directory) -> None:
    """Write the page of a finished search again and print its pool."""
    from alphaloom.app.console import out
    from alphaloom.report import mining_table, write_mining_page
    from alphaloom.study.mining import load_mining

    result = load_mining(directory)
    page = write_mining_page(result, directory / "mining.html")
    console = out()
    console.print(mining_table(result))
    console.print(f"report: {page}", soft_wrap=True)


@mine_app.command("holdout")
def read_test(
    directory: Directory,
    data: Store = None,
    placebos: Annotated[
        int | None, typer.Option(help="Placebo searches; as configured without.", min=0, show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads that judge a batch.", min=1)] = 1,
    quiet: Quiet = False,
) -> None:
    """Read the test: the only command that does. Every look is written down, and counts in the next one."""
    from alphaloom.app.console import out
    from alphaloom.app.mine import hold_search_out
    from alphaloom.report import mining_table, write_mining_page

    result = hold_search_out(directory, data=data, placebos=placebos, threads=threads, quiet=quiet)
    page = write_mining_page(result, directory / "mining.html")
    console = out()
    console.print(mining_table(result))
    console.print(f"report: {page}", soft_wrap=True)


@mine_app.command("export")
def export_pool(
    directory: Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The library to write.")],
) -> None:
    """Write the pool as a formula library, which `factors`, `check` and every learner read by its path."""
    from alphaloom.app.mine import export_pool as export

    count = export(directory, file)
    typer.echo(f"{count} formula{'s' if count != 1 else ''}: {file}")
