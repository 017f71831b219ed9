"""Alpha2 whole: it finds what was planted, repeats itself by seed, goes on where it stopped, keeps unlike formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.factors import evaluate_one, parse, split_safe, unit_of
from alphaloom.factors.grammar import ALPHA2, Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, Session, alpha2_search
from alphaloom.mining.alpha2 import Alpha2
from alphaloom.mining.alpha2_archive import Archive
from alphaloom.mining.alpha2_settings import NetSettings
from alphaloom.mining.random_search import RandomSearch
from alphaloom.signal import forward_returns

pytest.importorskip("torch")

SMALL = NetSettings(width=16, layers=1, heads=2, key=16, blocks=1, batch=16, sync_every=5)
MINER = Alpha2(simulations=12, batch=4, net=SMALL, start_games=2, lessons=4, harvest=2)
GRAMMAR = Grammar(ALPHA2, constants=(0.5, 2.0), windows=(5, 10), max_tokens=40, max_depth=8, max_lookback=60)


def session_of(panel, target=None, *, kind=Session, budget=150, grammar=GRAMMAR, **more) -> Session:
    if target is None:
        target = forward_returns(panel, Market(), horizon=3)
    more = {"pool": Pool(4), "start_row": 60, "seed": 1, **more}
    return kind(panel, target, grammar=grammar, budget=Budget(budget), **more)


def searched(panel, *, miner=MINER, **more) -> Session:
    session = session_of(panel, **more)
    miner.mine(session)
    return session


def found(session):
    kept = [(str(alpha.expr), alpha.ic) for alpha in session.finds]
    pool = [str(alpha.expr) for alpha in session.pool.alphas], session.pool.weights.tolist()
    return kept, pool, dict(session.counts)


def planted(panel, formula: str, share: float, seed: int) -> np.ndarray:
    """A target that is a formula's standardised values and noise."""
    values = evaluate_one(parse(formula), panel)
    values = np.where(np.isfinite(values), values, 0.0)
    z = (values - values.mean(axis=1, keepdims=True)) / (values.std(axis=1, keepdims=True) + 1e-12)
    return share * z + np.random.default_rng(seed).normal(size=panel.shape)


def test_a_seed_repeats_itself_and_another_does_not(make_panel):
    panel = make_panel(160, 20, seed=2)
    one, two, other = (searched(panel, seed=seed) for seed in (1, 1, 2))
    assert one.evaluations == 150
    assert one.counts["games"] > 3  # so the network has learned
    assert found(one) == found(two) != found(other)


def test_threads_change_nothing(make_panel):
    from alphaloom.mining import Settings

    panel = make_panel(160, 20, seed=2)
    one, two = (searched(panel, settings=Settings(threads=threads)) for threads in (1, 2))
    assert found(one) == found(two)


