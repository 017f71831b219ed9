"""The verdict on a study: a word that follows from stated rules, and a sentence with the numbers that decided."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["WORDS", "Check", "Evidence", "Verdict", "verdict_of"]

SKILL, UNPROVEN, EXPOSURE = "skill", "unproven", "exposure only"
SAME, WORSE, SHORT = "no better than equal weight", "worse than equal weight", "too short to say"
WORDS = (SKILL, UNPROVEN, EXPOSURE, SAME, WORSE, SHORT)

MOST = 2.0 / 3.0  # the part of the seeds in which a rule must hold
SURE = 0.95
RARE = 0.05
MATTERS = 1.0  # an information ratio that anyone would like to have


@dataclass(frozen=True)
class Evidence:
    """What one run shows, after costs.

    `information`, `low`, `high`: the information ratio against equal weight and its 95 % interval. `place` is the part
    of the drawn portfolios with a lower Sharpe ratio. `shuffled` is the Sharpe ratio of the study's own shuffled twin,
    None without a signal. `deflated` and `market_deflated` are deflated Sharpe ratios of the returns above equal
    weight and of the whole returns.
    Missing: NaN where a number could not be computed; a rule about it does not hold.
    """

    sharpe: float
    information: float
    low: float
    high: float
    place: float | None
    shuffled: float | None
    deflated: float
    market_deflated: float


@dataclass(frozen=True)
class Check:
    """One rule: in how many of the seeds it holds, and whether that is enough; None where it cannot be asked."""

    name: str
    passed: int
    asked: int
    holds: bool | None
    told: str


@dataclass(frozen=True)
class Verdict:
    """A word of `WORDS`, the sentence that gives the reasons, and every rule with its outcome."""

    word: str
    sentence: str
    checks: tuple[Check, ...]


def verdict_of(
    runs: Sequence[Evidence],
    *,
    years: float,
    trials: int,
    pbo: float | None,
    loss: float | None,
) -> Verdict:
    """Judge a study by its runs, one for each seed.

    The rules in their order. Less than one year of test bars: too short to say. All five checks hold: skill. The
    interval of the information ratio lies below zero: worse. It lies above zero: unproven, for a check failed. It
    reaches from zero or less to one or more: too short to say. The deflated Sharpe ratio of the whole returns exceeds
    0.95: exposure only. Otherwise: no better. A rule about runs holds when it holds in two thirds of the seeds.
    """
    checks = _checks(runs, trials=trials, pbo=pbo, loss=loss)
    word = _word(runs, checks, years)
    return Verdict(word, _sentence(word, runs, checks=checks, years=years), checks)


def _word(runs: Sequence[Evidence], checks: Sequence[Check], years: float) -> str:
    if not runs or years < 1.0:
        return SHORT
    if all(check.holds is not False for check in checks):
        return SKILL
    if _most(runs, lambda run: run.high < 0.0):
        return WORSE
    if _most(runs, lambda run: run.low > 0.0):
        return UNPROVEN
    if _most(runs, lambda run: run.low <= 0.0 and run.high >= MATTERS):
        return SHORT
    return EXPOSURE if _most(runs, lambda run: run.market_deflated > SURE) else SAME


def _checks(runs: Sequence[Evidence], *, trials: int, pbo: float | None, loss: float | None) -> tuple[Check, ...]:
    place = _mean([run.place for run in runs if run.place is not None])
    twins = _mean([run.shuffled for run in runs if run.shuffled is not None])
    deflated = _mean([run.deflated for run in runs])
    return (
        _check(
            "equal weight",
            runs,
            lambda run: run.information > 0.0,
            told=f"information ratio {_mean([run.information for run in runs]):.2f} against equal weight",
        ),
        _check(
            "random portfolios",
            runs,
            lambda run: None if run.place is None else run.place > SURE,
            told="no random portfolios" if math.isnan(place) else f"above {100 * place:.0f} % of random portfolios",
        ),
        _check(
            "shuffled twin",
            runs,
            lambda run: None if run.shuffled is None else run.sharpe > run.shuffled,
            told="no signal to shuffle"
            if math.isnan(twins)
            else f"Sharpe ratio {_mean([run.sharpe for run in runs]):.2f}, shuffled {twins:.2f}",
        ),
        _check(
            "luck",
            runs,
            lambda run: run.deflated > SURE,
            told=f"deflated Sharpe ratio above equal weight {deflated:.3f} for {trials} trials",
        ),
        _selection(pbo, loss),
    )


def _check(name: str, runs: Sequence[Evidence], rule: Callable[[Evidence], bool | None], *, told: str) -> Check:
    asked = [answer for answer in map(rule, runs) if answer is not None]
    passed = sum(asked)
    return Check(name, passed, len(asked), passed >= MOST * len(asked) if asked else None, told)


def _selection(pbo: float | None, loss: float | None) -> Check:
    """Among trials that are all equally good any may be the best: then PBO is near a half and the loss decides."""
    if pbo is None:
        return Check("selection", 0, 0, None, "one trial, nothing was picked")
    told = f"PBO {pbo:.2f}"
    if loss is not None:
        told += f", the pick falls behind equal weight in {100 * loss:.0f} % of halves"
    good = pbo < 0.5 or (loss is not None and loss < RARE)
    return Check("selection", int(good), 1, good, told)


def _most(runs: Sequence[Evidence], rule: Callable[[Evidence], bool]) -> bool:
    return sum(rule(run) for run in runs) >= MOST * len(runs)


def _sentence(word: str, runs: Sequence[Evidence], *, checks: Sequence[Check], years: float) -> str:
    """The reasons of a verdict: for skill what holds, otherwise what decided against it."""
    if not runs:
        return "No run could be judged."
    low, high = (_mean([getattr(run, name) for run in runs]) for name in ("low", "high"))
    ratio = f"{checks[0].told}, interval [{low:.2f}, {high:.2f}]"
    if word == SHORT and years < 1.0:
        return f"The test span is {years:.1f} years; less than one says nothing. {_seeds(checks[0])}"
    if word == SKILL:
        held = "; ".join(_with_seeds(check) for check in checks if check.holds is not None)
        return f"Every check holds: {held}."
    failed = [_with_seeds(check) for check in checks if check.holds is False]
    reasons = {
        WORSE: f"It falls behind: {ratio}, which lies below zero.",
        UNPROVEN: f"It is ahead ({ratio}), but luck is not ruled out.",
        SHORT: f"The span cannot tell an information ratio of one from none: {ratio}.",
        EXPOSURE: f"The whole returns pass (deflated {_mean([run.market_deflated for run in runs]):.3f}), what lies "
        f"above equal weight does not: {ratio}.",
        SAME: f"Nothing beyond equal weight is seen: {ratio}.",
    }
    return f"{reasons[word]} Not met: {'; '.join(failed)}."


def _with_seeds(check: Check) -> str:
    return f"{check.told}{_seeds(check)}"


def _seeds(check: Check) -> str:
    if check.name == "selection":
        return ""
    return f" ({check.passed} of {check.asked} seed{'s' if check.asked != 1 else ''})"


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
