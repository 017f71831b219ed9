"""The risk-seeking policy: its quantile, its gradient, its steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy import stats

from alphaloom.mining.riskminer_plan import PLANS
from alphaloom.mining.riskminer_search import probabilities

torch = pytest.importorskip("torch")

from alphaloom.mining.riskminer_policy import Policy, risk_weight, tracked  # noqa: E402

SMALL = replace(PLANS["safe"], layers=2, width=8, embedding=4, hidden=(6,), end_bias=0.0)


@dataclass
class Lived:
    tokens: list[int]
    total: float
    masks: list = field(default_factory=list)
    behaviour: list[float] = field(default_factory=list)

    def __post_init__(self):
        self.masks = self.masks or [np.ones(3, bool)] * len(self.tokens)


@pytest.mark.parametrize("law", [stats.norm(), stats.uniform(-1, 3), stats.expon()], ids=["normal", "uniform", "exp"])
def test_the_quantile_finds_its_level(law):
    drawn = law.rvs(size=40_000, random_state=np.random.default_rng(1))
    quantile, late = 0.0, []
    for k, value in enumerate(drawn):
        quantile = tracked(quantile, value, 0.85, 0.01)
        if k > 20_000:
            late.append(quantile)
    assert law.cdf(np.mean(late)) == pytest.approx(0.85, abs=0.01)


def test_a_quantile_moves_by_the_printed_rule():
    assert tracked(0.2, 0.3, 0.85, 0.01) == pytest.approx(0.2 + 0.0085)
    assert tracked(0.2, 0.2, 0.85, 0.01) == pytest.approx(0.2 - 0.0015)


def test_weights_of_episodes():
    assert risk_weight(0.1, 0.2, 0.85, printed=False) == pytest.approx(0.85)
    assert risk_weight(0.1, 0.1, 0.85, printed=False) == pytest.approx(-0.15)
    assert risk_weight(0.1, 0.2, 0.85, printed=True) == 0.0
    assert risk_weight(0.1, 0.0, 0.85, printed=True) == -1.0


@pytest.mark.parametrize("update", ["centred", "printed"])
def test_the_gradient_of_a_choice_of_two_by_hand(update):
    plan = replace(SMALL, update=update, optimiser="sgd", rate=0.1, entropy=0.0, gradient=0.0, batch=2)
    policy = Policy(3, plan, seed=0)
    policy.quantile = 0.5
    mask = [np.array([True, True, False])]
    before = policy.net.last.bias.detach().numpy().copy()
    chance = probabilities(policy.start(1)[1], mask[0][None])[0]
    policy.learn([Lived([0], 1.0, mask), Lived([1], 0.0, mask)])
    high, low = (0.85, -0.15) if update == "centred" else (0.0, -1.0)
    hand = 0.5 * (high * (np.eye(3)[0] - chance) + low * (np.eye(3)[1] - chance))
    moved = policy.net.last.bias.detach().numpy() - before
    assert moved == pytest.approx(0.1 * hand, abs=1e-7)
    assert moved[0] > 0 > moved[1]
    assert moved[2] == 0.0


def test_the_policy_comes_to_prefer_what_pays():
    policy, random = Policy(3, replace(SMALL, rate=1e-2), seed=1), np.random.default_rng(0)
    for _ in range(30):
        logits = policy.start(1)[1]
        chance = probabilities(logits, np.ones((1, 3), bool))[0]
        episodes = []
        for _ in range(40):
            first = int(random.choice(3, p=chance))
            episodes.append(Lived([first, 2], {0: 1.0, 1: 0.5, 2: 0.0}[first] + random.normal() * 0.1))
        lesson = policy.learn(episodes)
    assert chance[0] > 0.6
    assert 0.5 < lesson.quantile < 1.5
    assert lesson.entropy < np.log(3)


def test_a_step_costs_one_cell_and_says_what_the_whole_prefix_does():
    policy = Policy(5, replace(SMALL, layers=4), seed=3)
    tokens = np.array([[1, 0, 3, 2], [2, 2, 1, 0]])
    read = np.concatenate([np.full((2, 1), 4), tokens], axis=1)
    whole = policy.net(torch.from_numpy(read)).detach().numpy()
    hidden, logits = policy.start(2)
    assert logits == pytest.approx(whole[:, 0], abs=1e-6)
    for k in range(4):
        hidden, logits = policy.step(hidden, tokens[:, k])
        assert logits == pytest.approx(whole[:, k + 1], abs=1e-6)


def test_what_is_illegal_is_never_likely():
    masks = np.array([[True, False, True], [False, True, False]])
    chance = probabilities(np.array([[1.0, 50.0, 1.0], [0.0, -80.0, 3.0]], np.float32), masks)
    assert chance.tolist() == [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]


def test_a_policy_is_remembered_to_the_bit_and_does_not_touch_the_global_generator():
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    one = Policy(3, SMALL, seed=2)
    assert torch.rand(1) == first
    episodes = [Lived([0, 1, 2], 0.4), Lived([1, 2], 0.1), Lived([2], -0.3)]
    one.learn(episodes)
    two = Policy(3, SMALL, seed=9)
    two.recall(one.memory())
    for policy in (one, two):
        policy.learn(episodes[::-1])
    for name, value in one.memory().items():
        assert np.array_equal(value, two.memory()[name]), name


def test_an_episode_that_the_tree_chose_counts_no_more_than_asked():
    plan = replace(SMALL, importance=2.0, optimiser="sgd", entropy=0.0, gradient=0.0)
    policy = Policy(3, plan, seed=0)
    weight = policy._importance([Lived([0], 0.0, behaviour=[1.0]), Lived([0], 0.0, behaviour=[1e-6])], torch.zeros(2))
    assert weight.tolist() == [1.0, 2.0]
