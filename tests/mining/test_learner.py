"""A search as a learner: what it may see, what validation chooses, and the whole way through a study."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace

import numpy as np
import pytest

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError, SolveError
from alphaloom.factors import evaluate_one, parse
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.metrics.ranking import ic
from alphaloom.mining import Mined, RandomSearch, Session
from alphaloom.mining.combiners import Boosting, Dynamic, Terms
from alphaloom.mining.forecaster import MinedForecaster
from alphaloom.panel import Panel
from alphaloom.portfolio import TopK
from alphaloom.signal import forward_returns
from alphaloom.study import Study, WalkForward
from alphaloom.testing import attacked, check_learner

GRAMMAR = Grammar(windows=(5, 10), max_tokens=9, max_lookback=40)
TERMS = Terms(boosting=Boosting(trees=10, min_rows=30), dynamic=Dynamic(window=40))
SMALL = Mined(
    RandomSearch(batch=8), GRAMMAR, capacity=6, sizes=(3, 6), horizon=3, evaluations=40, terms=TERMS, snapshots=2
)


@pytest.fixture
def panel(make_panel) -> Panel:
    return make_panel(240, 20, seed=6)


def found(learner: Mined, train: Panel) -> tuple:
    session = learner.searched(train, Market()).session
    return (
        [str(a.expr) for a in session.pool.alphas],
        session.pool.weights.tolist(),
        session.curve,
        dict(session.counts),
    )


@dataclass(frozen=True)
class Offers:
    """Offers given formulas."""

    texts: tuple[str, ...]

    def mine(self, session: Session) -> None:
        for alpha in session.judge([parse(text) for text in self.texts]):
            session.offer(alpha)


def test_the_search_does_not_know_the_rows_that_judge(panel):
    train = panel[:200]
    cut = SMALL.cut(train)
    assert cut == 160
    seen = SMALL.searched(train, Market()).session
    assert len(seen.panel) == cut
    gap = SMALL.horizon + 1
    scored = np.flatnonzero(np.isfinite(seen.target).any(axis=1)) + GRAMMAR.max_lookback
    assert scored[-1] == cut - gap - 1
    for attack in ("shuffle", "poison"):
        assert found(SMALL, attacked(panel, cut - 1, attack)[:200]) == found(SMALL, train)


def test_a_label_of_the_search_reads_no_row_that_judges(panel):
    """The last searched label ends on the row before the first that judges."""
    cut = SMALL.cut(panel[:200])
    poisoned = attacked(panel, cut - 2, "poison")[:200]  # the last searched row itself is changed
    assert found(SMALL, poisoned)[1] != found(SMALL, panel[:200])[1]


def test_what_is_learned_depends_on_the_past_alone(panel):
    check_learner(replace(SMALL, evaluations=20), panel, split=0.8, rows=3)


def test_equal_seeds_learn_equal_pools(panel):
    one, two = (SMALL.fit(panel[:200], Market()) for _ in range(2))
    assert one.pool.text == two.pool.text
    assert replace(SMALL, seed=1).fit(panel[:200], Market()).pool.formulas != one.pool.formulas


@pytest.mark.parametrize("kind", ["mse", "lasso", "icir", "lcb", "ridge_wf", "gbdt", "dynamic"])
def test_every_combiner_learns_and_speaks(kind, panel):
    made = replace(SMALL, combiner=kind).fit(panel[:200], Market())
    assert made.pool.combiner == kind
    said = made.predict(panel).values[200:]
    assert np.isfinite(said).mean() > 0.9


def test_validation_chooses_the_pool_that_did_best_there(panel):
    """Brute force: the candidates' scores are made from their files and judged on the last rows alone."""
    learner = replace(SMALL, combiner=("mse", "icir"), l1=(5e-3, 0.05), sizes=(2, 6))
    train, market = panel[:200], Market()
    done, cut = learner.searched(train, market), learner.cut(train)
    target = forward_returns(train, market, horizon=3).values
    scores = []
    for pool, told in learner._judged(done, train, market):
        said = MinedForecaster(pool).predict(train).values
        by_hand = np.nanmean(ic(said[cut:], np.where(train.member, target, np.nan)[cut:]))
        assert told == pytest.approx(by_hand, abs=1e-5)
        scores.append((told, pool.formulas, pool.weights))
    best = max(scores, key=lambda row: row[0])
    made = learner.fit(train, market)
    assert (made.pool.formulas, made.pool.weights) == best[1:]
    assert f"among {len(scores)} pools" in made.notes[-1]


def test_snapshots_are_the_pool_at_even_points_and_its_end(panel):
    done = replace(SMALL, snapshots=4, evaluations=200).searched(panel[:200], Market())
    assert 2 <= len(done.snapshots) <= 4
    assert done.snapshots[-1] == tuple(alpha.expr for alpha in done.session.pool.alphas)
    assert len(replace(SMALL, snapshots=1).searched(panel[:200], Market()).snapshots) == 1


def test_what_the_miner_ranked_itself_is_tried_too(panel):
    @dataclass(frozen=True)
    class Ranks:
        def mine(self, session: Session) -> None:
            alphas = session.judge([parse("close / ts_mean(close, 5)"), parse("volume / delay(volume, 5)")])
            session.offer(alphas[0])
            session.finds = tuple(alphas)

    done = replace(SMALL, miner=Ranks()).searched(panel[:200], Market())
    assert [len(snapshot) for snapshot in done.snapshots] == [1, 2]


