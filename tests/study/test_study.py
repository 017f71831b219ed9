"""Study.run: what a learner may see, what is traded, what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import study_cases as cases

from alphaloom.backtest import backtest
from alphaloom.errors import AxisError, ConfigError, DataError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.signal import Signal, forward_returns
from alphaloom.study import Study, StudyResult, WalkForward, shuffled_signal


@pytest.fixture(scope="module")
def panel() -> Panel:
    return cases.planted_panel()


@pytest.fixture(scope="module")
def found(panel: Panel) -> StudyResult:
    return cases.line_study(controls=True).run(panel)


def test_planted_signal_is_found_and_the_shuffled_one_is_not(found: StudyResult) -> None:
    numbers: Any = found.summary
    assert numbers["rank_ic_mean"]["low"] > 0.2
    assert numbers["rank_ic_t"] > 5 > 3 > abs(numbers["shuffled_rank_ic_t"])
    assert numbers["sharpe"]["low"] > 0 > numbers["shuffled_sharpe"]
    assert numbers["dsr"] > 0.95
    assert numbers["monotonicity"] == 1.0
    assert numbers["gross_sharpe"] > numbers["sharpe"]["value"]


def test_noise_is_not_significant() -> None:
    numbers: Any = cases.line_study(trials=10).run(cases.planted_panel(strength=0.0, seed=8)).summary
    assert abs(numbers["rank_ic_t"]) < 2
    assert numbers["rank_ic_mean"]["low"] < 0 < numbers["rank_ic_mean"]["high"]
    assert numbers["dsr"] < 0.95


def test_a_learner_sees_its_training_slice_and_nothing_else(panel: Panel) -> None:
    witness = cases.Witness()
    study = cases.line_study(learner=witness, plan=WalkForward(train=50, test=60, embargo=3), config={})
    study.run(panel)
    folds = study.plan.folds(len(panel))
    fits = [item for item in witness.seen if item[0] == "fit"]
    views = [item for item in witness.seen if item[0] == "predict"]
    assert len(fits) == len(views) == len(folds) == 4
    for fold, (_, first, last, target), (_, begin, end, _) in zip(folds, fits, views, strict=True):
        assert first == panel.times[fold.train_start]
        assert last == panel.times[fold.test_start - 3 - 1]
        # A label over 3 bars from the next open reaches 4 rows on: the last 4 rows of the slice have none.
        assert np.isnan(target.values[-4:]).all()
        assert np.isfinite(target.values[:-4]).all()
        assert begin == panel.times[fold.test_start - witness.lookback]
        assert end == panel.times[fold.test_stop - 1]


def test_each_row_of_the_signal_comes_from_the_model_of_its_fold(panel: Panel, tmp_path: Any) -> None:
    study = cases.line_study(learner=cases.Witness(), plan=WalkForward(train=50, test=60, embargo=3), config={})
    study.run(panel, directory=tmp_path / "run")
    from alphaloom.study.tables import columns_of

    table, _ = columns_of((tmp_path / "run" / "signal.parquet").read_bytes())
    model = np.floor(table["score"]).astype(int)
    folds = study.plan.folds(len(panel))
    assert len(model) == (len(panel) - 53) * 24
    for number, fold in enumerate(folds):
        span = (table["time"] >= panel.times[fold.test_start]) & (table["time"] <= panel.times[fold.test_stop - 1])
        assert (model[span] == number + 1).all()
    target = forward_returns(panel, study.market, horizon=3).values[53:]
    np.testing.assert_array_equal(table["target"], target.astype(np.float32).ravel())


def test_the_future_changes_no_earlier_row(panel: Panel) -> None:
    """Cutting the data after a bar leaves everything up to it as it was."""
    whole, part = cases.line_study().run(panel), cases.line_study().run(panel[:200])
    rows = len(part.daily["time"])
    for name in ("equity", "cash", "cost", "turnover", "benchmark.first", "benchmark.index"):
        np.testing.assert_array_equal(part.daily[name], whole.daily[name][:rows])
    np.testing.assert_array_equal(part.ic["rank_ic"][:-2], whole.ic["rank_ic"][: rows - 2])


def test_one_continuous_back_test(panel: Panel, found: StudyResult) -> None:
    """The study trades what its allocator makes of the joined signal, in one book, from the first test bar."""
    rows = []
    for start in range(60, 260, 40):
        model = cases.Line().fit(panel[start - 60 : start], cases.MARKET)
        rows.append(model.predict(panel[start : start + 40]).values)
    signal = Signal(panel.times[60:], panel.assets, np.concatenate(rows), "return")
    book = backtest(cases.Best().policy(signal), panel, cases.MARKET, start=60)
    np.testing.assert_array_equal(found.daily["equity"], book.equity)
    np.testing.assert_array_equal(found.daily["time"], panel.times[60:])
    assert found.folds[0]["train_from"] == "2012-01-02"
    assert found.folds[0]["test_from"] == "2012-03-02"
    assert [fold["test_bars"] for fold in found.folds] == [40] * 5
    grown = np.prod([1 + fold["return"] for fold in found.folds])
    assert grown == pytest.approx(book.equity[-1] / 1e6, rel=1e-12)


def test_columns_by_hand(panel: Panel, found: StudyResult) -> None:
    daily = found.daily
    index = panel.series["index"][60:]
    np.testing.assert_allclose(daily["benchmark.index"], 1e6 * index / index[0], rtol=1e-14)
    rival = backtest(cases.Constant(0), panel, cases.MARKET, start=60)
    np.testing.assert_array_equal(daily["benchmark.first"], rival.equity)
    paid = sum(daily[f"cost.{kind}"] for kind in ("commission", "tax", "slippage", "impact", "borrow"))
    np.testing.assert_allclose(daily["cost"], paid, rtol=1e-14)
    # Both sides cost 10 bp of the traded value, and turnover is half of the traded value.
    np.testing.assert_allclose(daily["cost"][1:] / daily["equity"][:-1], 2 * 0.001 * daily["turnover"][1:], rtol=1e-9)
    np.testing.assert_allclose(
        sum(found.exposure[name] for name in ("alpha", "beta", "gamma")), daily["net"], atol=1e-12
    )
    np.testing.assert_array_equal(daily["holdings"][1:], 4)
    assert daily["holdings"][0] == daily["turnover"][0] == 0
    numbers: Any = found.summary
    assert numbers["turnover"] == pytest.approx(daily["turnover"].mean())
    years = 199 / panel.periods_per_year
    assert numbers["cagr"] == pytest.approx((daily["equity"][-1] / 1e6) ** (1 / years) - 1, rel=1e-9)
    assert list(found.decay["horizon"]) == [1, 2, 3, 5, 10, 20]
    assert found.benchmarks["index"]["cagr"] == pytest.approx((index[-1] / index[0]) ** (1 / years) - 1)
    assert {row["regime"] for row in found.regimes} == {"index drawdown", "volatility index", "year"}


def test_notes_tell_the_reader_once(found: StudyResult) -> None:
    notes = found.notes
    assert len(set(notes)) == len(notes)
    assert "made up" in notes
    assert notes.count("a line was fitted") == 1
    assert any("filled at the open of the next bar" in note for note in notes)
    assert any(note.startswith("test span: 2012-03-02 to 2012-09-17, 200 bars in 5 folds") for note in notes)
    assert any(note.startswith("trials: 5 counted") for note in notes)
    assert any("without any cost" in note for note in notes)


def test_more_trials_deflate(panel: Panel) -> None:
    panel = cases.planted_panel(strength=0.1)
    one, many = (cases.line_study(trials=trials).run(panel).summary for trials in (1, 1000))
    assert one["psr"] == one["dsr"] == many["psr"]
    assert many["dsr"] < one["dsr"]


def test_what_the_panel_lacks_stays_empty() -> None:
    result = cases.line_study(benchmarks={}).run(cases.planted_panel(extras=False))
    assert result.exposure == {}
    assert result.benchmarks == {}
    assert not any(name.startswith(("benchmark.", "series.")) for name in result.daily)
    assert result.summary["beta"] is result.summary["information_ratio"] is None
    assert {row["regime"] for row in result.regimes} == {"year"}


def test_policies_without_a_signal(panel: Panel) -> None:
    result = cases.line_study(learner=cases.Constant(3), allocator=None, config={}).run(panel)
    alone = backtest(cases.Constant(3), panel, cases.MARKET, start=60)
    np.testing.assert_array_equal(result.daily["equity"], alone.equity)
    assert result.ic == result.quantiles == result.decay == {}
    assert result.summary["rank_ic_mean"] is None
    assert len(result.folds) == 5
    assert result.folds[0]["rank_ic"] is None


def test_learned_policies_take_turns(panel: Panel) -> None:
    result = cases.policy_study().run(panel)
    held = [int(str(day)) for day in (panel.times[[59, 99, 139, 179, 219]].astype("datetime64[D]").astype(int) % 24)]

    @dataclass(frozen=True)
    class ByHand:
        lookback: int = 0

        def decide(self, view: Panel, book: Book) -> np.ndarray:
            return cases.Constant(held[(len(view) - 61) // 40]).decide(view, book)

    book = backtest(ByHand(), panel, cases.MARKET, start=60)
    np.testing.assert_allclose(result.daily["equity"], book.equity, rtol=1e-12)


def test_a_policy_that_needs_the_book_makes_the_switch_bar_by_bar(panel: Panel) -> None:
    @dataclass(frozen=True)
    class Cautious:
        column: int
        lookback: int = 0

        def decide(self, view: Panel, book: Book) -> np.ndarray:
            row = np.zeros(len(book.shares))
            row[self.column] = 0.5 if len(book.history.times) % 2 else 0.25
            return row

    @dataclass(frozen=True)
    class Careful:
        def fit(self, train: Panel, market: Market) -> Cautious:
            return Cautious(len(train) % 7)

    result = cases.policy_study(learner=Careful()).run(panel)
    np.testing.assert_array_equal(
        result.daily["equity"], backtest(Cautious(60 % 7), panel, cases.MARKET, start=60).equity
    )


def test_a_forecaster_without_fit_is_used_as_it_is(panel: Panel) -> None:
    result = cases.line_study(learner=cases.LineForecaster(1.0)).run(panel)
    numbers: Any = result.summary
    assert numbers["rank_ic_t"] > 5


def test_horizon_of_the_judgement(panel: Panel) -> None:
    short, long = (cases.line_study(horizon=h).run(panel) for h in (None, 5))
    assert np.isfinite(short.ic["rank_ic"]).sum() == 200 - 2
    assert np.isfinite(long.ic["rank_ic"]).sum() == 200 - 6
    np.testing.assert_allclose(long.decay["rank_ic"], short.decay["rank_ic"])
    assert long.summary["rank_ic_mean"]["value"] == pytest.approx(long.decay["rank_ic"][3])  # type: ignore[index]


def test_riskless_rate_and_cutoff() -> None:
    panel = cases.planted_panel()
    rate = np.full(len(panel), 0.03)
    richer = panel.replace(series={**panel.series, "risk_free": rate})
    plain, above = (cases.line_study().run(each).summary["sharpe"]["value"] for each in (panel, richer))  # type: ignore[index]
    volatility = cases.line_study().run(panel).summary["volatility"]
    assert plain - above == pytest.approx(0.03 / volatility, rel=1e-9)  # type: ignore[operator]
    percent = panel.replace(series={**panel.series, "risk_free": 100 * rate})
    result = cases.line_study().run(percent)
    assert result.summary["sharpe"]["value"] == plain  # type: ignore[index]
    assert any("risk_free is left aside" in note for note in result.notes)


def test_results_before_a_cutoff_are_set_apart(panel: Panel) -> None:
    @dataclass(frozen=True)
    class Pretrained(cases.Line):
        cutoff: str = "2012-05-31"

    result = cases.line_study(learner=Pretrained()).run(panel)
    rows = {row["bucket"]: row["days"] for row in result.regimes if row["regime"] == "model cut-off"}
    assert rows == {"before": 90, "after": 109}
    assert any("91 of 200 test bars lie before" in note for note in result.notes)


def test_a_return_belongs_to_the_state_before_it(panel: Panel) -> None:
    """The index falls by a fifth on row 150: that bar's own return was earned from a market still at its peak."""
    index = np.where(np.arange(len(panel)) < 150, 100.0, 80.0)
    result = cases.line_study(learner=cases.Constant(0), allocator=None).run(panel.replace(series={"index": index}))
    rows = {row["bucket"]: row for row in result.regimes if row["regime"] == "index drawdown"}
    before, after = rows["within 10% of the peak"], rows["more than 10% below"]
    assert (before["days"], after["days"]) == (90, 109)
    returns = result.daily["returns"]
    years = 90 / panel.periods_per_year
    assert before["return"] == pytest.approx(np.prod(1 + returns[: 151 - 60]) ** (1 / years) - 1, rel=1e-9)


