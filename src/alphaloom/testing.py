"""Checks of the law of time, for our own models and for anybody's.

Each check runs the thing twice, on the panel as it is and on a panel whose future was attacked: cut off, shuffled or
poisoned. What was said up to row t may not change. Slicing hides the future from honest code; these checks find the
code that got hold of it anyway.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.corpus import Corpus
from alphaloom.errors import AxisError, DecisionError, LookaheadError
from alphaloom.market import Book, History, Market
from alphaloom.panel import Panel
from alphaloom.roles import Forecaster, Learner, Policy, ScheduledPolicy

__all__ = [
    "Attack",
    "Leak",
    "attacked",
    "check_forecaster",
    "check_learner",
    "check_policy",
    "decision",
    "find_leak",
    "find_same_bar_fill",
    "probe_rows",
]

Attack = Literal["cut", "shuffle", "poison"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
_MASKS = ("member", "listed", "buyable", "sellable")


@dataclass(frozen=True)
class Leak:
    """The first place found where the past changed with the future."""

    attack: str
    known_to: np.datetime64
    where: str
    before: float
    after: float

    def __str__(self) -> str:
        return (
            f"when the rows after {_day(self.known_to)} are attacked ({self.attack}), the output at {self.where} "
            f"changes from {self.before:.6g} to {self.after:.6g}"
        )


def attacked(panel: Panel, row: int, attack: Attack, seed: int = 0) -> Panel:
    """The panel with everything after `row` cut off, shuffled or poisoned; rows up to `row` are the same bits."""
    if attack == "cut":
        return panel[: row + 1]
    rng = np.random.default_rng([seed, row, ATTACKS.index(attack)])
    # Models may remember what they computed for a panel by its hash: other contents need another one.
    source = f"{panel.source}/{attack}/{row}/{seed}"
    T = len(panel)
    if attack == "shuffle":
        order = np.arange(T)
        order[row + 1 :] = row + 1 + rng.permutation(T - row - 1)
        return _mapped(panel, lambda values: values[order], panel.corpus, source)
    corpus = _poisoned_corpus(panel, row, rng)
    return _mapped(panel, lambda values: _poisoned(values, row, rng), corpus, source)


def find_leak(
    run: Callable[[Panel], NDArray[Any]],
    panel: Panel,
    *,
    rows: Sequence[int],
    attacks: Sequence[Attack] = ATTACKS,
    seed: int = 0,
) -> Leak | None:
    """The first leak of `run`, or None.

    Shape: `run` gives one row for each row of the panel it is given, (T, ...).
    Time: for each t of `rows` and each attack on the rows after t, the output rows 0..t must stay what they were, up to
    rounding (1e-6 of the value or of the column's scale).
    """
    truth = _checked_rows(run(panel), panel)
    for row in rows:
        for attack in attacks:
            changed = attacked(panel, row, attack, seed)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a poisoned panel may be odd; that is no fault of the model
                    told = _checked_rows(run(changed), changed)
            except Exception as fault:  # whatever breaks without its future needs that future
                raise LookaheadError(
                    f"a model must also run when the panel ends at {_day(panel.times[row])} or goes on differently",
                    found=f"{type(fault).__name__}: {fault} (attack: {attack})",
                ) from fault
            leak = _difference(truth[: row + 1], told[: row + 1], panel, row, attack)
            if leak is not None:
                return leak
    return None


def find_same_bar_fill(run: Callable[[Panel], NDArray[Any]], panel: Panel, *, rows: Sequence[int]) -> Leak | None:
    """A bar of an equity curve (or of strategy returns) that earns on a decision which had seen that bar's close.

    Shares held over bar t were decided before its close, so the slope of row t in its closes, which is those shares,
    does not depend on the closes. It is measured by small moves at the closes as they are and at closes that were
    pushed far away. Costs that are charged at the close which decides a trade bend the curve too, but by little: a
    slope counts as changed from a twentieth of the largest slope on.
    """
    slopes = []
    for row in rows:
        rng = np.random.default_rng([row, 17])
        far, step = 0.2 * rng.standard_normal((2, panel.shape[1])).clip(-2, 2)
        slopes.append([_slope(run, panel, row, base, step) for base in (np.zeros_like(far), far, -far)])
    table = np.array(slopes).reshape(-1, 3)
    change = np.abs(table[:, 1:] - table[:, :1]).max(axis=1, initial=0.0)
    bent = np.flatnonzero(change > 0.05 * np.abs(table).max(initial=0.0))
    if not len(bent):
        return None
    first = int(bent[0])
    when = panel.times[rows[first]]
    after = table[first, 1:][np.abs(table[first, 1:] - table[first, 0]).argmax()]
    where = f"{_day(when)} (what is earned when the close moves)"
    return Leak("the same bar's close", when, where, float(table[first, 0]), float(after))


def _slope(
    run: Callable[[Panel], NDArray[Any]], panel: Panel, row: int, base: NDArray[np.float64], step: NDArray[np.float64]
) -> float:
    tiny = 1e-5
    ends = [float(np.asarray(run(_pushed(panel, row, base + sign * tiny * step)))[row]) for sign in (-1.0, 1.0)]
    return (ends[1] - ends[0]) / (2.0 * tiny)


def check_forecaster(forecaster: Forecaster, panel: Panel, *, rows: int = 50, seed: int = 0) -> None:
    """Raise unless a forecaster obeys its law.

    The signal has the panel's axes, two predictions are equal, no row changes with the future, a row needs no more
    than `lookback` rows before it, and assets that were never members change nothing.
    Raises: AxisError, LookaheadError.
    """
    first = forecaster.predict(panel)
    if first.values.shape != panel.shape or first.assets != panel.assets:
        raise AxisError(
            "a signal has the panel's times and assets", found=first.values.shape, where="forecaster.predict"
        )
    if not _same(first.values, forecaster.predict(panel).values, exact=True):
        raise LookaheadError("equal panels must give equal signals", where="forecaster.predict", fix="fix the seed")
    probes = probe_rows(len(panel), rows, seed)
    _refuse(find_leak(lambda p: forecaster.predict(p).values, panel, rows=probes, seed=seed), "forecaster.predict")
    for row in probes[:5]:
        part = panel[max(0, row - forecaster.lookback) : row + 1]
        alone = forecaster.predict(part).values[-1]
        if not _same(alone, first.values[row], rtol=1e-3):
            raise LookaheadError(
                f"row t needs only the {forecaster.lookback} rows before it, as `lookback` declares",
                found=f"another signal at {_day(panel.times[row])} when older rows are missing",
                where="forecaster.lookback",
                fix="declare a longer look-back",
            )
    strangers: NDArray[np.bool_] = np.logical_not(panel.member.any(axis=0))
    if strangers.any() and not strangers.all():
        told = forecaster.predict(_with_poisoned_columns(panel, strangers, seed)).values
        if not _same(first.values[:, ~strangers], told[:, ~strangers]):
            raise LookaheadError("assets that were never members change no member's signal", where="forecaster.predict")


def check_policy(policy: Policy, panel: Panel, *, rows: int = 20, seed: int = 0) -> None:
    """Raise unless a policy obeys its law.

    Weights are one finite number for each asset (or all NaN to hold), equal arguments give equal weights, and a
    scheduled policy's table says what `decide` says and does not change with the future.
    Raises: DecisionError, LookaheadError.
    """
    probes = probe_rows(len(panel), rows, seed)
    for row in probes:
        weights = decision(policy, panel, row)
        held = np.isnan(weights).all()
        if weights.shape != (panel.shape[1],) or not (held or np.isfinite(weights).all()):
            raise DecisionError(
                "weights are one finite number for each asset, or all NaN to hold",
                found=f"shape {weights.shape}, {int((~np.isfinite(weights)).sum())} not finite",
                where=f"policy.decide at {_day(panel.times[row])}",
            )
        if not _same(weights, decision(policy, panel, row), exact=True):
            raise DecisionError("a policy is pure: equal arguments give equal weights", where="policy.decide")
    if isinstance(policy, ScheduledPolicy):
        table = policy.weights(panel)
        for row in probes:
            if not _same(table[row], decision(policy, panel, row)):
                raise DecisionError(
                    "a scheduled policy's table says what its decisions say",
                    where=f"policy.weights at {_day(panel.times[row])}",
                )
        _refuse(find_leak(policy.weights, panel, rows=probes, seed=seed), "policy.weights")


def check_learner(
    learner: Learner | Callable[[Panel], Learner],
    panel: Panel,
    *,
    market: Market | None = None,
    split: float = 0.6,
    rows: int = 10,
    seed: int = 0,
) -> None:
    """Raise unless what a learner learns, and what the learned thing says, depend on the past alone.

    Give a function of the panel instead of a learner if the learner is built from data (precomputed labels, scalers):
    then it is built anew on every attacked panel, and a label that reads past the training slice shows.
    Time: it is fitted on the first `split` of the panel; attacks start at the last training row.
    Raises: LookaheadError, and what check_forecaster or check_policy raise.
    """
    rules = market or Market()
    stop = int(len(panel) * split)
    build: Callable[[Panel], Learner] = (lambda _: learner) if isinstance(learner, Learner) else learner
    fitted = build(panel).fit(panel[:stop], rules)
    again = build(panel).fit(panel[:stop], rules)
    said, repeated = _rows_of(fitted, panel, stop), _rows_of(again, panel, stop)
    if not _same(said, repeated, exact=True):
        raise LookaheadError("two fits on the same panel must agree", where="learner.fit", fix="use the learner's seed")
    probes = [stop - 1, *probe_rows(len(panel), rows, seed, first=stop)]

    def run(changed: Panel) -> NDArray[Any]:
        return _rows_of(build(changed).fit(changed[:stop], rules), changed, stop)

    _refuse(find_leak(run, panel, rows=probes, seed=seed), "learner.fit")
    if isinstance(fitted, Forecaster):
        check_forecaster(fitted, panel, rows=rows, seed=seed)
    else:
        check_policy(fitted, panel, rows=rows, seed=seed)


def decision(policy: Policy, panel: Panel, row: int) -> NDArray[np.float64]:
    """What a policy decides on `row` when it holds a tenth of its equity in cash and the rest in equal parts."""
    view = panel[: row + 1]
    close = np.asarray(view["close"][-1], dtype=np.float64)
    known = np.isfinite(close) & view.member[-1]
    shares = np.where(known, 0.9e6 / max(1, int(known.sum())) / np.where(known, close, 1.0), 0.0)
    history = History(view.times[-1:], np.array([1e6]), shares[None, :])
    return np.asarray(policy.decide(view, Book(view.times[-1], 1e5, shares, close, history)))


def probe_rows(T: int, count: int, seed: int, *, first: int | None = None) -> list[int]:
    """Random rows at which to attack, ascending, never the last one.   Shape: at most `count` rows of first..T-2."""
    start = T // 3 if first is None else first
    if start >= T - 1:
        raise AxisError("a check needs rows after the first probe", found=f"{T} rows", where="rows")
    rng = np.random.default_rng([seed, T])
    return sorted(int(row) for row in rng.choice(np.arange(start, T - 1), min(count, T - 1 - start), replace=False))


def _rows_of(model: Forecaster | Policy, panel: Panel, first: int) -> NDArray[Any]:
    if isinstance(model, Forecaster):
        return model.predict(panel).values
    if isinstance(model, ScheduledPolicy):
        return model.weights(panel)
    table = np.full(panel.shape, np.nan)
    for row in range(max(0, first - 1), len(panel)):
        table[row] = decision(model, panel, row)
    return table


def _checked_rows(values: NDArray[Any], panel: Panel) -> NDArray[Any]:
    rows = np.asarray(values)
    if rows.ndim == 0 or len(rows) != len(panel):
        raise AxisError(
            "the output has one row for each row of the panel", found=rows.shape, where="the checked function"
        )
    return rows


def _difference(before: NDArray[Any], after: NDArray[Any], panel: Panel, row: int, attack: str) -> Leak | None:
    if before.shape != after.shape:
        raise AxisError("the shape of the output may not depend on the future", found=f"{before.shape}, {after.shape}")
    wrong = np.argwhere(~_close(before, after, rtol=1e-6))
    if not len(wrong):
        return None
    at = tuple(int(k) for k in wrong[-1])
    where = _day(panel.times[at[0]])
    if len(at) > 1 and before.shape[1] == panel.shape[1]:
        where += f", {panel.assets[at[1]]}"
    return Leak(attack, panel.times[row], where, float(before[at]), float(after[at]))


def _close(a: NDArray[Any], b: NDArray[Any], *, rtol: float) -> NDArray[np.bool_]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    size = np.abs(np.where(finite, a, 0.0))
    scale = size.max(initial=0.0) if a.ndim < 2 else size.max(axis=0, initial=0.0)
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= rtol * np.maximum(size, 1e-3 * scale)
    return np.asarray(np.where(finite, near, (a == b) | (np.isnan(a) & np.isnan(b))), dtype=np.bool_)


def _same(a: NDArray[Any], b: NDArray[Any], *, exact: bool = False, rtol: float = 1e-6) -> bool:
    if exact:
        return np.array_equal(a, b, equal_nan=True)
    return a.shape == b.shape and bool(_close(a, b, rtol=rtol).all())


def _refuse(leak: Leak | None, where: str) -> None:
    if leak is not None:
        raise LookaheadError("what is said at row t depends on rows up to t only", found=leak, where=where)


def _mapped(panel: Panel, change: Callable[[NDArray[Any]], NDArray[Any]], corpus: Corpus, source: str) -> Panel:
    grids: dict[str, Any] = {mask: change(getattr(panel, mask)) for mask in _MASKS}
    for group in ("fields", "labels", "series"):
        grids[group] = {name: change(values) for name, values in getattr(panel, group).items()}
    return panel.replace(**grids, corpus=corpus, source=source)


def _poisoned(values: NDArray[Any], row: int, rng: np.random.Generator) -> NDArray[Any]:
    changed = values.copy()
    future = changed[row + 1 :]
    if future.dtype == np.bool_:
        changed[row + 1 :] = future ^ (rng.random(future.shape) < 0.3)
    elif np.issubdtype(future.dtype, np.integer):
        changed[row + 1 :] = rng.permutation(future.ravel()).reshape(future.shape)
    else:
        noise = np.exp(rng.normal(0.0, 1.5, future.shape)).astype(values.dtype)
        changed[row + 1 :] = np.where(rng.random(future.shape) < 0.05, np.nan, future * noise)
    return changed


def _poisoned_corpus(panel: Panel, row: int, rng: np.random.Generator) -> Corpus:
    corpus = panel.corpus
    future = corpus.available > panel.times[row]
    text, asset = corpus.text.copy(), corpus.asset.copy()
    text[future] = "poisoned words about another company"
    asset[future] = rng.permutation(asset[future])
    return Corpus(corpus.available, asset, text, corpus.kind)


def _with_poisoned_columns(panel: Panel, columns: NDArray[np.bool_], seed: int) -> Panel:
    rng = np.random.default_rng([seed, 29])
    fields = {}
    for name, values in panel.fields.items():
        changed = values.copy()
        changed[:, columns] = rng.lognormal(3.0, 2.0, (len(panel), int(columns.sum())))
        fields[name] = changed
    return panel.replace(fields=fields)


def _pushed(panel: Panel, row: int, push: NDArray[np.float64]) -> Panel:
    close = panel["close"].astype(np.float64)
    close[row] *= 1.0 + push
    return panel.replace(fields={**panel.fields, "close": close})


def _day(when: np.datetime64) -> str:
    text = str(when)
    return text[:10] if text[10:].strip("T0:.") == "" else text[:19]
