"""PPO: advantages by hand, masks, the surrogate's direction, padding, resume, and finding what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.factors import evaluate_one, parse
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Alpha, Budget, Pool, Session
from alphaloom.mining.ppo import PPO
from alphaloom.signal import forward_returns

torch = pytest.importorskip("torch")
GRAMMAR = Grammar(windows=(5, 10), max_tokens=8, max_lookback=60)
SMALL = PPO(steps=100, environments=4, epochs=2, batch=32, width=16, keep_every=1)


@pytest.fixture
def learning():
    from alphaloom.mining import ppo_learning

    return ppo_learning


@pytest.fixture
def net():
    from alphaloom.mining.ppo_network import PolicyNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PolicyNet(len(GRAMMAR.tokens), width=16).eval()


def begun(panel, *, target=None, kind=Session, **more):
    if target is None:
        target = forward_returns(panel, Market(), horizon=3)
    more = {"grammar": GRAMMAR, "pool": Pool(4), "start_row": 60, "budget": Budget(60), "seed": 1, **more}
    return kind(panel, target, **more)


def found(session):
    return [str(alpha.expr) for alpha in session.pool.alphas], session.pool.weights.tolist(), dict(session.counts)


def test_advantages_by_hand(learning):
    # d = (0.3 - 0.2, 0.5 - 0.3, 1 - 0.5) = (0.1, 0.2, 0.5); from the end 0.5, 0.2 + 0.25, 0.1 + 0.225
    assert learning.advantages([0.2, 0.3, 0.5], 1.0, discount=1.0, trace=0.5) == pytest.approx([0.325, 0.45, 0.5])
    assert learning.advantages([0.2, 0.3, 0.5], 1.0, discount=1.0, trace=1.0) == pytest.approx([0.8, 0.7, 0.5])
    assert learning.advantages([0.2, 0.4], 1.0, discount=0.5, trace=0.0) == pytest.approx([0.0, 0.6])


class Fixed:
    """Draws one number."""

    def __init__(self, number):
        self.number = number

    def random(self, count):
        return np.full(count, self.number)


def test_illegal_actions_have_no_chance_at_all(learning, net):
    from alphaloom.mining.ppo_network import log_chances

    legal = torch.tensor([[True, False, True], [False, True, False]])
    chances = log_chances(torch.tensor([[0.0, 50.0, 0.0], [-9.0, -9.0, 9.0]]), legal).exp()
    assert chances.tolist() == [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]
    # Even the largest number that can be drawn gives an action that has a chance.
    for u in (0.0, 0.5, 1.0 - 2.0**-53, 1.0):
        drawn = learning._drawn(chances.double().numpy(), Fixed(u))
        assert drawn.tolist() in ([0, 1], [2, 1])


def test_every_episode_is_a_formula_and_is_remembered_as_it_was(learning, net):
    episodes = learning.played(GRAMMAR, net, np.random.default_rng(0), environments=4, steps=150)
    assert 150 <= sum(len(episode.actions) for episode in episodes) < 150 + 4 * GRAMMAR.max_tokens
    for episode in episodes:
        assert GRAMMAR.decode(episode.actions) is episode.expr
        assert all(legal[action] for legal, action in zip(episode.legal, episode.actions, strict=True))
        assert len(episode.values) == len(episode.log_chances) == len(episode.actions)
    # The whole-formula pass says what the step-by-step pass said.
    batch = learning.stacked(episodes, net, discount=1.0, trace=0.95)
    from alphaloom.mining.ppo_network import log_chances

    with torch.no_grad():
        logits, values = net(batch.read)
    logs = log_chances(logits, batch.legal).gather(-1, batch.actions[..., None]).squeeze(-1)
    assert logs[batch.real].numpy() == pytest.approx(batch.log_chances[batch.real].numpy(), abs=1e-5)
    assert values[batch.real].numpy() == pytest.approx(
        np.concatenate([episode.values for episode in episodes]), abs=1e-5
    )


def test_padding_has_a_number_of_its_own(learning, net):
    episodes = learning.played(GRAMMAR, net, np.random.default_rng(0), environments=4, steps=100)
    batch = learning.stacked(episodes, net, discount=1.0, trace=0.95)
    assert (batch.read[batch.real] > 0).all()
    assert (batch.read[~batch.real] == 0).all()
    assert (batch.read[:, 0] == net.begin).all()
    assert not net.embedding.weight[0].any()
    # The first action of the grammar can be seen: it is not what padding is.
    with torch.no_grad():
        said = [net(torch.tensor([[net.begin, number]]))[0][0, 1] for number in (0, 1)]
    assert not torch.equal(*said)


def an_episode(learning, actions, reward):
    legal = [np.ones(len(GRAMMAR.tokens), bool)] * len(actions)
    return learning.Episode(actions, legal, [-3.0] * len(actions), [0.0] * len(actions), parse("close"), reward)


def test_what_paid_becomes_likelier_and_what_did_not_less(learning, net):
    from alphaloom.mining.ppo_network import log_chances

    settings = PPO(entropy=0.0, value=0.0)
    batch = learning.stacked(
        [an_episode(learning, [3], 1.0), an_episode(learning, [5], -1.0)], net, discount=1.0, trace=1.0
    )
    with torch.no_grad():
        before = log_chances(net(batch.read)[0], batch.legal)[0, 0]
    batch = batch._replace(log_chances=before[[3, 5]][:, None].clone())
    learning.loss(net, batch, settings).backward()
    with torch.no_grad():
        for weight in net.parameters():
            weight -= 0.05 * (weight.grad if weight.grad is not None else 0.0)
        after = log_chances(net(batch.read)[0], batch.legal)[0, 0]
    assert after[3] > before[3]
    assert after[5] < before[5]


def test_beyond_the_clip_nothing_pulls(learning, net):
    settings = PPO(entropy=0.0, value=0.0, clip=0.2)
    batch = learning.stacked(
        [an_episode(learning, [3], 1.0), an_episode(learning, [5], -1.0)], net, discount=1.0, trace=1.0
    )
    # As if what paid were already far likelier than when it was played, and what did not far less likely.
    batch = batch._replace(log_chances=torch.tensor([[-9.0], [-0.1]]))
    learning.loss(net, batch, settings).backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in net.parameters())


def test_the_loss_by_hand(learning, net):
    settings = PPO(entropy=0.5, value=2.0)
    legal = np.zeros(len(GRAMMAR.tokens), bool)
    legal[3] = True  # one way only: the chance is 1, nothing is undecided, the ratio is 1
    episodes = [learning.Episode([3], [legal], [0.0], [0.5], None, reward) for reward in (1.0, 3.0)]
    batch = learning.stacked(episodes, net, discount=1.0, trace=1.0)
    with torch.no_grad():
        expected = float(net(batch.read)[1][0, 0])
        found = float(learning.loss(net, batch, settings))
    assert found == pytest.approx(2.0 * ((expected - 1.0) ** 2 + (expected - 3.0) ** 2) / 2, rel=1e-5)


def test_minibatches_hold_whole_episodes_and_all_of_them(learning):
    lengths = [3, 7, 5, 2, 8, 4, 6, 3]
    got = list(learning.batches(lengths, 10, np.random.default_rng(0)))
    assert sorted(place for batch in got for place in batch) == list(range(8))
    assert all(sum(lengths[place] for place in batch) >= 5 for batch in got)
    assert len(got) >= 2


def rewarded(make_panel, mode):
    from alphaloom.mining.ppo_search import Search

    session = begun(make_panel(160, 20, seed=2))
    search = Search(PPO(end_mode=mode, width=16), session)
    first, second = session.judge([parse("close / open"), parse("high / low")])
    copy = session.judge([parse("close / open")])[0]
    unusable = Alpha(parse("close"), np.nan, np.nan, 0.0, "constant")
    return session, [search._reward(alpha) for alpha in (first, second, copy, unusable)], abs(first.ic)


def test_the_end_pays_the_level_or_the_increment(make_panel):
    session, level, ic = rewarded(make_panel, "level")
    assert level[0] == pytest.approx(ic)
    assert level[1] == level[2] == session.pool.ic
    assert level[3] == 0.0
    session, gained, ic = rewarded(make_panel, "increment")
    assert gained[0] == pytest.approx(ic)
    assert gained[1] == pytest.approx(session.pool.ic - ic)
    assert gained[2:] == [0.0, 0.0]


def test_the_budget_is_spent_and_a_seed_repeats_itself(make_panel):
    panel = make_panel(160, 20, seed=2)
    state = torch.get_rng_state()
    sessions = [begun(panel, seed=seed) for seed in (1, 1, 2)]
    for session in sessions:
        SMALL.mine(session)
    one, two, other = sessions
    assert one.evaluations == 60
    assert found(one) == found(two) != found(other)
    assert one.curve[-1][0] == 60
    assert torch.equal(state, torch.get_rng_state())  # what others drew from is as it was


def test_a_stopped_search_goes_on_to_the_same_bytes(make_panel, tmp_path):
    panel = make_panel(160, 20, seed=2)

    class Dies(Session):
        def checkpoint(self, state):
            super().checkpoint(state)
            if self.evaluations >= 20:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SMALL.mine(begun(panel, kind=Dies, directory=tmp_path / "one"))
    whole, resumed = begun(panel, directory=tmp_path / "two"), begun(panel, directory=tmp_path / "one")
    SMALL.mine(whole)
    SMALL.mine(resumed)
    assert found(resumed) == found(whole)
    nets = [next((tmp_path / name).glob("miner-*.safetensors")).read_bytes() for name in ("one", "two")]
    assert nets[0] == nets[1]


def test_a_settled_policy_ends_the_search(make_panel):
    few = Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=4)
    session = begun(make_panel(160, 20), grammar=few, budget=Budget(1000))
    PPO(steps=20, environments=2, epochs=1, width=8).mine(session)
    assert session.evaluations < 5


def test_a_planted_formula_is_found(make_panel):
    panel, formula = make_panel(260, 30, seed=5), "ts_mean(close, 10) / close"
    values = evaluate_one(formula, panel)
    z = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    target = 0.3 * z + np.sqrt(1 - 0.09) * np.random.default_rng(7).normal(size=z.shape)
    session = begun(panel, target=target, budget=Budget(800), pool=Pool(10))
    PPO(steps=512, epochs=4, width=32).mine(session)
    truth = begun(panel, target=target).judge([parse(formula)])[0]
    assert np.abs(session.similarity(truth)).max() > 0.95


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"profile": "published"}, "safe or paper"),
        ({"end_mode": "sum"}, "level or increment"),
        ({"steps": 0}, "at least 1"),
        ({"learning_rate": 0.0}, "positive"),
        ({"trace": 1.5}, r"\[0, 1\]"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
    ],
)
def test_settings_are_checked(settings, rule):
    with pytest.raises(DataError, match=rule):
        PPO(**settings)


def test_profiles_give_what_was_not_said():
    assert PPO().end_mode == "increment"
    assert PPO("paper").end_mode == "level"
    assert PPO("paper", end_mode="increment").end_mode == "increment"