def test_progress_is_told(panel: Panel) -> None:
    told: list[tuple[str, int, int]] = []
    cases.line_study().run(panel, progress=lambda *step: told.append(step))
    assert [step for step in told if step[0] == "folds"] == [("folds", k, 5) for k in range(6)]
    assert told[-1] == ("judging", 1, 1)
    assert ("backtest", 3, 3) in told


def test_an_executor_gets_the_folds(panel: Panel, found: StudyResult) -> None:
    class Backwards:
        """Works in another order but answers in the order of the items."""

        def map(self, work: Any, items: Any) -> Any:
            listed = list(items)
            done = {item: work(item) for item in reversed(listed)}
            return iter([done[item] for item in listed])

    result = cases.line_study().run(panel, executor=Backwards())
    np.testing.assert_array_equal(result.daily["equity"], found.daily["equity"])


def test_two_bars_are_enough() -> None:
    result = cases.line_study(plan=WalkForward(train=60, test=5)).run(cases.planted_panel()[:62])
    assert len(result.daily["time"]) == 2
    assert result.summary["sharpe"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"allocator": None, "learner": cases.LineForecaster(1.0)}, "study.allocator"),
        ({"learner": cases.Constant(0)}, "study.allocator"),
        ({"learner": "line"}, "study.learner"),
        ({"learner": cases.Line}, "study.learner"),
        ({"name": ""}, "study.name"),
        ({"trials": 0}, "study.trials"),
        ({"seed": -1}, "study.seed"),
        ({"horizon": 0}, "study.horizon"),
        ({"cash": 0.0}, "study.cash"),
        ({"benchmarks": {"x": 3}}, "study.benchmarks.x"),
        ({"benchmarks": {"index": cases.Constant(0)}}, "study.benchmarks.index"),
    ],
)
def test_faults_of_a_study(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cases.line_study(**changes)
    assert [fault.key for fault in caught.value.faults] == [key]


def test_what_fit_returns_must_suit_the_allocator(panel: Panel) -> None:
    with pytest.raises(ConfigError, match="a forecaster without an allocator"):
        cases.line_study(allocator=None).run(panel)
    with pytest.raises(ConfigError, match="a policy with an allocator"):
        cases.policy_study(allocator=cases.Best()).run(panel)

    class Nothing:
        def fit(self, train: Panel, market: Market) -> Any:
            return 3

    with pytest.raises(ConfigError, match="fit gives a forecaster"):
        cases.line_study(learner=Nothing()).run(panel)


def test_a_signal_must_fit_the_panel(panel: Panel) -> None:
    class Short:
        lookback = 0

        def predict(self, view: Panel) -> Signal:
            return Signal(view.times[1:], view.assets, view["tip"][1:])

    with pytest.raises(AxisError, match="every bar and every asset"):
        cases.line_study(learner=Short()).run(panel)


def test_folds_must_agree_on_the_kind_of_signal(panel: Panel) -> None:
    class Fickle:
        def fit(self, train: Panel, market: Market) -> Any:
            return cases.LineForecaster(1.0, horizon=1 if train.times[0] < np.datetime64("2012-03-01") else 2)

    with pytest.raises(DataError, match="one kind and one horizon"):
        cases.line_study(learner=Fickle()).run(panel)


def test_short_panel(panel: Panel) -> None:
    with pytest.raises(DataError, match="62 needed"):
        cases.line_study().run(panel[:50])


def test_shuffled_signal_deals_each_bar_anew() -> None:
    values = np.array([[1.0, 2.0, np.nan, 3.0, 4.0], [5.0, np.nan, 6.0, 7.0, 8.0]])
    times = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]")
    signal = Signal(times, tuple("abcde"), values, "return", 3)
    dealt = shuffled_signal(signal, seed=1)
    np.testing.assert_array_equal(np.isnan(dealt.values), np.isnan(values))
    np.testing.assert_array_equal(np.sort(dealt.values, axis=1), np.sort(values, axis=1))
    assert (dealt.values != values).any()
    assert (dealt.kind, dealt.horizon) == ("return", 3)
    np.testing.assert_array_equal(dealt.values, shuffled_signal(signal, seed=1).values)


def test_study_is_frozen_and_described() -> None:
    study = cases.line_study(config={})
    assert isinstance(study, Study)
    assert study.resolved["learner"] == {"class": "study_cases.Line", "horizon": 1}
    assert study.resolved["plan"]["train"] == 60
