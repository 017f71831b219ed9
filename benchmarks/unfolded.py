"""A plain way to evaluate formulas: every window unfolded into a tensor (T, N, window), every operator a pass.

The stand-in of `mining_speed.py` for engines that are written like this; nothing is kept between formulas. float32 on
torch, the same definitions as the factor language: a window is known when all of its values are.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from alphaloom.factors import Expr
from alphaloom.panel import Panel

NAN = float("nan")


class Unfolded:
    """Formulas on one panel, each from its fields."""

    def __init__(self, panel: Panel, later: np.ndarray, start: int) -> None:
        self.fields = {name: torch.tensor(panel[name].astype(np.float32)) for name in panel.fields}
        self.member, self.start = panel.member, start
        self.later = torch.tensor(np.where(panel.member, later, np.nan).astype(np.float32))[start:]

    def ic(self, expr: Expr) -> float:
        """The mean correlation of a date's values with what came later."""
        x, y = self.values(expr)[self.start :], self.later
        known = torch.isfinite(x) & torch.isfinite(y)
        n = known.sum(1, keepdim=True)
        x, y = (torch.where(known, v, 0.0) for v in (x, y))
        x, y = (torch.where(known, v - v.sum(1, keepdim=True) / n, 0.0) for v in (x, y))
        found = (x * y).sum(1) / (x * x).sum(1).sqrt() / (y * y).sum(1).sqrt()
        good = (n[:, 0] >= 10) & torch.isfinite(found)
        return float(found[good].double().mean()) if good.any() else NAN

    def values(self, expr: Expr) -> torch.Tensor:
        """The values of a formula.   Shape: (T, N)."""
        if expr.op == "name":
            return self.fields[str(expr.value)]
        if expr.op == "number":
            return torch.full(self.member.shape, float(expr.value or 0.0))
        series = [arg for arg in expr.args if arg.op != "number" or expr.op in CELLS]
        operands = [self.values(arg) for arg in series]
        if expr.op == "rank":
            frame = pd.DataFrame(operands[0].numpy()).where(self.member)
            return torch.tensor(frame.rank(axis=1, pct=True).to_numpy().astype(np.float32))
        if expr.op in CELLS:
            found = CELLS[expr.op](*operands)
        else:
            found = rolled(expr.op, operands, int(expr.args[-1].value or 0))
        return torch.where(torch.isfinite(found), found, NAN)


CELLS = {
    "abs": torch.abs,
    "sign": lambda x: torch.where(torch.isnan(x), NAN, torch.sign(x)),
    "log": torch.log,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


def rolled(op: str, operands: list[torch.Tensor], d: int) -> torch.Tensor:
    """A window operator; rows without a whole window are not known."""
    x = operands[0]
    out = torch.full_like(x, NAN)
    if op == "delay":
        out[d:] = x[:-d]
        return out
    if d > len(x):
        return out
    windows = [operand.unfold(0, d, 1) for operand in operands]
    out[d - 1 :] = WINDOWS[op](*windows)
    return out


def median(w: torch.Tensor) -> torch.Tensor:
    ordered, d = w.sort(-1).values, w.shape[-1]
    middle = 0.5 * (ordered[..., (d - 1) // 2] + ordered[..., d // 2])
    return torch.where(torch.isnan(w).any(-1), NAN, middle)


def moment(w: torch.Tensor, power: int) -> torch.Tensor:
    centred = w - w.mean(-1, keepdim=True)
    square = (centred * centred).mean(-1)
    flat = square <= 1e-12 * (w * w).mean(-1)
    found = (centred**power).mean(-1) / square ** (power / 2) - (3.0 if power == 4 else 0.0)
    return torch.where(flat, NAN, found)


def ranked(w: torch.Tensor) -> torch.Tensor:
    last, d = w[..., -1:], w.shape[-1]
    place = (w < last).sum(-1) + 0.5 * ((w == last).sum(-1) + 1)
    return torch.where(torch.isnan(w).any(-1), NAN, place / d)


def weighted(w: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (w * (weights / weights.sum())).sum(-1)


def ema(w: torch.Tensor) -> torch.Tensor:
    d = w.shape[-1]
    return weighted(w, (1.0 - 2.0 / (d + 1.0)) ** torch.arange(d - 1, -1, -1.0))


def covariance(v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    a, b = v - v.mean(-1, keepdim=True), w - w.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (v.shape[-1] - 1)


def correlation(v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    left, right = covariance(v, v), covariance(w, w)
    flat = (left <= 1e-12 * (v * v).mean(-1)) | (right <= 1e-12 * (w * w).mean(-1))
    return torch.where(flat, NAN, covariance(v, w) / (left.sqrt() * right.sqrt()))


WINDOWS = {
    "ts_mean": lambda w: w.mean(-1),
    "ts_sum": lambda w: w.sum(-1),
    "ts_median": median,
    "ts_std": lambda w: w.std(-1),
    "ts_var": lambda w: w.var(-1),
    "ts_max": lambda w: w.max(-1).values,
    "ts_min": lambda w: w.min(-1).values,
    "ts_skew": lambda w: moment(w, 3),
    "ts_kurt": lambda w: moment(w, 4),
    "ts_rank": ranked,
    "decay_linear": lambda w: weighted(w, torch.arange(1.0, w.shape[-1] + 1.0)),
    "ema_cut": ema,
    "ts_cov": covariance,
    "ts_corr": correlation,
}
