"""The command line: it reads arguments, calls the rooms, and shows what they return."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from alphaloom.app.mine_command import mine_app
from alphaloom.errors import AlphaloomError, ConfigError, DataError, Fault

__all__ = ["run_app"]


class _Root(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted: finished parts are kept, the same command goes on from there", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="alphaloom",
    cls=_Root,
    help="From raw prices to an honest report: walk-forward studies of trading systems with costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Bring prices into a store and look at what is in it.", no_args_is_help=True)
config_app = typer.Typer(help="Look at configurations.", no_args_is_help=True)
formula_app = typer.Typer(help="Look at formulas and at the libraries of them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(config_app, name="config")
app.add_typer(formula_app, name="formula")
app.add_typer(mine_app, name="mine")

Store = Annotated[
    Path | None, typer.Option("--data", help="A store made by `alphaloom data import`.", show_default=False)
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override: dotted.key=value; may be repeated.")]
Seed = Annotated[
    int | None, typer.Option("--seed", help="The seed of the study; data keep their own.", show_default=False)
]


def run_app() -> None:
    """Run the command line; faults become a message and an exit code, never a traceback."""
    from alphaloom.app.console import show_error

    try:
        app(standalone_mode=True)
    except AlphaloomError as fault:
        show_error(fault)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as fault:
        place = f" ({fault.filename})" if fault.filename else ""
        show_error(DataError("a file could not be read or written", found=f"{fault.strerror or fault}{place}"))
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    if version:
        from alphaloom import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A study as TOML, or the name of one that comes with alphaloom.")],
    data: Store = None,
    settings: Settings = None,
    seed: Seed = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Run directory; runs/NAME-HASH without one.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option(help="Folds that are learned at the same time, each in its process.", min=1)] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Run a walk-forward study and write its report; a run that was stopped goes on where it was."""
    from alphaloom.app.config import load_config
    from alphaloom.app.console import out, progress
    from alphaloom.app.runs import run_study
    from alphaloom.report import summary_table, write_report

    study = load_config(config, settings=settings or [], seed=seed, data=data)
    with progress(quiet) as report:
        result, directory = run_study(study, out_dir, report, jobs=jobs)
        report("report", 0, 1)
        page = write_report(result, directory / "report.html")
        report("report", 1, 1)
    console = out()
    console.print(summary_table(result))
    console.print(f"report: {page}", soft_wrap=True)