@pytest.mark.parametrize("stop", [1, 90, 140])
def test_a_stopped_search_goes_on_to_the_same_formulas(make_panel, tmp_path, stop):
    panel = make_panel(160, 20, seed=2)

    class Dies(Session):
        def judge(self, exprs):
            if self.evaluations >= stop:
                raise KeyboardInterrupt
            return super().judge(exprs)

    begun = session_of(panel, kind=Dies, directory=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        MINER.mine(begun)
    resumed = searched(panel, directory=tmp_path)
    assert found(resumed) == found(searched(panel))
    again = searched(panel, directory=tmp_path)  # a finished search is only read
    assert found(again)[:2] == found(resumed)[:2]
    assert again.evaluations == 150


def test_what_is_kept_is_unlike_safe_and_offered_to_the_pool(make_panel):
    panel = make_panel(200, 20, seed=3)
    session = searched(panel, target=planted(panel, "ts_mean(close, 5) / open", 0.5, 0))
    assert session.finds
    ics = [abs(alpha.ic) for alpha in session.finds]
    assert ics == sorted(ics, reverse=True)
    assert min(ics) >= 0.01
    alike = np.array([[(a.z * b.z).sum(axis=1).mean() for a in session.finds] for b in session.finds])
    assert np.abs(alike - np.diag(np.diag(alike))).max() <= 0.7
    for alpha in session.finds:
        unit = unit_of(alpha.expr)
        assert split_safe(alpha.expr) or unit.price == unit.share
    assert len(session.pool) == min(4, len(session.finds))


def test_worth_is_what_similarity_leaves_of_the_coefficient(make_panel):
    panel = make_panel(200, 20, seed=3)
    session = session_of(panel, planted(panel, "close / open", 0.5, 0))
    archive = Archive(session, size=2)
    forms = archive.judge([parse(text) for text in ("close / open", "high / open", "low / vwap", "close / close")])
    ics = [session.known[form].ic for form in forms]
    assert [archive.worth(form) for form in forms[:3]] == pytest.approx(np.abs(ics[:3]))
    assert archive.worth(forms[3]) == 0.0  # a constant
    assert [str(alpha.expr) for alpha in archive.admit(forms[:1], 1)] == ["close / open"]
    filled = [session.filled(session.known[form]).z for form in forms[:2]]
    alike = abs(float((filled[0] * filled[1]).sum(axis=1).mean()))
    # The reward's similarity is measured on sampled cells.
    assert archive.worth(forms[1]) == pytest.approx((1 - alike) * abs(ics[1]), abs=0.03)
    assert archive.worth(forms[0]) == pytest.approx(0.0, abs=1e-3)
    signed = Archive(session, size=2, signed=True)
    signed.judge([parse("close / open")])
    assert signed.worth(forms[2]) == pytest.approx(ics[2])


def test_a_better_version_takes_the_place_of_what_it_is_like(make_panel):
    panel = make_panel(200, 20, seed=3)
    session = session_of(panel, planted(panel, "close / open", 1.0, 0))
    for signed in (False, True):
        archive = Archive(session, size=5, signed=signed, most_alike=0.5, least_ic=0.0)
        texts = ("(close + vwap) / open", "delta(volume, 5) / volume", "close / open")
        worse, other, better = archive.judge([parse(text) for text in texts])
        assert abs(session.known[better].ic) > abs(session.known[worse].ic)
        assert len(archive.admit([worse, other], 2)) == 2
        paid = session.known[better].ic
        if signed:
            assert archive.worth(better) < 0.7 * paid  # as printed: likeness to anything takes from it
            assert not archive.admit([better], 1)
            assert {alpha.expr for alpha in archive.alphas} == {worse, other}
        else:
            assert archive.worth(better) == pytest.approx(paid)
            assert [alpha.expr for alpha in archive.admit([better], 1)] == [better]
            assert {alpha.expr for alpha in archive.alphas} == {other, better}
            assert archive.correlations.shape == (2, 2)
            # What gave way comes back no more, and is worth nothing much beside what took its place.
            assert not archive.admit([worse], 1)
            assert archive.worth(worse) < 0.7 * abs(session.known[worse].ic)


def test_steps_are_programs_and_the_paper_has_none(make_panel):
    panel = make_panel(200, 20, seed=3)
    target = planted(panel, "ts_mean(close, 5) / open", 0.5, 0)
    assert Alpha2().refine == 0.9
    assert Alpha2("paper").refine == 0.0
    with_steps, without = (searched(panel, target=target, miner=replace(MINER, refine=part)) for part in (0.6, 0.0))
    assert with_steps.evaluations == without.evaluations == 150
    assert with_steps.counts["games"] < without.counts["games"]
    best = [max(abs(alpha.ic) for alpha in session.finds) for session in (with_steps, without)]
    assert best[0] >= best[1]


def test_the_pool_hears_of_steps_before_a_game_ends(make_panel, monkeypatch):
    panel, at_end = make_panel(160, 20, seed=2), []
    keep = alpha2_search.Player._keep

    def seen(self, game):
        at_end.append((self.session.evaluations, self.session.pool.ic))
        return keep(self, game)

    monkeypatch.setattr(alpha2_search.Player, "_keep", seen)
    miner = Alpha2(simulations=60, net=MINER.net)
    session = searched(panel, target=planted(panel, "close / open", 0.5, 0), miner=miner, budget=900)
    assert at_end[0][0] > 2 * 200
    assert at_end[0][1] > 0.0
    assert session.pool.ic >= at_end[0][1] > 0.5 * session.pool.ic


def test_an_overfull_archive_keeps_the_best_beside_each_other(make_panel):
    panel = make_panel(200, 20, seed=3)
    session = session_of(panel, planted(panel, "close / open", 1.0, 0))
    archive = Archive(session, size=2, most_alike=1.0, least_ic=0.0)
    texts = ("close / open", "close / vwap", "delta(volume, 5) / volume")
    forms = archive.judge([parse(text) for text in texts])
    archive.admit(forms, 3)
    assert len(archive) == 2
    assert str(archive.top(1)[0].expr) == "close / open"
    ics, alike = [abs(session.known[form].ic) for form in forms], np.zeros(3)
    for k in (1, 2):
        z = [session.filled(session.known[form]).z for form in (forms[0], forms[k])]
        alike[k] = abs(float((z[0] * z[1]).sum(axis=1).mean()))
    second = 1 + int(np.argmax([(1 - alike[k]) * ics[k] for k in (1, 2)]))
    assert str(archive.top(2)[1].expr) == str(forms[second])


def test_the_published_profile_runs(make_panel):
    panel = make_panel(160, 20, seed=2)
    paper = replace(MINER, profile="paper", harvest=0, refine=0.0)
    assert paper.length == 10
    assert Alpha2("paper").network == NetSettings.published()
    session = searched(panel, miner=paper, grammar=replace(GRAMMAR, units="paper"))
    assert session.evaluations == 150
    assert session.counts["games"] > 1


def test_an_exhausted_grammar_ends_the_search(make_panel):
    panel = make_panel(160, 20)
    few = Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=10)
    session = searched(panel, grammar=few, miner=replace(MINER, max_length=4))
    assert session.evaluations < 150


