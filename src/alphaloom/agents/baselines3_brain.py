"""A layered net as plain arrays, from what is seen to what is done; it acts without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.observed import Observed
from alphaloom.agents.trading import Mode
from alphaloom.errors import AxisError, DataError

__all__ = ["LOGITS", "Activation", "LayeredBrain", "simplex"]

Activation = Literal["tanh", "relu"]
Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
# Logits of weights are held within this: e ** 10 between the most and the least wanted is all that money can tell.
LOGITS = 5.0


def simplex(logits: NDArray[Any], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights from logits, cash first; what may not be traded gets none.

    Shape: logits (B, N + 1), usable (B, N) -> (B, N + 1), rows that add up to 1.
    """
    free = np.concatenate((np.ones((len(usable), 1), np.bool_), usable), axis=1)
    scores = np.where(free, np.asarray(logits, np.float64), -np.inf)
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class LayeredBrain:
    """Linear layers with tanh or relu between them, over the flat layout of an environment.

    What the last layer says is, by mode: logits of weights, cash first, held within `LOGITS`; shares within -1 and 1;
    three numbers an asset, the largest is done; a number for each joint action. `squash` brings numbers into their
    range by tanh instead of cutting them. `spec` is that of the observations it was trained on.
    Shape: layers of weights (out, in) and offsets (out,), float32; the first takes 1 + N + M + window * N * F.
    Raises: DataError for layers that do not follow each other.
    """

    mode: Mode
    spec: str
    layers: Layers
    activation: Activation = "tanh"
    squash: bool = False

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode) or self.mode == "binary" or self.activation not in get_args(Activation):
            raise DataError(
                "a layered brain knows its mode and activation",
                found=f"{self.mode}, {self.activation}",
                where="brain",
                fix="weights, shares, discrete or joint; tanh or relu",
            )
        width = None
        for weights, offset in self.layers:
            if weights.ndim != 2 or offset.shape != weights.shape[:1] or width not in (None, weights.shape[1]):
                raise DataError(
                    "the layers of a net follow each other",
                    found=f"weights {weights.shape}, offset {offset.shape}, after {width}",
                    where="brain.layers",
                )
            width = len(offset)
        if width is None:
            raise DataError("a net has layers", found="none", where="brain.layers")

    def act(self, observed: Observed, rows: NDArray[np.int64], portfolio: NDArray[np.float32]) -> NDArray[Any]:
        """What is likeliest, or the mean.

        Shape: rows (B,), portfolio (B, N + 1) -> (B, N + 1) weights, (B, N) shares or orders, (B,) joint.
        Raises: AxisError for a panel that the net was not made for.
        """
        at = np.asarray(rows, np.int64)
        said = self._said(self.flat(observed, at, portfolio))
        N = observed.shape[1]
        if self.mode in ("weights", "shares"):
            bound = LOGITS if self.mode == "weights" else 1.0
            held = bound * np.tanh(said) if self.squash else np.clip(said, -bound, bound)
            return simplex(held, observed.usable[at]) if self.mode == "weights" else held
        if self.mode == "discrete":
            return np.asarray(said.reshape(len(at), N, 3).argmax(axis=2).astype(np.int8))
        return np.asarray(said.argmax(axis=1))

    def flat(self, observed: Observed, rows: NDArray[np.int64], portfolio: NDArray[np.float32]) -> NDArray[np.float32]:
        """What an environment shows in its flat layout.   Shape: (B, 1 + N + M + window * N * F)."""
        windows = observed.windows(rows).reshape(len(rows), -1)
        seen = np.concatenate((np.asarray(portfolio, np.float32), observed.market[rows], windows), axis=1)
        wanted = self.layers[0][0].shape[1]
        if seen.shape[1] != wanted:
            raise AxisError(
                "a layered net takes the assets and the layout of its training",
                found=f"{seen.shape[1]} numbers from {observed.shape[1]} assets",
                where="observed",
                fix=f"{wanted} numbers: the assets, features, market and window of the training",
            )
        return seen

    def _said(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.empty((len(seen), len(self.layers[-1][1])), np.float32)
        last = len(self.layers) - 1
        # Row by row, so that what is said of a row does not depend on who else asks.
        for b, x in enumerate(seen):
            for k, (weights, offset) in enumerate(self.layers):
                x = weights @ x + offset
                if k < last:
                    x = np.tanh(x) if self.activation == "tanh" else np.maximum(x, np.float32(0.0))
            out[b] = x
        return out

    def state(self) -> dict[str, Any]:
        """The stored form; arrays are leaves."""
        return {
            **{name: getattr(self, name) for name in ("mode", "spec", "activation", "squash")},
            "layers": {
                str(k): {"weights": np.array(weights), "offset": np.array(offset)}
                for k, (weights, offset) in enumerate(self.layers)
            },
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LayeredBrain:
        """The brain that `state` described.   Raises: DataError for layers that do not follow each other."""
        parts = state["layers"]
        layers = tuple(
            (np.asarray(parts[k]["weights"], np.float32), np.asarray(parts[k]["offset"], np.float32))
            for k in sorted(parts, key=int)
        )
        return cls(state["mode"], str(state["spec"]), layers, state["activation"], bool(state["squash"]))
