"""Every rule of the verdict is met by a case that was made for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alphaloom.study.verdicts import WORDS, Evidence, Verdict, verdict_of

GOOD = Evidence(
    sharpe=1.5, information=1.2, low=0.5, high=1.9, place=0.99, shuffled=0.1, deflated=0.98, market_deflated=0.99
)
FLAT = replace(GOOD, sharpe=0.3, information=0.05, low=-0.4, high=0.5, place=0.5, deflated=0.2, market_deflated=0.4)


def judged(*runs: Evidence, years: float = 5.0, pbo: float | None = 0.1, loss: float | None = 0.01) -> Verdict:
    return verdict_of(runs, years=years, trials=12, pbo=pbo, loss=loss)


def test_skill_needs_every_check():
    found = judged(GOOD, GOOD, GOOD)
    assert found.word == "skill"
    assert [check.holds for check in found.checks] == [True] * 5
    for number in ("1.20", "99 %", "1.50", "0.10", "0.980", "12 trials", "PBO 0.10", "3 of 3 seeds"):
        assert number in found.sentence


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("random portfolios", {"place": 0.95}),
        ("shuffled twin", {"shuffled": 1.5}),
        ("luck", {"deflated": 0.95}),
    ],
)
def test_one_failed_check_of_a_run_ahead_is_unproven(name, change):
    bad = replace(GOOD, **change)
    found = judged(bad, bad, bad)
    assert found.word == "unproven"
    assert [check.name for check in found.checks if check.holds is False] == [name]
    assert "0 of 3 seeds" in found.sentence


def test_a_pick_that_does_not_last_is_unproven():
    found = judged(GOOD, pbo=0.5, loss=0.05)
    assert found.word == "unproven"
    assert "PBO 0.50" in found.sentence


def test_among_equally_good_trials_the_loss_decides():
    assert judged(GOOD, pbo=0.6, loss=0.04).word == "skill"
    assert judged(GOOD, pbo=0.6, loss=None).word == "unproven"


def test_two_thirds_of_the_seeds_are_enough():
    assert judged(GOOD, GOOD, replace(GOOD, deflated=0.1)).word == "skill"
    assert judged(GOOD, replace(GOOD, deflated=0.1)).word == "unproven"


def test_what_cannot_be_asked_does_not_stand_in_the_way():
    found = judged(replace(GOOD, shuffled=None), pbo=None, loss=None)
    assert found.word == "skill"
    assert [check.holds for check in found.checks] == [True, True, None, True, None]


def test_an_interval_below_zero_is_worse():
    found = judged(replace(FLAT, information=-1.0, low=-1.8, high=-0.1))
    assert found.word == "worse than equal weight"
    assert "[-1.80, -0.10]" in found.sentence


def test_a_year_is_the_least():
    assert judged(GOOD, years=0.99).word == "too short to say"
    assert judged(GOOD, years=1.0).word == "skill"


def test_an_interval_from_nothing_to_one_says_nothing():
    found = judged(replace(FLAT, low=-0.2, high=1.0))
    assert found.word == "too short to say"
    assert "cannot tell" in found.sentence


def test_the_market_alone_is_exposure():
    found = judged(replace(FLAT, market_deflated=0.96))
    assert found.word == "exposure only"
    assert "0.960" in found.sentence


def test_nothing_beyond_equal_weight():
    found = judged(FLAT)
    assert found.word == "no better than equal weight"
    assert "0.05" in found.sentence


def test_a_number_that_is_not_known_passes_no_check():
    nan = float("nan")
    found = judged(Evidence(nan, nan, nan, nan, None, None, nan, nan))
    assert found.word == "no better than equal weight"
    assert found.checks[0].holds is False


def test_without_runs_nothing_is_said():
    assert verdict_of([], years=5.0, trials=1, pbo=None, loss=None).word == "too short to say"


def test_every_word_has_its_case():
    cases = {
        judged(GOOD).word,
        judged(replace(GOOD, deflated=0.5)).word,
        judged(replace(FLAT, market_deflated=0.99)).word,
        judged(FLAT).word,
        judged(replace(FLAT, low=-2.0, high=-1.0)).word,
        judged(GOOD, years=0.5).word,
    }
    assert cases == set(WORDS)