def test_a_planted_formula_of_two_operators_is_found(make_panel):
    panel = make_panel(260, 30, seed=6)
    target = planted(panel, "(close - open) / vwap", 0.5, 1)
    session = searched(panel, target=target, budget=600, miner=replace(MINER, simulations=100, net=NetSettings()))
    truth = evaluate_one(parse("(close - open) / vwap"), panel)
    judge = session_of(panel, target)
    mine, true = judge.filled(judge.judge([session.finds[0].expr])[0]), judge.judge([parse("(close - open) / vwap")])
    assert np.isfinite(truth[60:]).all()
    alike = float((mine.z * judge.filled(true[0]).z).sum(axis=1).mean())
    assert abs(alike) > 0.9


@pytest.mark.slow
def test_on_average_better_than_random(make_panel):
    panel = make_panel(400, 40, seed=8)
    formula, best = "ts_corr(close / open, volume, 10)", {"alpha2": [], "random": []}
    for seed in range(5):
        target = planted(panel, formula, 0.3, seed)
        for name, miner in (("alpha2", replace(MINER, simulations=100, net=NetSettings())), ("random", RandomSearch())):
            session = session_of(panel, target, budget=1000, seed=seed)
            miner.mine(session)
            best[name].append(max(abs(alpha.ic) for alpha in session.known.values() if alpha.valid))
    assert np.mean(best["alpha2"]) > np.mean(best["random"])


def test_a_network_learns_what_it_is_shown():
    import torch

    from alphaloom.mining.alpha2_network import Guide, Lesson, inputs_of, two_hot
    from alphaloom.mining.programs import Programs

    torch.set_num_threads(1)
    spread = two_hot(torch.tensor([0.2, -0.3, 0.0]))
    assert spread.sum(dim=1).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert spread[0, 29] == spread[1, 0] == pytest.approx(1.0)
    assert spread[2, 14] == spread[2, 15] == pytest.approx(0.5)
    programs = Programs(GRAMMAR)
    guide = Guide(programs, SMALL, seed=3)
    state = programs.start()
    wanted = int(np.flatnonzero(state.legal())[7])
    assert guide.ask([state])[0].value == 0.0
    policy = np.zeros((2, len(programs)), np.float32)
    policy[:, wanted] = 1.0
    later = state.push(wanted)
    policy[1] = later.legal() / later.legal().sum()
    lesson = Lesson(
        inputs_of([state, later]),
        np.stack([state.legal(), later.legal()]),
        policy,
        np.array([0.1, -0.05], np.float32),
        np.array([0.0, 0.005], np.float32),
    )
    losses = [guide.learn(lesson) for _ in range(400)]
    assert losses[-1] < losses[0]
    first, second = guide.ask([state, later])
    assert int(np.argmax(np.where(state.legal(), first.logits, -np.inf))) == wanted
    assert first.value == pytest.approx(0.1, abs=0.03)
    assert second.value == pytest.approx(-0.05, abs=0.03)
    other = Guide(programs, SMALL, seed=9)
    other.recall(guide.memory(), guide.steps)
    assert other.learn(lesson) == guide.learn(lesson)
    assert np.array_equal(other.ask([later])[0].logits, guide.ask([later])[0].logits)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"profile": "bold"}, "safe or paper"),
        ({"simulations": 1}, "at least 2"),
        ({"batch": 0}, "at least 1"),
        ({"beta": 1.5}, "lies in"),
        ({"refine": 1.0}, "below 1"),
    ],
)
def test_settings_are_checked(more, why):
    with pytest.raises(DataError, match=why):
        Alpha2(**more)
    with pytest.raises(DataError, match="heads divide"):
        NetSettings(heads=3)
