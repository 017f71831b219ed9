"""How wrong a net is: for single samples, or for the order of the samples of each date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["LOSSES", "SIGN_GRACE", "Loss", "correlation_by_date", "soft_rank"]

# (pred (B, O), y (B, H) with NaN where nothing is to be said, weight (B,), samples of each date) -> one number
Loss = Callable[[Tensor, Tensor, Tensor, Sequence[int]], Tensor]

SIGN_GRACE = 0.1
_LOGISTIC_BETA = 2.5
_LOGISTIC_STEEPNESS = 10.0
_SOFTNESS = 0.1
_TINY = 1e-8
_FEWEST = 3


def _pointwise(error: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """The weighted mean of a sample's error over everything that is known."""

    def loss(pred: Tensor, y: Tensor, weight: Tensor, sizes: Sequence[int]) -> Tensor:
        known = torch.isfinite(y)
        each = error(pred, torch.where(known, y, 0.0))
        return (torch.where(known, each, 0.0) * weight[:, None]).sum() / known.sum().clamp(min=1)

    return loss


def _square(pred: Tensor, y: Tensor) -> Tensor:
    return (pred - y) ** 2


def _huber(pred: Tensor, y: Tensor) -> Tensor:
    return functional.huber_loss(pred, y, reduction="none", delta=1.0)


def _sign_aware(agreeing: float, disagreeing: float) -> Callable[[Tensor, Tensor], Tensor]:
    def error(pred: Tensor, y: Tensor) -> Tensor:
        # The weight is a step: its slope is nothing, and at pred = 0 the loss has a kink (for y != 0 a jump).
        factor = torch.where(pred.detach() * y > 0.0, agreeing, disagreeing)
        return factor * (pred - y) ** 2

    return error


def _sign_aware_smooth(pred: Tensor, y: Tensor) -> Tensor:
    """The step drawn out to a logistic curve from `_LOGISTIC_BETA` (signs differ) down to 1/2 (signs agree)."""
    agreement = pred * y / (y * y).mean().clamp(min=_TINY)
    factor = 0.5 + (_LOGISTIC_BETA - 0.5) * torch.sigmoid(-_LOGISTIC_STEEPNESS * agreement)
    return factor * (pred - y) ** 2


def _coin(pred: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(pred, y, reduction="none")


def _classes(pred: Tensor, y: Tensor, weight: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cross-entropy; pred holds the C logits of the first column of y, then those of the second, and so on."""
    known = torch.isfinite(y)
    logits = pred.view(len(y), y.shape[1], -1).transpose(1, 2)
    each = functional.cross_entropy(logits, torch.where(known, y, 0.0).long(), reduction="none")
    return (torch.where(known, each, 0.0) * weight[:, None]).sum() / known.sum().clamp(min=1)


def _by_date(said: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """The mean over dates and columns of a function of one date's column; a date weighs as its samples on average."""

    def loss(pred: Tensor, y: Tensor, weight: Tensor, sizes: Sequence[int]) -> Tensor:
        parts = [part for p, t, w in _columns(pred, y, weight, sizes) for part in [said(p, t) * w.mean()]]
        return torch.stack(parts).mean() if parts else (pred * 0.0).sum()

    return loss


def _columns(pred: Tensor, y: Tensor, weight: Tensor, sizes: Sequence[int]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Each date's column with the samples that are known in it, where they are enough and differ."""
    split = list(sizes)
    for p, t, w in zip(*(torch.split(part, split) for part in (pred, y, weight)), strict=True):
        for k in range(y.shape[1]):
            known = torch.isfinite(t[:, k])
            label = t[known, k]
            if len(label) >= _FEWEST and bool(label.max() > label.min()):
                yield p[known, k], label, w[known]


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / ((a * a).sum() * (b * b).sum() + _TINY).sqrt()


def _ranks(values: Tensor) -> Tensor:
    """Average-tie ranks, from 1.   Shape: (n,) -> (n,)."""
    _, place, count = torch.unique(values, return_inverse=True, return_counts=True)
    last = count.cumsum(0).to(values.dtype)
    rank: Tensor = (last - (count.to(values.dtype) - 1.0) / 2.0)[place]
    return rank


def soft_rank(values: Tensor, softness: float = _SOFTNESS) -> Tensor:
    """Ranks with a slope: how many values lie below each, a near one counting in part.

    `softness` is in standard deviations; towards 0 the ranks become the hard ones.   Shape: (n,) -> (n,).
    """
    scaled = (values - values.mean()) / (values.std(unbiased=False) + _TINY)
    return 0.5 + torch.sigmoid((scaled[:, None] - scaled[None, :]) / softness).sum(dim=1)


def _listwise(pred: Tensor, y: Tensor) -> Tensor:
    """How much the net's chances of being the best differ from those of the standardised labels (ListNet)."""
    wanted = functional.softmax((y - y.mean()) / (y.std(unbiased=False) + _TINY), dim=0)
    return -(wanted * functional.log_softmax(pred, dim=0)).sum()


def correlation_by_date(pred: Tensor, y: Tensor, sizes: Sequence[int]) -> list[float]:
    """The Pearson correlation of every date and column that has enough samples."""
    ones = torch.ones(len(y), device=y.device)
    return [float(_pearson(p, t)) for p, t, _ in _columns(pred, y, ones, sizes)]


LOSSES: dict[str, Loss] = {
    "mse": _pointwise(_square),
    "huber": _pointwise(_huber),
    "ic": _by_date(lambda pred, y: -_pearson(pred, y)),
    "rank_ic": _by_date(lambda pred, y: -_pearson(soft_rank(pred), _ranks(y))),
    "listwise": _by_date(_listwise),
    "adj_mse": _pointwise(_sign_aware(SIGN_GRACE, 1.0 + SIGN_GRACE)),
    "adj_mse_half": _pointwise(_sign_aware(0.5, 2.0)),
    "adj_mse_logistic": _pointwise(_sign_aware_smooth),
    "bce": _pointwise(_coin),
    "cross_entropy": _classes,
}