@app.command()
def arena(
    configs: Annotated[list[Path], typer.Argument(help="Studies as TOML, or names of those that come with alphaloom.")],
    data: Store = None,
    settings: Settings = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="So many seeds, from the first study's own on; 1 without.", min=1),
    ] = None,
    seed_list: Annotated[str | None, typer.Option(help="The seeds themselves, such as 7,8,9.")] = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Run each system with each of its steps off too.")] = False,
    steps: Annotated[
        list[str] | None, typer.Option("--step", help="Only this one of a system's variants; may be repeated.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Folds that are learned at the same time, each in its process.", min=1)] = 1,
    random: Annotated[int, typer.Option(help="Portfolios drawn by lot for each study.", min=2)] = 200,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of the arena; runs/arena-HASH without one.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Run several studies on one panel, market and plan, and judge them together: seeds, luck, controls, a verdict.

    Every run is an ordinary run in DIR/runs/NAME-SEED. An arena that was stopped goes on where it was.
    """
    from alphaloom.app.arena import open_contest, run_arena
    from alphaloom.app.console import out, progress
    from alphaloom.report import arena_table, write_arena_page

    contest = open_contest(configs, seeds=(seeds, seed_list), data=data, settings=settings or [], steps=steps or ablate)
    with progress(quiet) as report:
        result, directory = run_arena(contest, out_dir, report, jobs=jobs, random=random)
        report("report", 0, 1)
        page = write_arena_page(result, directory / "arena.html")
        report("report", 1, 1)
    if json_out:
        typer.echo((directory / "arena.json").read_text(encoding="utf-8"), nl=False)
        return
    console = out()
    console.print(arena_table(result))
    console.print(f"report: {page}", soft_wrap=True)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    json_out: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON and write nothing.")] = False,
) -> None:
    """Write the report of a finished run again, or print its numbers as JSON."""
    from alphaloom.app.console import out
    from alphaloom.report import summary_json, summary_table, write_report
    from alphaloom.study import load_run

    result = load_run(directory)
    if json_out:
        import json

        typer.echo(json.dumps(summary_json(result), indent=2, sort_keys=True, allow_nan=False))
        return
    console = out()
    page = write_report(result, directory / "report.html")
    console.print(summary_table(result))
    console.print(f"report: {page}", soft_wrap=True)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A Python file, a formula library (.toml) or formulas (.txt).")],
    data: Store = None,
    rows: Annotated[int, typer.Option(help="Random rows at which models are attacked.", min=1)] = 50,
    seed: Annotated[int, typer.Option(help="The seed of the attacks.", min=0)] = 0,
) -> None:
    """Attack the future of your own file: its past must not move.

    The Python file is run, so check only files that you trust. It is searched for: signal, features, weights, prepare,
    equity (functions of a panel), learner or make_learner, forecaster or make_forecaster, policy or make_policy,
    formulas, market.
    """
    from alphaloom.app.check import check_panel, run_checks
    from alphaloom.app.console import out, show_findings
    from alphaloom.app.sources import StoreView, load_panel

    panel = check_panel() if data is None else load_panel(StoreView(str(data)))
    with out(error=True).status("checking") as status:
        findings = run_checks(
            file, panel, rows=rows, seed=seed, progress=lambda name: status.update(f"checking {name}")
        )
    show_findings(findings)
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


@app.command()
def factors(
    library: Annotated[str, typer.Argument(help="A library that comes with alphaloom, or a file of formulas (.toml).")],
    data: Annotated[Path, typer.Option("--data", help="A store made by `alphaloom data import`.")],
    horizons: Annotated[
        str, typer.Option(help="Bars over which returns are taken; the first one ranks.")
    ] = "1,5,10,20",
    start: Annotated[str | None, typer.Option(help="First day judged; earlier ones are look-back.")] = None,
    end: Annotated[str | None, typer.Option(help="Last day that is read.", show_default=False)] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder; runs/factors-NAME-HASH without one.", show_default=False)
    ] = None,
    rows: Annotated[int, typer.Option(help="Factors to print, 0 for all.", min=0)] = 30,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Judge each factor of a library alone: coefficients, decay, returns by fifth, turnover, and the part of luck."""
    from alphaloom.app.console import out, progress
    from alphaloom.app.factors_command import analyse_library, read_horizons
    from alphaloom.report import factor_table

    bars = read_horizons(horizons)
    with progress(quiet) as report:
        found, place = analyse_library(
            library, data, horizons=bars, span=(start, end), directory=out_dir, progress=report
        )
    console = out()
    console.print(factor_table(found, rows=rows))
    console.print(f"report: {place / 'factors.html'}", soft_wrap=True)


