"""A session: what costs an evaluation, what is a duplicate, and going on from a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.factors import evaluate_one, parse
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, Session, Settings
from alphaloom.mining.identity import is_constant, root_form
from alphaloom.signal import forward_returns

START = 60
GRAMMAR = Grammar(windows=(5, 10), max_tokens=10, max_lookback=60)


@pytest.fixture
def panel(make_panel):
    return make_panel(200, 20, seed=4)


def session(panel, **more) -> Session:
    target = forward_returns(panel, Market(), horizon=3)
    more = {"grammar": GRAMMAR, "pool": Pool(4), "start_row": START, "budget": Budget(60), **more}
    return Session(panel, target, **more)


def test_a_formula_is_judged_as_one_would_by_hand(panel):
    found = session(panel, settings=Settings(clip=0.0)).judge([parse("ts_mean(close, 5) / close")])[0]
    values = evaluate_one("ts_mean(close, 5) / close", panel)[START:]
    target = forward_returns(panel, Market(), horizon=3).values[START:]
    daily = [
        np.corrcoef(x[np.isfinite(y)], y[np.isfinite(y)])[0, 1]
        for x, y in zip(values, target, strict=True)
        if np.isfinite(y).sum() >= 10
    ]
    assert found.valid
    assert found.ic == pytest.approx(np.mean(daily), abs=1e-5)
    assert found.icir == pytest.approx(np.mean(daily) / np.std(daily, ddof=1), rel=1e-3)


def test_clipping_holds_the_outliers(make_panel):
    panel = make_panel(150, 20, seed=1)
    volume = np.array(panel["volume"])
    volume[:, 3] *= 1e6
    wild = panel.with_field("volume", volume, panel.units["volume"])
    formula = [parse("volume / ts_mean(delay(volume, 1), 5) * volume / delay(volume, 5)")]
    held, bare = (session(wild, settings=Settings(clip=clip)).judge(formula)[0] for clip in (5.0, 0.0))
    assert held.z is not None
    assert bare.z is not None
    assert np.abs(held.z).max() <= np.abs(bare.z).max()


def test_only_new_forms_cost_an_evaluation(panel):
    mine = session(panel)
    first = mine.judge([parse("close / open"), parse("2 * (close / open)"), parse("-(close / open) + 1")])
    assert mine.evaluations == 1
    assert len({alpha.expr for alpha in first}) == 1
    again = mine.judge([parse("close / open")])[0]
    assert mine.evaluations == 1
    assert again.ic == first[0].ic
    assert again.z is None
    assert mine.filled(again).z == pytest.approx(first[0].z)


def test_equal_values_in_another_form_are_a_duplicate(panel):
    mine = session(panel)
    one, two = mine.judge([parse("close / open - 1"), parse("(close - open) / open")])
    assert one.valid
    assert two.fault == "duplicate"
    assert mine.counts["duplicate"] == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("close / close", "constant"),
        ("sign(close)", "constant"),
        ("3 + 4", "constant"),
        ("delay(close, 40) / delay(close, 61)", "lookback"),
    ],
)
def test_what_says_nothing_is_invalid(panel, text, fault):
    assert session(panel).judge([parse(text)])[0].fault == fault


def test_the_budget_ends_a_batch_and_keeps_what_was_judged(panel):
    mine = session(panel, budget=Budget(2))
    found = mine.judge([parse(f"close / delay(close, {d})") for d in (1, 2, 3)])
    assert [alpha.fault for alpha in found] == ["", "", "budget"]
    assert mine.spent
    assert mine.judge([parse("close / delay(close, 1)")])[0].valid


def test_seconds_are_a_budget_where_there_is_a_clock(panel):
    ticks = iter(range(100))
    mine = session(panel, budget=Budget(60, seconds=3.0), clock=lambda: float(next(ticks)))
    assert not mine.spent
    assert any(mine.spent for _ in range(5))


def drawn(mine: Session, count: int) -> None:
    for _ in range(count):
        state = mine.grammar.start()
        while True:
            number = int(mine.rng.choice(np.flatnonzero(state.legal())))
            if number == len(mine.grammar.tokens) - 1:
                break
            state = state.push(number)
        alpha = mine.judge([state.complete])[0]
        if alpha.valid:
            mine.offer(alpha)


def summary(mine: Session) -> tuple:
    return dict(mine.counts), mine.pool.weights.tolist(), [str(a.expr) for a in mine.pool.alphas], mine.pool.ic


def test_a_search_goes_on_from_its_checkpoint_to_the_same_formulas(panel, tmp_path):
    whole = session(panel, seed=5)
    drawn(whole, 40)
    begun = session(panel, seed=5, directory=tmp_path)
    assert begun.restored() is None
    drawn(begun, 17)
    begun.checkpoint({"step": 17, "table": np.arange(3)})
    drawn(begun, 5)  # lost: the process dies here
    later = session(panel, seed=5, directory=tmp_path)
    state = later.restored()
    assert state is not None
    assert state["step"] == 17
    assert state["table"].tolist() == [0, 1, 2]
    drawn(later, 23)
    assert summary(later) == summary(whole)
    assert len(list(tmp_path.iterdir())) == 3  # the head, what is known, the arrays


def test_a_checkpoint_of_another_search_or_a_damaged_one_is_refused(panel, make_panel, tmp_path):
    mine = session(panel, directory=tmp_path)
    drawn(mine, 3)
    mine.checkpoint({})
    with pytest.raises(DataError, match="another seed"):
        session(panel, seed=9, directory=tmp_path).restored()
    with pytest.raises(DataError, match="another data"):
        session(make_panel(200, 20, seed=8), directory=tmp_path).restored()
    known = next(tmp_path.glob("known-*"))
    known.write_bytes(known.read_bytes()[:-4])
    with pytest.raises(DataError, match="as they were written"):
        session(panel, directory=tmp_path).restored()


def test_a_panel_on_which_nothing_can_be_judged_is_refused(panel, make_panel):
    with pytest.raises(DataError, match="compares assets"):
        session(make_panel(200, 3))
    with pytest.raises(DataError, match="compares assets"):
        Session(panel, np.full(panel.shape, np.nan), grammar=GRAMMAR)
    with pytest.raises(DataError, match="dates to judge"):
        session(make_panel(70, 20))
    with pytest.raises(DataError, match="no amount"):
        session(panel, grammar=Grammar(features=("close", "amount")))


def test_the_future_of_a_session_is_not_there(panel):
    """What lies after the training rows changes nothing: the panel ends there."""
    target = forward_returns(panel[:150], Market(), horizon=3)
    poisoned = panel.with_field(
        "close", np.where(np.arange(200)[:, None] < 150, panel["close"], 1e9), panel.units["close"]
    )
    runs = [
        Session(data[:150], target, grammar=GRAMMAR, pool=Pool(4), start_row=START, budget=Budget(30))
        for data in (panel, poisoned)
    ]
    for run in runs:
        drawn(run, 15)
    assert summary(runs[0]) == summary(runs[1])


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("-(close / open)", "close / open"),
        ("3 * (close / open) + 2", "close / open"),
        ("5 - close / open", "close / open"),
        ("1 / (close / open)", "1 / (close / open)"),
        ("abs(-log(close / open)) / 4", "abs(log(close / open))"),
    ],
)
def test_the_root_form_leaves_out_what_a_weight_undoes(text, form):
    assert root_form(parse(text)) is root_form(parse(form))
    assert not is_constant(root_form(parse(text)))
