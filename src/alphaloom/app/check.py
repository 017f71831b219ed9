"""`alphaloom check`: attack the future of a user's own file and see whether its past moves.

A Python file is run (so check only files that you trust) and searched for these module-level names, all optional:

`signal(panel)`, `features(panel)`, `weights(panel)`   arrays or values with one row for each row of the panel
`prepare(panel)`                                       a changed panel: universe, labels, new fields
`equity(panel)`                                        an own back-test's equity curve (T,) or strategy returns
`learner` or `make_learner(panel)`                     a Learner; the function form shows data used to build it
`forecaster` or `make_forecaster(panel)`               a Forecaster
`policy` or `make_policy(panel)`                       a Policy
`formulas`                                             a dict of name -> formula
`market`                                               the Market that a learner is fitted for

A `.toml` file is a formula library, a `.txt` file has one `name = formula` a line.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AlphaloomError, AxisError, DataError, LookaheadError
from alphaloom.factors.options import PLAIN, Options
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.testing import (
    check_forecaster,
    check_learner,
    check_policy,
    find_leak,
    find_same_bar_fill,
    probe_rows,
)

__all__ = ["Finding", "check_panel", "run_checks"]

NAMES = [
    "signal",
    "features",
    "weights",
    "prepare",
    "equity",
    "learner",
    "make_learner",
    "forecaster",
    "make_forecaster",
    "policy",
    "make_policy",
    "formulas",
]
_SUFFIXES = (".py", ".toml", ".txt")
_FRESH = 6  # loading a file anew may be slow; a kept future shows at the first probe
_SUSPECTS = {
    r"\.shift\(\s*-": "a negative shift reads later rows",
    r"center\s*=\s*True": "a centred window reads later rows",
    r"\.bfill\(|method\s*=\s*['\"]bfill|fill_null\(.*backward": "a backward fill reads later rows",
    r"\.interpolate\(": "interpolation reads the next known value",
    r"filtfilt|savgol|np\.fft|rfft": "a two-sided filter reads later rows",
    r"np\.roll\(": "np.roll wraps the end of the sample to its start",
    r"\[::-1\]": "a reversed array may accumulate from the end",
    r"train_test_split|KFold\(": "random splits mix dates",
    r"fit_transform\(": "a scaler fitted on all rows knows the future",
}


@dataclass(frozen=True)
class Finding:
    """One result of a check: what was checked, whether it passed, and what was seen.

    `ran` is False where the file itself could not be run or gave no usable output, which is a fault and not a leak.
    """

    subject: str
    passed: bool
    detail: str
    ran: bool = True


def check_panel(seed: int = 7, *, days: int = 420, assets: int = 30) -> Panel:
    """The embedded market on which a file is checked unless another panel is given."""
    from alphaloom.data import EmbeddedMarket, simulate

    return simulate(EmbeddedMarket(days=days, assets=assets, seed=seed))


def run_checks(
    path: Path,
    panel: Panel,
    *,
    rows: int = 50,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """Check everything that a file offers.

    Formulas are attacked at every row after their look-back, functions and models at `rows` random ones.
    Raises: DataError where the file offers nothing to check or cannot be run; FormulaError for a bad formula.
    """
    if not path.is_file() or path.suffix not in _SUFFIXES:
        found = path.suffix or "no suffix"
        if not path.is_file():
            found = "a directory" if path.is_dir() else "no such file"
        raise DataError(
            "a file to check exists and is Python, TOML or text",
            found=found,
            where=str(path),
            fix=f"name it with one of the suffixes {', '.join(_SUFFIXES)}" if path.is_file() else "check the path",
        )
    if path.suffix == ".py":
        module = _loaded(path)
        subjects = [*_subjects(module, panel, rows, seed), *_first_calls(path, module, panel, seed)]
        text = path.read_text(encoding="utf-8")
    else:
        formulas, options = _formulas_of(path)
        checks = ((name, _formula_check(name, one, panel, seed, options=options)) for name, one in formulas)
        subjects, text = [(f"formula {name}", run) for name, run in checks], ""
    if not subjects:
        raise DataError(
            "a file to check offers at least one of the known names",
            found="none of them",
            where=str(path),
            fix=f"name one of your own: {', '.join(NAMES)}" if path.suffix == ".py" else "write a formula a line",
        )
    findings = []
    for subject, check in subjects:
        progress(subject)
        findings.append(_judged(subject, check, text))
    return findings


def _judged(subject: str, check: Callable[[], str], text: str) -> Finding:
    try:
        return Finding(subject, True, check())
    except LookaheadError as leak:
        shown = str(leak.found) if leak.found is not None else str(leak)
        hints = [f"line {n}: {hint}" for n, hint in _suspects(text)]
        return Finding(subject, False, shown + ("".join(f"\n  look at {hint}" for hint in hints[:3])))
    except AxisError as fault:
        return Finding(subject, False, str(fault), ran=False)
    except AlphaloomError:
        raise
    except (Exception, SystemExit) as fault:
        return Finding(subject, False, f"cannot be run on the panel: {type(fault).__name__}: {fault}", ran=False)


def _subjects(module: ModuleType, panel: Panel, rows: int, seed: int) -> Iterator[tuple[str, Callable[[], str]]]:
    offered: Mapping[str, Any] = vars(module)
    probes = probe_rows(len(panel), rows, seed)

    def grid(run: Callable[[Panel], NDArray[Any]]) -> Callable[[], str]:
        return lambda: _no_leak(run, panel, probes, seed)

    for name in ("signal", "features", "weights"):
        if callable(offered.get(name)):
            yield name, grid(lambda p, f=offered[name]: _values(f(p)))  # type: ignore[misc]
            yield (
                f"{name}: splits",
                lambda f=offered[name]: _no_rebasing(  # type: ignore[misc]
                    lambda p: _values(f(p)), panel, seed
                ),
            )
    if callable(offered.get("prepare")):
        yield "prepare", grid(lambda p: _everything(offered["prepare"](p)))
    if callable(offered.get("equity")):
        yield "equity", grid(lambda p: np.asarray(offered["equity"](p)))
        yield "equity: fills", lambda: _no_same_bar_fill(offered["equity"], panel, probes)
    market = offered.get("market", Market())
    for name in ("learner", "make_learner"):
        if name in offered:
            yield name, _model_check(check_learner, offered[name], panel, rows, market=market, seed=seed)
    for name, check in (("forecaster", check_forecaster), ("policy", check_policy)):
        if name in offered:
            yield name, _model_check(check, offered[name], panel, rows, seed=seed)
        if f"make_{name}" in offered:
            yield f"make_{name}", _factory_check(offered[f"make_{name}"], panel, rows, seed, name)
    for name, formula in dict(offered.get("formulas", {})).items():
        yield f"formula {name}", _formula_check(name, str(formula), panel, seed)


def _first_calls(path: Path, module: ModuleType, panel: Panel, seed: int) -> Iterator[tuple[str, Callable[[], str]]]:
    """The same outputs from a file loaded anew for each question: what was kept from an earlier call is gone.

    A file that fits a scaler at its first call and keeps it would otherwise answer every attack with the first panel's
    future in its memory.
    """
    probes = probe_rows(len(panel), _FRESH, seed + 1)

    def fresh(name: str) -> Any:
        return vars(_loaded(path))[name]

    for name in ("signal", "features", "weights"):
        if callable(vars(module).get(name)):
            yield (
                f"{name}: first call",
                lambda n=name: _no_leak(  # type: ignore[misc]
                    lambda p: _values(fresh(n)(p)), panel, probes, seed
                ),
            )
    if "forecaster" in vars(module):
        yield (
            "forecaster: first call",
            lambda: _no_leak(lambda p: fresh("forecaster").predict(p).values, panel, probes, seed),
        )


def _model_check(check: Callable[..., None], model: Any, panel: Panel, rows: int, **more: Any) -> Callable[[], str]:
    def run() -> str:
        check(model, panel, rows=rows, **more)
        return f"{rows} random rows, three attacks each"

    return run


def _factory_check(make: Callable[[Panel], Any], panel: Panel, rows: int, seed: int, role: str) -> Callable[[], str]:
    """A forecaster or policy made from data is a learner that forgot to say what it learns from."""

    @dataclass(frozen=True)
    class Made:
        model: Any

        def fit(self, train: Panel, market: Market) -> Any:
            return self.model

    def run() -> str:
        check_learner(lambda changed: Made(make(changed)), panel, rows=rows, seed=seed)
        return f"{role} made anew on each attacked panel, {rows} random rows"

    return run


def _no_leak(run: Callable[[Panel], NDArray[Any]], panel: Panel, probes: list[int], seed: int) -> str:
    leak = find_leak(run, panel, rows=probes, seed=seed)
    events = _events(np.asarray(run(panel)), len(probes)) if leak is None else []
    if events:  # a book that changes once a quarter can leak on those rows alone
        leak = find_leak(run, panel, rows=events, attacks=("cut",), seed=seed)
    if leak is not None:
        raise LookaheadError("what is said at row t depends on rows up to t only", found=leak)
    return f"{len(probes) + len(events)} rows, {'up to ' if events else ''}three attacks each"


def _events(values: NDArray[Any], count: int) -> list[int]:
    """Rows on which a mostly idle output changes, at most `count`, evenly spread; never the last row."""
    flat = values.reshape(len(values), -1)
    same = (flat[1:] == flat[:-1]) | (np.isnan(flat[1:]) & np.isnan(flat[:-1]))
    rows = 1 + np.flatnonzero(~same.all(axis=1))
    rows = rows[rows < len(values) - 1]
    if len(rows) > len(values) // 2:
        return []
    return [int(row) for row in rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]]


def _no_rebasing(run: Callable[[Panel], NDArray[Any]], panel: Panel, seed: int) -> str:
    """Split every asset once more, as a later vendor file would: ratios stay, levels move.

    A column that is only stretched or shifted as a whole keeps its shape over time and is let pass.
    """
    truth = np.asarray(run(panel))
    settled = len(panel) // 3  # the start-up of a filter may know the first level
    before = truth[settled:].reshape(len(panel) - settled, -1).T
    for direction in (-1.0, 1.0):  # all levels far down, then far up, so that any threshold is crossed
        rng = np.random.default_rng([seed, 41])
        factor = 2.0 ** (direction * rng.choice([5.0, 6.0, 7.0], panel.shape[1]))
        fields = {}
        for name, values in panel.fields.items():
            unit = panel.units[name]
            fields[name] = (values * factor ** (unit.price - unit.share)).astype(values.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = np.asarray(run(panel.replace(fields=fields, source="split once more")))
        after = told[settled:].reshape(len(panel) - settled, -1).T
        moved = [not _stretched(old, new) for old, new in zip(before, after, strict=True)]
        # A gap that is filled with a constant, or a logarithm of no volume, moves a few columns and is no threshold.
        if 2 * sum(moved) > len(moved):
            raise LookaheadError(
                "an output on adjusted prices may not change with later splits and dividends",
                found="a later split or dividend re-bases old prices and with them "
                f"{sum(moved)} of {len(moved)} outputs",
                fix="use ratios of prices, or close / adj_factor where the level of the day is meant",
            )
    return "unchanged when every asset splits once more"


def _stretched(old: NDArray[np.float64], new: NDArray[np.float64]) -> bool:
    known = np.isfinite(old)
    if not np.array_equal(known, np.isfinite(new)):
        return False
    old, new = old[known], new[known]
    if len(old) < 3 or np.allclose(old, new, rtol=1e-5, atol=1e-9):
        return True
    x, y = old - old.mean(), new - new.mean()
    slope = (x @ y) / max(x @ x, 1e-300)
    return bool(np.abs(y - slope * x).max() <= 1e-3 * max(np.abs(y).max(), np.abs(new).max() * 1e-3, 1e-300))


def _no_same_bar_fill(equity: Callable[[Panel], Any], panel: Panel, probes: list[int]) -> str:
    leak = find_same_bar_fill(lambda p: np.asarray(equity(p)), panel, rows=probes)
    if leak is not None:
        raise LookaheadError(
            "a bar's result comes from shares held before its close",
            found=f"the result of {leak.where} bends with that bar's own close: "
            "the position had seen the price it was filled at",
        )
    return f"{len(probes)} rows: the result is a straight line in the bar's close"


def _formula_check(name: str, formula: str, panel: Panel, seed: int, *, options: Options = PLAIN) -> Callable[[], str]:
    from alphaloom.factors import evaluate_one, lookback, parse, split_safe

    def run() -> str:
        expr = parse(formula)
        reach = lookback(expr)
        evaluate_one(
            expr, panel[:1], options=options
        )  # an unknown name is a mistake of spelling, whatever its unit would be
        if not split_safe(expr, panel.units, options=options):
            raise LookaheadError(
                "a formula on adjusted prices may not change with later splits and dividends",
                found=f"{formula}: a later split or dividend re-bases old prices and with them this value "
                "(a level is compared with a number or ranked across assets)",
            )
        if reach + 2 >= len(panel):
            raise DataError(
                "a check needs more rows than the formula looks back", found=f"{len(panel)} rows, look-back {reach}"
            )
        part = panel[max(0, len(panel) - reach - 120) :]
        probes = list(range(min(reach, len(part) - 2), len(part) - 1))
        return _no_leak(lambda p: evaluate_one(expr, p, options=options), part, probes, seed)

    return run


def _values(value: Any) -> NDArray[Any]:
    """The array inside whatever a user's function returns."""
    inner = getattr(value, "values", value)
    return np.asarray(inner, dtype=np.float64)