@app.command()
def daily(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run.")],
    date: Annotated[str | None, typer.Option("--date", help="The bar to run; the last one there is.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="Run all bars from this day on.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last of them.")] = None,
    data: Store = None,
    broker: Annotated[str, typer.Option(help="paper: an account inside the run; none: only say what to do.")] = "paper",
    guards: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE[,...]: max_order, max_position, max_turnover, kill_switch, ...")
    ] = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the days as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Go on with a run: tonight's signal and orders; a day that was run before is checked and changes nothing."""
    from alphaloom.app.console import out, progress
    from alphaloom.app.daily import Span, day_facts, read_guards, run_days
    from alphaloom.app.daily_tables import show_days

    if broker not in ("paper", "none"):
        raise ConfigError("the command line", [Fault("--broker", "is paper or none", broker)])
    span, limits = Span.read(date, first, last), read_guards(guards or [])
    with progress(quiet) as report:
        done = run_days(
            directory, span, store=data, traded=broker == "paper", guards=limits, progress=report
        )  # fmt: skip
    if json_out:
        import json

        typer.echo(json.dumps([day_facts(one) for one in done], indent=1, allow_nan=False))
        return
    show_days(done, out())


@app.command()
def doctor() -> None:
    """Say what this installation can do, what is missing, and how to get it."""
    from rich.table import Table

    from alphaloom.app.console import out
    from alphaloom.app.doctor import examine

    symptoms = examine(Path.cwd())
    table = Table(box=None, pad_edge=False)
    for title in ("", "what", "found", "way out"):
        table.add_column(title, overflow="fold")
    styles = {"ok": "green", "missing": "yellow", "broken": "bold red"}
    for one in symptoms:
        table.add_row(
            f"[{styles[one.state]}]{one.state}[/]",
            one.subject,
            one.detail.replace("[", r"\["),
            one.fix.replace("[", r"\["),
        )
    out().print(table)
    if any(one.state == "broken" for one in symptoms):
        raise typer.Exit(1)


@config_app.command("show")
def show_config(
    config: Annotated[Path, typer.Argument(help="A study as TOML.")],
    data: Store = None,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Print a configuration with every default spelled out."""
    from alphaloom.app.config import describe, load_config
    from alphaloom.study import toml_text

    typer.echo(toml_text(describe(load_config(config, settings=settings or [], seed=seed, data=data))))


@config_app.command("list")
def list_configs() -> None:
    """Name the configurations that come with alphaloom; `run` takes a name as well as a file."""
    from alphaloom.app.config import shipped_configs

    for name, path in shipped_configs().items():
        first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        typer.echo(f"{name:24}{first}")


@data_app.command("import")
def import_data(
    store: Annotated[Path, typer.Option(help="The directory of the store; made if it does not exist.")],
    prices: Annotated[
        list[Path] | None,
        typer.Argument(help="CSV or Parquet files of bars, or a pattern in quotes; none to bring other files only."),
    ] = None,
    columns: Annotated[list[str] | None, typer.Option("--map", help="OURS=THEIRS, for example date=Date.")] = None,
    sectors: Annotated[Path | None, typer.Option(help="Table of asset and labels.", show_default=False)] = None,
    labels: Annotated[list[str] | None, typer.Option(help="Label columns of --sectors; guessed without.")] = None,
    membership: Annotated[Path | None, typer.Option(help="Table of asset, start, end.", show_default=False)] = None,
    series: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE[?column=C&lag=1d&carry=yes], for example vix=vix.parquet.")
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="File of the index level.", show_default=False)] = None,
    fundamentals: Annotated[
        Path | None, typer.Option(help="Table of asset, period_end, available_date, numbers.", show_default=False)
    ] = None,
    documents: Annotated[Path | None, typer.Option(help="Table of time, asset, text.", show_default=False)] = None,
    actions: Annotated[Path | None, typer.Option(help="Table of asset, ex-date, split, dividend.")] = None,
    adjustment: Annotated[str, typer.Option(help="auto, adj_close, chained, events, preclose or none.")] = "auto",
    limits: Annotated[str, typer.Option(help="Price limits by a market's rules: none or a_share.")] = "none",
    calendar: Annotated[str, typer.Option(help="Exchange calendar for gaps: XNYS, XSHG, 24/7, none.")] = "XNYS",
    revise: Annotated[bool, typer.Option("--revise", help="Accept changed values of known bars.")] = False,
) -> None:
    """Import prices with everything that belongs to them, and print the validation report."""
    from alphaloom.app.console import out, progress
    from alphaloom.app.imports import Sources, import_files, validation_table

    sources = Sources(
        sectors, membership, fundamentals, documents, actions, benchmark, tuple(labels or ()), adjustment, limits
    )
    pairs = _pairs("--map", columns or []), _pairs("--series", series or [])
    with progress() as tell:
        noticed = import_files(
            prices or [], store, columns=pairs[0], series=pairs[1], sources=sources,
            calendar=None if calendar == "none" else calendar, revise=revise, progress=tell,
        )  # fmt: skip
    out().print(validation_table(noticed))
    out().print(f"store: {store}", soft_wrap=True)


@data_app.command("show")
def show_data(store: Annotated[Path, typer.Argument(help="The directory of a store.")]) -> None:
    """Say what a store holds: span, assets, fields, adjustment, quarantine."""
    from alphaloom.app.console import out
    from alphaloom.app.imports import store_table

    out().print(store_table(store))


@formula_app.command("list")
def list_formulas(
    library: Annotated[list[str] | None, typer.Option("--library", help="A library by name, or a .toml file.")] = None,
    family: Annotated[str, typer.Option("--family", help="Only factors of this family.")] = "",
    json_out: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Show every named factor: family, unit, look-back, formula and source."""
    from alphaloom.app.formulas import listed, show_list

    rows = listed(library or None, family)
    if json_out:
        import json

        typer.echo(json.dumps(rows, indent=1))
        return
    show_list(rows)


@formula_app.command("explain")
def explain_formula(
    formula: Annotated[str, typer.Argument(help='A formula such as "rank(close / open)", or a factor of --library.')],
    library: Annotated[str, typer.Option("--library", help="The library whose options and names hold.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a formula that mixes units.")] = False,
) -> None:
    """Show what a formula reads, means and costs, without any data."""
    from alphaloom.app.formulas import show_formula

    show_formula(formula, library, strict=strict)


def _pairs(option: str, settings: list[str]) -> dict[str, str]:
    pairs: dict[str, Any] = {}
    faults = []
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name or not value:
            faults.append(Fault(option, "reads NAME=VALUE", setting))
        pairs[name] = value
    if faults:
        raise ConfigError("the command line", faults)
    return pairs
