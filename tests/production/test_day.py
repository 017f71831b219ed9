"""Days run one after another are the back-test, to the bit, and a day that is run again is the same day."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import ConfigError, DataError
from alphaloom.factors import load_library
from alphaloom.forecast import ReturnScale, Ridge
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.portfolio import EqualWeight, MovingAverageCross, Threshold, TopK
from alphaloom.portfolio.optimise import Limits, MeanVariance
from alphaloom.production import DailyRun, Desk, Guards, PaperBroker, run_day
from alphaloom.signal import Signal
from alphaloom.study import Study, WalkForward, load_run
from alphaloom.study.serving import columns_of, stored_signal

START, BARS = 130, 200
MARKET = Market(commission=0.001, slippage=0.0005, impact=0.1, cash_rate=0.02, sell_tax=0.0005)
FEW = dataclasses.replace(
    load_library("classic"), factors=tuple(f for f in load_library("classic").factors if f.name in {
        "reversal_5", "momentum_20", "volatility_20", "rsi_14", "book_to_price", "volume_ratio_20"
    }) or load_library("classic").factors[:6]
)  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulate(EmbeddedMarket(days=BARS, assets=16, seed=5, halts=0.01, delistings=6.0))


class Losers:
    """A learner of the test's own: it fits a policy, and what it learned shows in its weights."""

    def fit(self, train, market):
        return Held(tuple(np.argsort(np.nan_to_num(train["close"][-1] / train["close"][0], nan=9.0))[:4].tolist()))


@dataclasses.dataclass(frozen=True)
class Held:
    columns: tuple[int, ...]
    lookback = 0
    notes = ("holds what fell most",)

    def decide(self, view, book):
        weights = np.zeros(len(view.assets))
        able = [at for at in self.columns if view.member[-1, at] and np.isfinite(view["close"][-1, at])]
        weights[able] = 0.2
        return weights


def ridge(**more):
    return Ridge(FEW, horizon=3, every=2, **more)


STUDIES = {
    "top_k": (ridge(), TopK(5, buffer=2, every=2)),
    "threshold": (ridge(), Threshold(enter=0.01, leave=0.0, slots=5)),
    "equal_weight": (EqualWeight(every=7), None),
    "cross": (MovingAverageCross(fast=5, slow=30, every=3), None),
    "learned_policy": (Losers(), None),
    # Expected returns and an optimiser that reads the book: nothing of one day's solution may reach the next.
    "optimised": (
        ReturnScale(ridge()),
        MeanVariance(window=60, limits=Limits(cap=0.3, turnover=0.4), every=3, fallback="relax"),
    ),
}


def make_study(kind, *, market=MARKET, plan=None):
    learner, allocator = STUDIES[kind]
    return Study(kind, learner, market, plan or WalkForward(120, 25, embargo=10), allocator, cash=2e5)


class Account:
    """The account of a test: a broker and a desk beside the run."""

    def __init__(self, run, study):
        self.parts = (
            PaperBroker.open(run / "account" / "broker.jsonl", study.market, cash=study.cash),
            Desk.open(run / "account" / "desk.jsonl"),
        )

    def __enter__(self):
        return self.parts

    def __exit__(self, *fault):
        for part in self.parts:
            part.close()


def studied(study, panel, directory):
    study.run(panel, directory=directory)
    return directory


def policy_of(study, panel, run):
    if study.allocator is None:
        from alphaloom.study.stitching import FoldWork, switching

        if not hasattr(study.learner, "fit"):
            return study.learner
        folds = study.plan.folds(len(panel))
        work = FoldWork(study.learner, panel, study.market)
        return switching(panel, folds, policies=[work(fold).made for fold in folds])
    signal = stored_signal(run, panel.times[study.plan.start :], assets=panel.assets)
    kind = "return" if isinstance(study.learner, ReturnScale) else "score"
    return study.allocator.policy(dataclasses.replace(signal, horizon=3, kind=kind))


def replay(run, study, panel, rows, *, guards=None):
    job = DailyRun.open(run, study)
    with Account(run, study) as account:
        return [run_day(job, panel, panel.times[row], account=account, guards=guards) for row in rows]


