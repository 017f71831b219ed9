from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.portfolio.covariance import Risk, estimate
from alphaloom.portfolio.hierarchical import HierarchicalRiskParity, bisected, quasi_diagonal
from alphaloom.testing import check_policy


def risk_of(sigma):
    return Risk(np.linalg.cholesky(sigma), np.eye(len(sigma)), np.zeros(len(sigma)))


def ten_assets():
    """Five independent assets and five noisy copies, as in the published example: copies of 1, 0, 3, 4 and 2."""
    rng = np.random.default_rng(12345)
    own = rng.normal(0, 1, (2000, 5)) * [1.0, 1.5, 2.0, 0.7, 1.2]
    copies = own[:, [1, 0, 3, 4, 2]] + rng.normal(0, 0.25, (2000, 5))
    return np.cov(np.hstack([own, copies]).T)


def published(sigma, method="single"):
    """The three steps as the paper tells them, one asset at a time."""
    from scipy.cluster.hierarchy import linkage

    size = np.sqrt(np.diag(sigma))
    apart = np.sqrt((1 - sigma / np.outer(size, size)).clip(0) / 2)
    N = len(sigma)
    alike = np.array([[np.sqrt(((apart[:, i] - apart[:, j]) ** 2).sum()) for j in range(N)] for i in range(N)])
    pairs = [alike[i, j] for i in range(N) for j in range(i + 1, N)]
    tree = linkage(np.array(pairs), method)

    def leaves(node):
        return [node] if node < N else leaves(int(tree[node - N, 0])) + leaves(int(tree[node - N, 1]))

    order = leaves(2 * N - 2)
    weights = dict.fromkeys(range(N), 1.0)
    clusters = [order]
    while clusters:
        halves = [c[a:b] for c in clusters for a, b in ((0, len(c) // 2), (len(c) // 2, len(c))) if len(c) > 1]
        for left, right in zip(halves[::2], halves[1::2], strict=True):
            variances = []
            for part in (left, right):
                block = sigma[np.ix_(part, part)]
                inside = 1 / np.diag(block)
                inside /= inside.sum()
                variances.append(inside @ block @ inside)
            share = 1 - variances[0] / (variances[0] + variances[1])
            for asset in left:
                weights[asset] *= share
            for asset in right:
                weights[asset] *= 1 - share
        clusters = [half for half in halves if len(half) > 1]
    return order, np.array([weights[i] for i in range(N)])


def test_two_and_three_assets_by_hand():
    np.testing.assert_allclose(bisected(risk_of(np.diag([1.0, 4.0])), np.arange(2)), [0.8, 0.2])
    # The list 2 | 0 1: variances 1 and, at equal parts, 1/2: a third and two thirds, the latter shared equally.
    weights = bisected(risk_of(np.eye(3)), np.array([2, 0, 1]))
    np.testing.assert_allclose(weights, [1 / 3, 1 / 3, 1 / 3])
    weights = bisected(risk_of(np.diag([1.0, 1.0, 2.0])), np.array([2, 0, 1]))
    np.testing.assert_allclose(weights, [0.4, 0.4, 0.2])


def test_the_published_recursion_on_ten_assets():
    sigma = ten_assets()
    risk = risk_of(sigma)
    order, expected = published(sigma)
    found = quasi_diagonal(risk, "single", "profile")
    assert found.tolist() == order
    copies = [{1, 5}, {0, 6}, {3, 7}, {4, 8}, {2, 9}]
    neighbours = {frozenset(map(int, pair)) for pair in pairwise(found)}
    assert all(frozenset(pair) in neighbours for pair in copies)
    weights = bisected(risk, found)
    np.testing.assert_allclose(weights, expected, rtol=1e-10)
    assert weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["single", "average"])
def test_weights_of_skfolio(make_panel, method):
    pytest.importorskip("skfolio", reason="the extra `portfolio` is not installed")
    from skfolio.cluster import HierarchicalClustering, LinkageMethod
    from skfolio.optimization import HierarchicalRiskParity as Peer
    from skfolio.seriation import HierarchicalSeriation

    panel = make_panel(130, 21, seed=4)
    x = (panel["close"][1:] / panel["close"][:-1] - 1)[-120:]
    clustering = HierarchicalClustering(linkage_method=LinkageMethod(method))
    seriation = HierarchicalSeriation(hierarchical_clustering_estimator=clustering, optimal_ordering=False)
    expected = Peer(seriation_estimator=seriation).fit(x).weights_
    risk = estimate("sample", panel, 120)
    found = bisected(risk, quasi_diagonal(risk, method, "correlation"))
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_scale_does_not_matter_and_a_lone_asset_gets_all():
    risk = risk_of(ten_assets())
    order = quasi_diagonal(risk, "ward", "correlation")
    np.testing.assert_array_equal(quasi_diagonal(risk.scaled(21), "ward", "correlation"), order)
    np.testing.assert_allclose(bisected(risk.scaled(21), order), bisected(risk, order), rtol=1e-12)
    assert bisected(risk.part([3]), quasi_diagonal(risk.part([3]), "single", "profile")).tolist() == [1.0]


def test_a_decision_with_halted_and_new_assets(make_panel, book_of):
    panel = make_panel(70, 6, seed=1)
    close = panel["close"].copy()
    close[-1, 2] = np.nan
    close[:50, 4] = np.nan
    panel = panel.replace(fields={**panel.fields, "close": close})
    policy = HierarchicalRiskParity(window=60, cash=0.1)
    weights = policy.decide(panel, book_of(panel, np.array([0.0, 0, 0.25, 0, 0.1, 0])))
    assert weights[2] == pytest.approx(0.25)
    assert weights[4] == 0.0
    assert weights.sum() == pytest.approx(0.9)
    assert policy.counts == {"solves": 1}
    assert policy.notes == ()
    assert np.isnan(policy.decide(panel[:60], book_of(panel[:60]))).all()


@pytest.mark.parametrize("distance", ["profile", "correlation"])
def test_the_law_of_policies(make_panel, distance):
    policy = HierarchicalRiskParity(window=40, every=1, distance=distance)
    check_policy(policy, make_panel(90, 10, holes=0.05), rows=8)


def test_faults_are_named():
    for setting in ({"risk": "none"}, {"window": 1}, {"every": 0}, {"cash": 1.0}, {"linkage": "x"}, {"distance": "x"}):
        with pytest.raises(DataError, match=rf"HierarchicalRiskParity\.{next(iter(setting))}"):
            HierarchicalRiskParity(**setting)
