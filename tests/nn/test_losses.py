from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, rankdata

from alphaloom.nn.losses import LOSSES, correlation_by_date, soft_rank


def of(name, pred, y, weight=None, sizes=None):
    pred, y = (torch.tensor(part, dtype=torch.float64) for part in (pred, y))
    pred, y = (part[:, None] if part.ndim == 1 else part for part in (pred, y))
    weight = torch.ones(len(y), dtype=torch.float64) if weight is None else torch.tensor(weight, dtype=torch.float64)
    return float(LOSSES[name](pred, y, weight, sizes or [len(y)]))


def test_the_sign_aware_loss_by_hand():
    # Errors 1, 4, 9 and 4; the first agrees in sign, the second does not, zero agrees with nothing.
    pred, y = [2.0, -1.0, 0.0, 2.0], [1.0, 1.0, 3.0, 0.0]
    assert of("adj_mse", pred, y) == pytest.approx((0.1 * 1 + 1.1 * 4 + 1.1 * 9 + 1.1 * 4) / 4)
    assert of("adj_mse_half", pred, y) == pytest.approx((0.5 * 1 + 2 * 4 + 2 * 9 + 2 * 4) / 4)
    assert of("mse", pred, y) == pytest.approx(18 / 4)


def test_the_logistic_variant_goes_from_two_and_a_half_to_one_half():
    # Far from 0 the weight is 2.5 where signs differ and 1/2 where they agree, whatever the unit of the labels.
    for unit in (1.0, 0.01):
        assert of("adj_mse_logistic", [3 * unit], [-unit]) == pytest.approx(2.5 * 16 * unit**2, rel=1e-6)
        assert of("adj_mse_logistic", [3 * unit], [unit]) == pytest.approx(0.5 * 4 * unit**2, rel=1e-6)
    assert of("adj_mse_logistic", [0.0], [1.0]) == pytest.approx(1.5)


def test_unknown_labels_are_left_out_and_weights_count():
    nan = float("nan")
    assert of("mse", [[1.0, 5.0], [2.0, 2.0]], [[0.0, nan], [0.0, 0.0]]) == pytest.approx((1 + 4 + 4) / 3)
    assert of("mse", [1.0, 2.0], [0.0, 0.0], [2.0, 0.0]) == pytest.approx(1.0)
    assert of("huber", [3.0, 0.5], [0.0, 0.0]) == pytest.approx((2.5 + 0.125) / 2)
    for name in ("mse", "ic", "rank_ic", "listwise"):
        pred = torch.zeros(4, 1, requires_grad=True)
        LOSSES[name](pred, torch.full((4, 1), nan), torch.ones(4), [4]).backward()
        assert (pred.grad == 0).all()


def test_chances_against_their_definition():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 6))
    y = np.array([[0, 2], [1, 1], [2, np.nan], [0, 0], [1, 2]], dtype=float)
    expected = []
    for row, labels in zip(logits, y, strict=True):
        for k, label in enumerate(labels):
            if np.isfinite(label):
                part = row[3 * k : 3 * k + 3]
                expected.append(np.log(np.exp(part).sum()) - part[int(label)])
    assert of("cross_entropy", logits, y) == pytest.approx(np.mean(expected))
    assert of("bce", [0.7, -0.2], [1.0, 0.0]) == pytest.approx(
        np.mean([np.log(1 + np.exp(-0.7)), np.log(1 + np.exp(-0.2))])
    )


def test_the_ic_loss_is_the_mean_correlation_of_the_dates():
    rng = np.random.default_rng(1)
    pred, y = rng.normal(size=(2, 30, 2))
    y[3, 0] = np.nan
    sizes = [12, 18]
    expected = []
    for rows in (slice(0, 12), slice(12, 30)):
        for k in range(2):
            known = np.isfinite(y[rows, k])
            expected.append(pearsonr(pred[rows, k][known], y[rows, k][known])[0])
    assert of("ic", pred, y, sizes=sizes) == pytest.approx(-np.mean(expected), rel=1e-5)
    found = correlation_by_date(torch.tensor(pred), torch.tensor(y), sizes)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # What is the same for all assets of a date does not count.
    assert of("ic", pred + np.repeat([5.0, -3.0], sizes)[:, None], y, sizes=sizes) == pytest.approx(
        -np.mean(expected), rel=1e-5
    )
    # A date whose rows weigh nothing does not count either.
    weight = np.repeat([2.0, 0.0], sizes)
    assert of("ic", pred, y, weight, sizes) == pytest.approx(-np.sum(expected[:2]) * 2 / 4, rel=1e-5)


def test_soft_ranks_become_ranks():
    values = np.array([0.3, -1.0, 2.0, 0.31, 5.0])
    np.testing.assert_allclose(soft_rank(torch.tensor(values), 1e-4).numpy(), rankdata(values), atol=1e-3)
    rough = soft_rank(torch.tensor(values)).numpy()
    assert (np.argsort(rough) == np.argsort(values)).all()
    rng = np.random.default_rng(2)
    pred, y = rng.normal(size=(2, 40))
    y = np.round(y)  # ties
    exact = pearsonr(rankdata(pred), rankdata(y))[0]
    assert of("rank_ic", pred, y) == pytest.approx(-exact, abs=0.03)


@pytest.mark.parametrize("name", ["ic", "rank_ic", "listwise"])
def test_orders_are_learnt_downhill(name):
    rng = np.random.default_rng(3)
    y = torch.tensor(rng.normal(size=(20, 1)))
    pred = torch.tensor(rng.normal(size=(20, 1)), requires_grad=True)
    before = float(LOSSES[name](pred.detach(), y, torch.ones(20), [20]))
    for _ in range(300):
        loss = LOSSES[name](pred, y, torch.ones(20), [20])
        (slope,) = torch.autograd.grad(loss, pred)
        pred = (pred - 2.0 * slope).detach().requires_grad_()
    assert float(LOSSES[name](pred.detach(), y, torch.ones(20), [20])) < before
    assert pearsonr(rankdata(pred.detach().numpy()), rankdata(y.numpy()))[0] > 0.75


def test_a_date_that_says_nothing_is_left_out():
    for y in ([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, float("nan"), float("nan")]):
        assert correlation_by_date(torch.arange(4.0)[:, None], torch.tensor(y)[:, None], [4]) == []
        assert of("ic", [1.0, 2.0, 3.0, 4.0], y) == 0.0