def assert_equals_back_test(days, study, panel, run, start):
    whole = backtest(
        policy_of(study, panel, run), panel[: start + len(days)], study.market, start=start, cash=study.cash
    )
    history = days[-1].book.history
    assert np.array_equal(history.times, whole.times)
    assert np.array_equal(history.equity, whole.equity)
    assert np.array_equal(history.shares, whole.shares)
    assert np.array_equal([day.book.cash for day in days], whole.cash)
    ordered = {(int(row), int(at)): done for row, at, done in zip(
        whole.orders.decided, whole.orders.asset, whole.orders.ordered, strict=True)}  # fmt: skip
    sent = {
        (row, panel.assets.index(order.asset)): order.shares
        for row, day in enumerate(days[:-1])
        for order in day.orders
    }
    assert sent == ordered
    decided = np.array([columns_of((day.folder / "book.parquet").read_bytes())[0]["weight"] for day in days])
    assert np.array_equal(decided, whole.weights, equal_nan=True)
    assert all(day.agreed.agreed for day in days)


@pytest.mark.parametrize("kind", list(STUDIES))
def test_sixty_days_are_the_back_test_to_the_bit(panel, tmp_path, kind):
    study = make_study(kind)
    run = studied(study, panel, tmp_path / "run")
    days = replay(run, study, panel, range(START, START + 60))
    assert sum(len(day.orders) for day in days) > 5
    assert_equals_back_test(days, study, panel, run, START)
    if kind == "optimised":
        assert sum(day.counts["policy.solves"] for day in days) == 20
        assert not any(day.counts["policy.infeasible"] + day.counts["policy.failed"] for day in days)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["top_k", "threshold"])
@pytest.mark.parametrize("lot", [0.0, 1.0])
def test_a_year_of_days_is_the_back_test_to_the_bit(tmp_path, kind, lot):
    panel = simulate(EmbeddedMarket(days=670, assets=40, seed=11, delistings=3.0))
    study = make_study(kind, market=dataclasses.replace(MARKET, lot=lot), plan=WalkForward(400, 63, embargo=5))
    run = studied(study, panel, tmp_path / "run")
    days = replay(run, study, panel, range(405, 655))
    assert_equals_back_test(days, study, panel, run, 405)


def test_a_start_in_the_middle_and_a_stop_on_the_way_change_nothing(panel, tmp_path):
    study = make_study("threshold")
    run = studied(study, panel, tmp_path / "run")
    days = [replay(run, study, panel, range(row, row + 3)) for row in range(150, 180, 3)]
    assert_equals_back_test([day for some in days for day in some], study, panel, run, 150)


def test_the_rows_of_the_signal_are_the_studys_and_go_on_after_its_end(panel, tmp_path):
    study = make_study("top_k")
    short, long = panel[:176], panel
    # The study that saw more bars is what the shorter one must come to when it goes on day by day.
    run, other = (studied(study, part.replace(), tmp_path / name) for name, part in (("a", short), ("b", long)))
    days = replay(run, study, panel, range(170, 195))
    known = stored_signal(other, panel.times[START:], assets=panel.assets)
    for row, day in zip(range(170, 195), days, strict=True):
        assert day.facts["fold"] == (row - START) // 25
        stored = stored_signal(day.folder, panel.times[row : row + 1], assets=panel.assets)
        assert np.array_equal(stored.values[0], known.row_at(panel.times[row]), equal_nan=True)
    assert sorted(path.name for path in (run / "models").iterdir()) == ["fold_001", "fold_002"]
    fresh = run_day(DailyRun.open(run, study), panel, panel.times[194])  # without an account, in another process
    assert fresh.facts["files"]["signal.parquet"] == days[-1].facts["files"]["signal.parquet"]


def test_a_day_that_is_run_again_says_so_and_changes_no_byte(panel, tmp_path):
    study = make_study("top_k")
    run = studied(study, panel, tmp_path / "run")
    days = replay(run, study, panel, range(START, START + 12))
    assert not any(day.repeated for day in days)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file()}
    again = replay(run, study, panel, range(START, START + 12))
    assert all(day.repeated for day in again)
    assert [day.orders for day in again] == [day.orders for day in days]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert {path for path in run.rglob("*") if path.is_file()} == set(before)
    # And in another folder, from nothing, the same bytes.
    twin = studied(study, panel, tmp_path / "twin")
    for day in replay(twin, study, panel, range(START, START + 12)):
        for path in day.folder.iterdir():
            assert path.read_bytes() == (run / "days" / day.folder.name / path.name).read_bytes()