def _everything(panel: Any) -> NDArray[Any]:
    """All arrays of a prepared panel side by side."""
    if not isinstance(panel, Panel):
        raise DataError("prepare(panel) returns a Panel", found=type(panel).__name__, where="prepare")
    grids = [*panel.fields.values(), *panel.labels.values(), panel.member, panel.listed, panel.buyable, panel.sellable]
    columns = [np.asarray(grid, dtype=np.float64) for grid in grids]
    columns += [np.asarray(series)[:, None] for series in panel.series.values()]
    return np.concatenate(columns, axis=1)


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"checked_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DataError("a file to check is Python, TOML or text", found=str(path), where="check")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except AlphaloomError:
        raise
    except (Exception, SystemExit) as fault:
        raise DataError(
            "a file to check can be loaded by itself",
            found=f"{type(fault).__name__}: {fault}",
            where=str(path),
            fix="run it with python first; what is a script's own work belongs under `if __name__ == '__main__':`",
        ) from fault
    return module


def _formulas_of(path: Path) -> tuple[list[tuple[str, str]], Options]:
    """Names and formulas of a file, and the options under which they are meant."""
    if path.suffix == ".toml":
        from alphaloom.factors import load_library

        factors = load_library(path)
        return [(factor.name, str(factor.expr)) for factor in factors.factors], factors.options
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        named = re.match(r"([A-Za-z_]\w*)\s*=(?!=)\s*(.+)", text)
        pairs.append((named[1], named[2]) if named else (f"line {number}", text))
    return pairs, PLAIN


def _suspects(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, hint in _SUSPECTS.items():
            if re.search(pattern, line.split("#")[0]):
                yield number, f"{hint}: {line.strip()}"
