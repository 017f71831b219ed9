"""Values of different experts made comparable, and the assets that are then held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Alignment", "Idle", "Member", "Rule", "aligned", "chosen", "gradient_to_pool"]

Alignment = Literal["none", "advantage", "cdf", "popart", "penalty"]
Rule = Literal["positive", "top_k"]
Idle = Literal["cash", "basket"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Member:
    """One agent of an ensemble: K experts of one width.

    Shape: `weights` as `layer_shapes` names them; `mean`, `spread` (K,); `table` (K, Q) ascending, the quantiles of
    each expert's scores on its training rows.
    Unit: a net's output o stands for the value `unit` * (`spread` * o + `mean`), which is a return. `deviation` is that
    of the scores of all experts on the training rows, in the unit of the aligned score.
    """

    weights: Mapping[str, NDArray[np.float32]]
    dueling: bool
    unit: float
    mean: Floats
    spread: Floats
    table: Floats
    deviation: float = 1.0

    @property
    def inputs(self) -> int:
        """How many numbers a net sees."""
        return int(self.weights["w1"].shape[1])

    def outputs(self, x: NDArray[np.float32], expert: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """What the nets say.   Shape: x (B, N, D) and expert (N,), or None where one serves all -> (B, N, 2).

        Every product has the shape of one row of assets, so that what is said of a row depends on no other row.
        """
        w = self.weights
        hidden = x if expert is None else x[:, :, None, :]
        for layer in (1, 2, 3):
            matrix, bias = w[f"w{layer}"], w[f"b{layer}"]
            hidden = hidden @ matrix[0] + bias[0] if expert is None else hidden @ matrix[expert] + bias[expert]
            if layer < 3:
                hidden = np.maximum(hidden, 0.0)
        out = hidden if expert is None else hidden[:, :, 0, :]
        if self.dueling:
            gain = out[..., 1:]
            out = out[..., :1] + gain - gain.mean(axis=-1, keepdims=True)
        return np.asarray(out, dtype=np.float32)

    def values(self, x: NDArray[np.float32], expert: NDArray[np.int64] | None) -> Floats:
        """The values of not holding and of holding, as returns.   Shape: (B, N, D) -> (B, N, 2)."""
        place = np.zeros(x.shape[1], np.int64) if expert is None else expert
        out = self.outputs(x, expert).astype(np.float64)
        return self.unit * (self.spread[place][:, None] * out + self.mean[place][:, None])

    def state(self) -> dict[str, Any]:
        """The stored form; arrays are leaves."""
        arrays = {name: np.array(getattr(self, name)) for name in ("mean", "spread", "table")}
        weights = {name: np.array(values) for name, values in self.weights.items()}
        return {
            "weights": weights,
            "dueling": self.dueling,
            "unit": self.unit,
            "deviation": self.deviation,
            **arrays,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Member:
        """The member that `state` described."""
        arrays = {name: np.asarray(state[name], dtype=np.float64) for name in ("mean", "spread", "table")}
        weights = {name: np.asarray(values, dtype=np.float32) for name, values in state["weights"].items()}
        unit, deviation = float(state["unit"]), float(state["deviation"])
        return cls(weights, bool(state["dueling"]), unit, deviation=deviation, **arrays)


def aligned(member: Member, values: Floats, place: NDArray[np.int64], alignment: Alignment) -> tuple[Floats, Floats]:
    """By how much holding is better, and the score by which assets are ranked, in deviations.

    "none" ranks by the value of holding, "advantage" and "penalty" by that value less the value of not holding, from
    which whatever an expert adds to both has gone; "popart" divides that by the spread of its expert's targets; "cdf"
    replaces it by the normal quantile of its place among its expert's training scores, so that what is positive is
    what is above its expert's median.
    Shape: values (..., N, 2), place (N,) -> (..., N) twice.
    """
    gain = values[..., 1] - values[..., 0]
    if alignment == "popart":
        gain = gain * (member.spread.mean() / member.spread[place])
    elif alignment == "cdf":
        gain = _quantile(member.table, gain, place)
    order = values[..., 1] if alignment == "none" else gain
    return gain / member.deviation, order / member.deviation


def _quantile(table: Floats, gain: Floats, place: NDArray[np.int64]) -> Floats:
    from scipy.special import ndtri

    Q = table.shape[1]
    share = (np.arange(Q) + 0.5) / Q
    found = np.empty_like(gain)
    for expert in np.unique(place):
        columns = place == expert
        found[..., columns] = np.interp(gain[..., columns], table[expert], share)
    return np.asarray(ndtri(found), dtype=np.float64)


def chosen(gain: Floats, order: Floats, usable: NDArray[np.bool_], *, rule: Rule, k: int | None, idle: Idle) -> Floats:
    """Equal weights of the assets that are better held; rows without any hold cash, or all assets as a "basket".

    "top_k" keeps the `k` of the highest order among them, by default a fifth of the usable ones and at least one.
    Shape: (B, N) each -> (B, N), rows sum to 1 or 0.   Missing: an asset without a score is not held.
    """
    able = usable & np.isfinite(gain) & np.isfinite(order)
    held = able & (gain > 0.0)
    if rule == "top_k":
        limit = np.maximum(able.sum(axis=1) // 5, 1) if k is None else np.full(len(able), k)
        ranked = np.argsort(np.where(held, -order, np.inf), axis=1, kind="stable")
        place = np.empty_like(ranked)
        np.put_along_axis(place, ranked, np.broadcast_to(np.arange(able.shape[1]), ranked.shape), axis=1)
        held &= place < limit[:, None]
    if idle == "basket":
        held = np.where(held.any(axis=1, keepdims=True), held, able)
    return np.asarray(held / np.maximum(held.sum(axis=1, keepdims=True), 1))


def gradient_to_pool(values: Any, mean: float, spread: float) -> Any:
    """The slope, with respect to each expert's values, of their distance from the values of all experts.

    The distance is (mean_k - mean)^2 + (spread_k - spread)^2 + the energy distance of the samples, whose slope at x is
    4 (F_pool(x) - F_k(x)) over the number of samples; `mean` and `spread` are the pool's.
    Shape: torch values (K, m) -> (K, m).   Source: the published wish for one shared distribution of values; the energy
    distance is that of Szekely and Rizzo 2013.
    """
    import torch

    K, m = values.shape
    own = values.mean(dim=1, keepdim=True)
    off = values - own
    deviation = off.square().mean(dim=1, keepdim=True).sqrt_().clamp_(min=1e-8)
    slope = 2.0 * (own - mean) + 2.0 * (deviation - spread) * off / deviation
    pool = values.reshape(-1).sort().values
    inside = values.sort(dim=1).values
    below = (torch.searchsorted(pool, values) + torch.searchsorted(pool, values, right=True)).float() / (2.0 * K * m)
    mine = (torch.searchsorted(inside, values) + torch.searchsorted(inside, values, right=True)).float() / (2.0 * m)
    return (slope + 4.0 * (below - mine)) / m