def test_orders_that_a_killed_day_left_unsent_go_out_on_their_own_day(panel, tmp_path, monkeypatch):
    study = make_study("top_k")
    run, calm = (studied(study, panel, tmp_path / name) for name in ("run", "calm"))
    undisturbed = replay(calm, study, panel, range(START, START + 12))
    stopped = next(k for k, day in enumerate(undisturbed) if k > 2 and day.orders)

    def killed(desk, broker):
        raise KeyboardInterrupt

    job = DailyRun.open(run, study)
    replay(run, study, panel, range(START, START + stopped))
    with Account(run, study) as account, monkeypatch.context() as patch:
        patch.setattr(Desk, "send", killed)
        with pytest.raises(KeyboardInterrupt):
            run_day(job, panel, panel.times[START + stopped], account=account)
    # The span is begun again from its first day, by a broker that has not been shown a price yet.
    days = replay(run, study, panel, range(START, START + 12))
    assert not days[0].agreed.agreed
    assert days[0].agreed.resent
    assert days[-1].agreed.agreed
    assert [day.orders for day in days] == [day.orders for day in undisturbed]
    assert np.array_equal(days[-1].book.history.equity, undisturbed[-1].book.history.equity)


def test_data_that_changed_under_a_day_are_named(panel, tmp_path):
    study = make_study("top_k")
    run = studied(study, panel, tmp_path / "run")
    day = replay(run, study, panel, [START])[0]
    close = panel["close"].copy()
    at = int(np.flatnonzero(np.isfinite(close[START]))[2])
    close[START, at] *= 1.01
    with pytest.raises(DataError, match="again") as caught:
        replay(run, study, panel.with_field("close", close, panel.units["close"]), [START])
    told = str(caught.value)
    assert "study's own signal" in told or "data.close" in told
    rule = make_study("equal_weight")
    plain = studied(rule, panel, tmp_path / "plain")
    replay(plain, rule, panel, [START])
    changed = panel.with_field("close", close, panel.units["close"])
    run_day(DailyRun.open(plain, rule), changed, panel.times[START])
    with pytest.raises(DataError, match="same bytes") as caught:
        run_day(DailyRun.open(plain, rule), panel, panel.times[START])
    assert "data.close" in str(caught.value)
    assert panel.assets[at] in str(caught.value)
    (day.folder / "orders.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="same bytes"):
        replay(run, study, panel, [START])


def test_days_are_run_in_their_order(panel, tmp_path):
    study = make_study("equal_weight")
    run = studied(study, panel, tmp_path / "run")
    replay(run, study, panel, [140, 141])
    with pytest.raises(DataError, match="one after another") as caught:
        replay(run, study, panel, [145])
    assert "3 bars between" in str(caught.value)
    assert f"--from {str(panel.times[142])[:10]}" in str(caught.value)
    with pytest.raises(DataError, match="in their order"):
        replay(run, study, panel, [139])
    assert replay(run, study, panel, [140])[0].repeated
    assert not replay(run, study, panel, [142])[0].repeated


def test_a_day_that_is_no_bar_is_refused_and_leaves_the_account_alone(panel, tmp_path):
    study = make_study("equal_weight")
    run = studied(study, panel, tmp_path / "run")
    job = DailyRun.open(run, study)
    saturday = np.datetime64("2015-08-08")
    blank = panel["close"].copy()
    blank[START] = np.nan
    with Account(run, study) as account:
        with pytest.raises(DataError, match="is a bar of the panel") as caught:
            run_day(job, panel, saturday, account=account)
        assert "2015-08-07" in caught.value.fix
        assert "2015-08-10" in caught.value.fix
        with pytest.raises(DataError, match="once the data reach it"):
            run_day(job, panel, "2031-01-01", account=account)
        with pytest.raises(DataError, match="first test bar"):
            run_day(job, panel, panel.times[START - 1], account=account)
        with pytest.raises(DataError, match="closes are known"):
            run_day(
                job, panel.with_field("close", blank, panel.units["close"]), panel.times[START], account=account
            )  # fmt: skip
        with pytest.raises(DataError, match="like 2024-01-31"):
            run_day(job, panel, "someday", account=account)
        assert account[0].now is None
    assert not (run / "days").exists()


def test_missing_prices_and_delistings_are_counted_and_handled_as_the_ledger_does(panel, tmp_path):
    study = make_study("equal_weight")
    leaver = int(np.flatnonzero(panel.member[150:156].all(axis=0))[1])
    over = np.arange(BARS) >= 155
    fields = {name: np.where(over[:, None] & (np.arange(16) == leaver), np.nan, panel[name]) for name in panel.fields}
    masks = {name: getattr(panel, name).copy() for name in ("member", "listed", "buyable", "sellable")}
    for mask in masks.values():
        mask[over, leaver] = False
    panel = panel.replace(fields=fields, **masks)
    run = studied(study, panel, tmp_path / "run")
    days = replay(run, study, panel, range(START, BARS))
    gone = panel.listed[START - 1 : -1] & ~panel.listed[START:]
    assert gone.any()
    assert sum(day.counts["delisted_holdings"] for day in days) == sum(
        int((day.book.history.shares[-2] != 0)[gone[k]].sum()) for k, day in enumerate(days) if k
    )
    assert sum(day.counts["delisted_holdings"] for day in days) > 0
    assert any(day.counts["held_without_price"] for day in days)
    assert_equals_back_test(days, study, panel, run, START)


def test_a_held_asset_that_vanishes_from_the_data_is_an_error(panel, tmp_path):
    study = make_study("equal_weight")
    run = studied(study, panel, tmp_path / "run")
    days = replay(run, study, panel, range(START, START + 3))
    lost = int(np.flatnonzero(days[-1].book.shares)[0])
    keep = np.delete(np.arange(len(panel.assets)), lost)
    grids = {group: {k: v[:, keep] for k, v in getattr(panel, group).items()} for group in ("fields", "labels")}
    masks = {name: getattr(panel, name)[:, keep] for name in ("member", "listed", "buyable", "sellable")}
    less = Panel(panel.times, tuple(panel.assets[j] for j in keep), units=panel.units, **grids, **masks)
    with pytest.raises(DataError, match="held stays in the panel") as caught:
        replay(run, study, less, [START + 3])
    assert panel.assets[lost] in str(caught.value)


def test_guards_refuse_and_a_kill_switch_stops_the_day_for_good(panel, tmp_path):
    study = make_study("top_k")
    run = studied(study, panel, tmp_path / "run")
    switch = tmp_path / "stop"
    day = replay(run, study, panel, [START], guards=Guards(max_order=0.05))[0]
    assert not day.orders
    assert {one.guard for one in day.refused} == {"max_order"}
    assert day.counts["refused"] == len(day.refused) > 0
    switch.touch()
    rows = list(range(START + 1, START + 4))
    stopped = replay(run, study, panel, rows, guards=Guards(kill_switch=str(switch)))
    due = next(day for day in stopped if day.refused)
    assert due.stopped.startswith("kill_switch")
    switch.unlink()
    again = replay(run, study, panel, rows)
    assert [day.refused for day in again] == [day.refused for day in stopped]
    reasons = columns_of((due.folder / "orders.parquet").read_bytes())[0]["refused"]
    assert all("kill_switch" in str(reason) for reason in reasons)


def test_without_a_broker_a_day_says_what_cash_would_buy(panel, tmp_path):
    study = make_study("top_k")
    run = studied(study, panel, tmp_path / "run")
    day = run_day(DailyRun.open(run, study), panel, panel.times[START + 2])
    assert day.folder.parent.name == "previews"
    assert day.agreed is None
    assert all(order.shares > 0 for order in day.orders)
    assert not (run / "account").exists()
    assert run_day(DailyRun.open(run, study), panel, panel.times[START + 2]).repeated


@dataclasses.dataclass(frozen=True)
class Cautious:
    """An allocator whose policy counts what an optimiser would."""

    def policy(self, signal):
        return CautiousPolicy(signal)


class CautiousPolicy:
    lookback = 0
    notes = ("the limits cannot all hold: turnover",)

    def __init__(self, signal: Signal) -> None:
        self.signal, self.counts = signal, {"solves": 0, "infeasible": 0, "fallbacks": 0}

    def decide(self, view, book):
        self.counts["solves"] += 1
        if len(self.signal.times) % 2:
            self.counts["infeasible"] += 1
            self.counts["fallbacks"] += 1
            return np.full(len(view.assets), np.nan)
        return np.where(view.member[-1] & np.isfinite(view["close"][-1]), 0.02, 0.0)


def test_the_fallbacks_of_an_optimiser_are_counted_in_the_day(panel, tmp_path):
    study = Study("cautious", ridge(), MARKET, WalkForward(120, 25), Cautious(), cash=1e5)
    run = studied(study, panel, tmp_path / "run")
    days = replay(run, study, panel, range(120, 124))
    assert [day.counts["policy.infeasible"] for day in days] == [1, 0, 1, 0]
    assert [day.counts["policy.solves"] for day in days] == [1, 1, 1, 1]
    assert "the limits cannot all hold: turnover" in days[0].facts["notes"]


def test_a_run_goes_on_with_its_own_study_only(panel, tmp_path):
    study = make_study("top_k")
    run = studied(study, panel, tmp_path / "run")
    with pytest.raises(DataError, match="study that made it"):
        DailyRun.open(run, dataclasses.replace(study, cash=3e5))
    with pytest.raises(DataError, match="bars that its study read"):
        run_day(DailyRun.open(run, study), panel[1:].replace(), None)
    (run / "result.json").unlink()
    with pytest.raises(DataError, match="once it is finished"):
        DailyRun.open(run, study)


def test_stored_models_are_used_checked_and_refused(panel, tmp_path):
    study = make_study("top_k")
    run = studied(study, panel, tmp_path / "run")
    run_day(DailyRun.open(run, study), panel, panel.times[START])
    place = run / "models" / "fold_000"
    facts = json.loads((place / "facts.json").read_text())
    assert facts["train_bars"] == 120
    assert facts["factors"] == [f"{f.name} = {f.expr}" for f in FEW.supported_by(panel)[0].factors]
    stamp = (place / "model.json").stat().st_mtime_ns
    run_day(DailyRun.open(run, study), panel, panel.times[START + 1])
    assert (place / "model.json").stat().st_mtime_ns == stamp

    text = (place / "model.json").read_text()
    (place / "model.json").write_text(text.replace('"intercept"', '"intercept" '))
    with pytest.raises(DataError, match="other bytes"):
        run_day(DailyRun.open(run, study), panel, panel.times[START + 2])
    (place / "model.json").write_text(text)
    other = dataclasses.replace(
        study, learner=Ridge(dataclasses.replace(FEW, factors=FEW.factors[:1]), horizon=3, every=2)
    )
    second = studied(other, panel, tmp_path / "second")
    run_day(DailyRun.open(second, other), panel, panel.times[START])
    # A model that was carried over from a run on other factors, with its papers forged to fit.
    theirs = json.loads((second / "models" / "fold_000" / "facts.json").read_text())
    for name in ("model.json", "facts.json"):
        (second / "models" / "fold_000" / name).write_bytes((place / name).read_bytes())
    mine = json.loads((place / "facts.json").read_text())
    (second / "models" / "fold_000" / "facts.json").write_text(json.dumps({**mine, "key": theirs["key"]}))
    with pytest.raises(DataError, match="the one that this run learned") as caught:
        run_day(DailyRun.open(second, other), panel, panel.times[START + 1])
    assert "other factors" in str(caught.value.found)
    (second / "models" / "fold_000" / "facts.json").write_text("{}")
    with pytest.raises(DataError, match="this run learned"):
        run_day(DailyRun.open(second, other), panel, panel.times[START + 1])


def test_a_forecaster_without_an_allocator_is_named(panel, tmp_path):
    class Odd:
        def fit(self, train, market):
            return Ridge(FEW, horizon=3).fit(train, market) if len(train) < 121 else Held((0,))

    study = Study("odd", Odd(), MARKET, WalkForward(121, 25), None)
    run = studied(study, panel, tmp_path / "run")
    Odd.fit = lambda self, train, market: Ridge(FEW, horizon=3).fit(train, market)
    with pytest.raises(ConfigError):
        run_day(DailyRun.open(run, study), panel, panel.times[125])
    assert load_run(run).name == "odd"
    assert Path(run).is_dir()