def test_trees_take_the_formulas_with_the_best_coefficients(panel):
    learner = replace(SMALL, combiner="gbdt", sizes=(2,), snapshots=1)
    done = learner.searched(panel[:200], Market())
    members = [done.session.known[expr] for expr in done.snapshots[-1]]
    best = sorted(members, key=lambda alpha: -abs(alpha.ic))[:2]
    made = learner.fit(panel[:200], Market())
    assert set(made.pool.formulas) == {str(alpha.expr) for alpha in best}


def test_a_planted_formula_is_what_comes_out(panel):
    texts = ("close / ts_mean(close, 5)", "volume / delay(volume, 5)", "high / low")
    planted = evaluate_one(texts[1], panel)[5:]
    z = (planted - planted.mean(axis=1, keepdims=True)) / planted.std(axis=1, keepdims=True)
    # Bought at the open of t + 1, sold at that of t + 4: what the volume of t foretold is earned from t + 2 on.
    steps = np.vstack([np.zeros((7, panel.shape[1])), 0.01 * z[:-2]])
    lift = np.exp(np.cumsum(steps, axis=0))
    fields = {
        name: panel[name] * (lift if name in ("open", "close", "high", "low", "vwap") else 1) for name in panel.fields
    }
    made = replace(SMALL, miner=Offers(texts), sizes=(1,)).fit(panel.replace(fields=fields)[:200], Market())
    assert made.pool.formulas == ("volume / delay(volume, 5)",)
    assert made.pool.weights[0] > 0


def test_a_search_that_finds_nothing_says_so(panel):
    with pytest.raises(SolveError, match="find a formula"):
        replace(SMALL, miner=Offers(("sign(close)", "close / close"))).fit(panel[:200], Market())
    with pytest.raises(DataError, match="dates to judge"):
        SMALL.fit(panel[:60], Market())
    with pytest.raises(SolveError, match="outcome lies in the training slice"):
        replace(SMALL, valid=0.02).fit(panel[:200], Market())


def test_fields_that_the_panel_lacks_are_left_out_and_noted(panel):
    bare = panel.replace(fields={name: panel[name] for name in panel.fields if name != "vwap"}, units={}, source="")
    made = SMALL.fit(bare[:200], Market())
    assert "vwap" not in made.pool.grammar.features
    assert "vwap" in made.notes[0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"miner": "random"}, "mine"),
        ({"capacity": 0}, "at least one formula"),
        ({"horizon": 0}, "horizon"),
        ({"valid": 1.0}, "between"),
        ({"evaluations": 0}, "evaluates"),
        ({"snapshots": 0}, "snapshot"),
        ({"sizes": ()}, "sizes"),
        ({"l1": (0.1, -1.0)}, "penalty"),
        ({"combiner": ("lasso", "vote")}, "one of"),
    ],
)
def test_bad_settings_are_refused(change, match):
    with pytest.raises(DataError, match=match):
        replace(SMALL, **change)


CONFIG = """
name = "mined"
seed = 3

[data]
kind = "embedded"
days = 420
assets = 30

[learner]
kind = "mined"
horizon = 3
evaluations = 30
capacity = 6
sizes = [3, 6]
combiner = ["lasso", "mse"]
l1 = 0.002
snapshots = 2

[learner.miner]
kind = "random_search"
batch = 8

[learner.grammar]
windows = [5, 10]
max_tokens = 9
max_lookback = 40

[learner.settings]
clip = 4.0

[learner.terms.boosting]
trees = 20

[allocator]
kind = "top_k"
k = 5

[plan]
train = 220
test = 90
"""


def test_a_configuration_names_a_mined_learner_and_its_parts():
    from alphaloom.app.config import describe, parse_config

    config = parse_config(tomllib.loads(CONFIG), "mined.toml")
    assert config.learner == Mined(
        RandomSearch(batch=8),
        Grammar(windows=(5, 10), max_tokens=9, max_lookback=40),
        capacity=6,
        l1=0.002,
        horizon=3,
        evaluations=30,
        combiner=("lasso", "mse"),
        sizes=(3, 6),
        snapshots=2,
        settings=replace(SMALL.settings, clip=4.0),
        terms=Terms(boosting=Boosting(trees=20), seed=3),
        seed=3,
    )
    assert parse_config(describe(config), "again").learner == config.learner


def test_faults_in_the_parts_are_named_with_their_place():
    from alphaloom.app.config import parse_config
    from alphaloom.errors import ConfigError

    text = CONFIG.replace('"random_search"', '"random_serch"').replace("trees = 20", "trees = 0")
    with pytest.raises(ConfigError) as caught:
        parse_config(tomllib.loads(text), "mined.toml")
    told = str(caught.value)
    assert "learner.miner.kind" in told
    assert "random_search" in told
    assert "learner.terms.boosting.trees" in told


def test_a_study_of_a_mined_learner_runs_from_data_to_result(tmp_path):
    panel = simulate(EmbeddedMarket(days=420, assets=30, seed=3))
    study = Study("mined", SMALL, Market(), WalkForward(train=220, test=90), TopK(5))
    result = study.run(panel, directory=tmp_path / "run")
    assert np.isfinite(result.summary["rank_ic_mean"]["value"])
    assert any("validation chose" in str(fold) for fold in result.folds)
    again = study.run(panel)
    assert np.array_equal(again.daily["equity"], result.daily["equity"])
