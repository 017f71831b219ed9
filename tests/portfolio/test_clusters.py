from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.portfolio.clusters import ClusteredRisk, equal_cluster_risk, nested_clusters
from alphaloom.portfolio.covariance import Risk, estimate
from alphaloom.portfolio.quadratic import least_variance
from alphaloom.testing import check_policy


def blocks(groups=(3, 2, 4), seed=0):
    """Assets that move together in groups, the groups apart from each other, and a market over all."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(groups)), groups)
    exposures = np.zeros((len(label), len(groups) + 1))
    exposures[:, -1] = 0.4
    exposures[np.arange(len(label)), label] = rng.uniform(0.8, 1.5, len(label))
    return Risk(exposures, np.eye(len(groups) + 1), rng.uniform(0.1, 0.4, len(label))), label


def test_equal_risk_of_two_pairs_by_hand():
    # Two pairs with correlation 0.9 inside and none between; variances 1 and 1, 4 and 4. Pairs at half and half have
    # variances 0.95 and 3.8, so the first gets four fifths of the money.
    pair = np.array([[1.0, 0.9], [0.9, 1.0]])
    sigma = np.block([[pair, np.zeros((2, 2))], [np.zeros((2, 2)), 4 * pair]])
    risk = Risk(np.linalg.cholesky(sigma), np.eye(4), np.zeros(4))
    np.testing.assert_allclose(equal_cluster_risk(risk, 2, linkage="ward"), [0.4, 0.4, 0.1, 0.1], rtol=1e-12)
    np.testing.assert_allclose(nested_clusters(risk, 2, linkage="ward"), [0.4, 0.4, 0.1, 0.1], rtol=1e-9)


def test_one_cluster_and_as_many_clusters_as_assets():
    risk, _ = blocks()
    whole = least_variance(risk, total=1.0, cap=1.0).weights
    np.testing.assert_allclose(nested_clusters(risk, 1, linkage="ward"), whole, atol=1e-12)
    np.testing.assert_allclose(nested_clusters(risk, 9, linkage="ward"), whole, atol=1e-9)
    inverse = 1 / risk.deviations() ** 2
    np.testing.assert_allclose(equal_cluster_risk(risk, 1, linkage="ward"), inverse / inverse.sum(), rtol=1e-12)


def test_nested_weights_written_out():
    risk, label = blocks()
    sigma = risk.dense()
    held = np.zeros((3, 9))
    for k in range(3):
        inside = label == k
        held[k, inside] = least_variance(risk.part(inside), total=1.0, cap=1.0).weights
    reduced = held @ sigma @ held.T
    outer = least_variance(Risk(np.linalg.cholesky(reduced), np.eye(3), np.zeros(3)), total=1.0, cap=1.0).weights
    np.testing.assert_allclose(nested_clusters(risk, 3, linkage="ward"), outer @ held, atol=1e-9)


@pytest.mark.parametrize("method", [equal_cluster_risk, nested_clusters])
def test_order_and_scale_of_the_assets_do_not_matter(method):
    risk, _ = blocks(seed=3)
    order = np.random.default_rng(1).permutation(9)
    first = method(risk, 3, linkage="ward")
    assert first.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(method(risk.part(order), 3, linkage="ward"), first[order], atol=1e-9)
    np.testing.assert_allclose(method(risk.scaled(5), 3, linkage="ward"), first, atol=1e-9)
    assert method(risk.part([2]), 3, linkage="ward").tolist() == [1.0]


@pytest.mark.parametrize("clusters", [2, 4])
def test_equal_risk_of_skfolio(make_panel, clusters):
    pytest.importorskip("skfolio", reason="the extra `portfolio` is not installed")
    from skfolio.cluster import HierarchicalClustering
    from skfolio.optimization import HierarchicalEqualRiskContribution

    panel = make_panel(130, 14, seed=4)
    x = (panel["close"][1:] / panel["close"][:-1] - 1)[-120:]
    peer = HierarchicalEqualRiskContribution(
        hierarchical_clustering_estimator=HierarchicalClustering(max_clusters=clusters)
    )
    expected = peer.fit(x).weights_
    found = equal_cluster_risk(estimate("sample", panel, 120), clusters, linkage="ward")
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_nested_clusters_of_skfolio(make_panel):
    pytest.importorskip("skfolio", reason="the extra `portfolio` is not installed")
    from skfolio.cluster import HierarchicalClustering
    from skfolio.optimization import MeanRisk, NestedClustersOptimization

    panel = make_panel(130, 14, seed=4)
    x = (panel["close"][1:] / panel["close"][:-1] - 1)[-120:]
    peer = NestedClustersOptimization(
        inner_estimator=MeanRisk(),
        outer_estimator=MeanRisk(),
        clustering_estimator=HierarchicalClustering(max_clusters=4),
        cv="ignore",
    )
    expected = peer.fit(x).weights_
    found = nested_clusters(estimate("sample", panel, 120), 4, linkage="ward")
    np.testing.assert_allclose(found, expected, atol=3e-4)  # its two solves stop at about 1e-4 each


@pytest.mark.parametrize("method", ["equal_risk", "nested"])
def test_a_decision_with_halted_and_new_assets(make_panel, book_of, method, monkeypatch):
    from alphaloom.portfolio import clusters

    panel = make_panel(70, 6, seed=1)
    close = panel["close"].copy()
    close[-1, 2] = np.nan
    close[:50, 4] = np.nan
    panel = panel.replace(fields={**panel.fields, "close": close})
    policy = ClusteredRisk(window=60, cash=0.1, clusters=2, method=method)
    weights = policy.decide(panel, book_of(panel, np.array([0.0, 0, 0.25, 0, 0.1, 0])))
    assert weights[2] == pytest.approx(0.25)
    assert weights[4] == 0.0
    assert weights.sum() == pytest.approx(0.9)
    assert policy.counts == {"solves": 1, "fallbacks": 0}
    assert np.isnan(policy.decide(panel[:60], book_of(panel[:60]))).all()
    lost = np.full(4, np.nan)
    monkeypatch.setattr(clusters, "nested_clusters", lambda *args, **named: lost)
    monkeypatch.setattr(clusters, "equal_cluster_risk", lambda *args, **named: lost)
    assert np.isnan(policy.decide(panel, book_of(panel))).all()
    assert policy.counts["fallbacks"] == 1
    assert "was kept" in policy.notes[0]


@pytest.mark.parametrize("method", ["equal_risk", "nested"])
def test_the_law_of_policies(make_panel, method):
    check_policy(ClusteredRisk(window=40, every=1, method=method, clusters=3), make_panel(90, 10, holes=0.05), rows=8)


def test_faults_are_named():
    for setting in ({"risk": "x"}, {"window": 1}, {"every": 0}, {"clusters": 0}, {"method": "x"}, {"linkage": "x"}):
        with pytest.raises(DataError, match=rf"ClusteredRisk\.{next(iter(setting))}"):
            ClusteredRisk(**setting)
