"""The beginnings of steps: the best formulas, no two alike, known again after a stop."""

from __future__ import annotations

import numpy as np

from alphaloom.factors import parse
from alphaloom.factors.grammar import Grammar
from alphaloom.mining import Budget, Session
from alphaloom.mining import elites as the_elites
from alphaloom.mining.elites import Elites

GRAMMAR = Grammar(windows=(5, 10), max_tokens=12, max_lookback=60)
TEXTS = ("close / open", "high / open", "low / vwap", "ts_mean(close, 5) / close", "ts_std(volume, 10) / volume")


def opened(make_panel, seed=1):
    panel = make_panel(200, 20, seed=3)
    ratio = panel["close"] / panel["open"]
    z = (ratio - ratio.mean(axis=1, keepdims=True)) / ratio.std(axis=1, keepdims=True)
    target = z + np.random.default_rng(0).normal(size=z.shape)
    return Session(panel, target, grammar=GRAMMAR, start_row=60, seed=seed, budget=Budget(2000))


def noted(session, texts, count=10, ground=1):
    elites = Elites(session, count, ground=ground)
    for text in texts:
        alpha = session.filled(session.judge([parse(text)])[0])
        elites.note(alpha, GRAMMAR.encode(parse(text)))
    return elites


def spelt(elites):
    return [str(GRAMMAR.decode(tokens)) for tokens in elites.memory()["elite_tokens"]]


def goes_on_alike(make_panel, one, *, ground, steps):
    """Another one that remembers what this one did takes the same steps, and remembers the same afterwards."""
    session = opened(make_panel)
    session.judge([parse(text) for text in TEXTS])
    other = Elites(session, 10, ground=ground)
    other.recall(one.memory())
    assert other.memory() == one.memory()
    session.rng.bit_generator.state = one._session.rng.bit_generator.state
    assert [one.step().tokens for _ in range(steps)] == [other.step().tokens for _ in range(steps)]
    assert other.memory() == one.memory()


def test_the_best_stand_first_and_the_worst_go(make_panel):
    session = opened(make_panel)
    elites = noted(session, TEXTS)
    assert spelt(elites)[0] == "close / open"
    assert spelt(noted(session, TEXTS, 2)) == spelt(elites)[:2]
    assert noted(session, ()).step() is None


def test_of_two_that_are_alike_the_better_one_stays(make_panel):
    # close / (open + open) is close / open: its own twin at every cell, spelt longer.
    session, twin = opened(make_panel), "close / (open + 2 * open)"
    for order in (("close / open", twin), (twin, "close / open")):
        assert spelt(noted(opened(make_panel), order)) in (["close / open"], [twin])
    near = [session.filled(session.judge([parse(text)])[0]) for text in ("close / open", "log(close / open)")]
    assert abs(float(np.einsum("tn,tn->t", near[0].z, near[1].z).mean())) > 0.9
    both = {text: alpha.ic for text, alpha in zip(("close / open", "log(close / open)"), near, strict=True)}
    assert spelt(noted(opened(make_panel), both)) == spelt(noted(opened(make_panel), reversed(both)))
    assert len(spelt(noted(opened(make_panel), both))) == 1


def test_steps_lead_to_what_is_new_and_allowed(make_panel):
    session = opened(make_panel)
    elites = noted(session, TEXTS)
    made = [elites.step() for _ in range(40)]
    fresh = sum(session.judge([one.expr])[0].z is not None for one in made if one is not None)
    assert fresh > 25
    assert sum(elites.memory()["elite_tries"]) >= 40
    strict = Elites(session, 10, lambda expr: expr.op == "div", ground=1)
    strict.recall(elites.memory())
    assert {one.expr.op for _ in range(60) if (one := strict.step()) is not None} == {"div"}


def test_what_was_tried_often_is_tried_less(make_panel):
    session = opened(make_panel)
    memory = noted(session, TEXTS).memory()
    counts = []
    for tried in (0, 100_000):
        elites = Elites(session, 10, ground=1)
        elites.recall({**memory, "elite_tries": [tried, *memory["elite_tries"][1:]]})
        for _ in range(50):
            elites.step()
        counts.append(elites.memory()["elite_tries"][0] - tried)
    assert counts[0] > counts[1]


def test_a_memory_leads_to_the_same_steps(make_panel):
    one = noted(opened(make_panel), TEXTS)
    [one.step() for _ in range(5)]
    goes_on_alike(make_panel, one, ground=1, steps=9)


def test_a_step_may_join_parts_of_two(make_panel, monkeypatch):
    monkeypatch.setattr(the_elites, "_CROSSED", 1.0)
    session = opened(make_panel)
    elites = noted(session, ("ts_mean(close, 5) / close", "ts_std(high, 10) / open"))
    made = {str(one.expr) for _ in range(400) if (one := elites.step()) is not None}
    assert made & {"ts_mean(close, 5) / ts_std(high, 10)", "ts_std(high, 10) / ts_mean(close, 5)"}


def test_no_climb_begins_before_there_is_ground(make_panel):
    session = opened(make_panel)
    assert noted(session, TEXTS, ground=len(TEXTS) + 1).step() is None
    assert noted(session, TEXTS, ground=len(TEXTS)).step() is not None


def test_a_climb_that_gets_no_higher_is_left_and_another_begins(make_panel, monkeypatch):
    monkeypatch.setattr(the_elites, "_PATIENT", 30)
    session = opened(make_panel)
    elites = noted(session, TEXTS, ground=3)
    began = spelt(elites)
    assert all(elites.step() is not None for _ in range(30))
    assert elites.memory()["climbs_ended"] == 0
    made = elites.step()
    assert made is not None  # a random formula
    assert (elites.memory()["climbs_ended"], spelt(elites)) == (1, began[:1])
    # Near where the first climb ended only what is better is held; elsewhere all is new ground.
    for text in ("close / open", "log(close / open)", "low / vwap"):
        elites.note(session.filled(session.judge([parse(text)])[0]), GRAMMAR.encode(parse(text)))
    assert spelt(elites)[1:] == ["low / vwap"]
    # What was judged before is stepped on again, and costs no evaluation.
    before = session.evaluations
    for _ in range(300):
        elites.step()
    assert len(spelt(elites)) > 2
    assert session.evaluations == before


def test_a_stop_in_a_second_climb_changes_nothing(make_panel, monkeypatch):
    monkeypatch.setattr(the_elites, "_PATIENT", 20)
    one = noted(opened(make_panel), TEXTS, ground=2)
    [one.step() for _ in range(40)]
    assert one.memory()["climbs_ended"] == 1
    goes_on_alike(make_panel, one, ground=2, steps=30)
