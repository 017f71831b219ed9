"""A trained net: its description, its weights as numpy arrays, and the course of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.nn.samples import windows
from alphaloom.nn.specs import NetSpec, spec_from_state, spec_state
from alphaloom.nn.torch_state import torch_threads

__all__ = ["FittedNet"]

# Every product has the shape of a full chunk, so that what is said of a row depends on no other row, to the last bit.
_CHUNK = 128


@dataclass(frozen=True, eq=False)
class FittedNet:
    """A net with its weights.

    `history` maps a name ("loss", "held_loss", "held_ic") to one number for each epoch; `best` is the epoch, from 0,
    whose weights these are.
    """

    spec: NetSpec
    features: int
    outputs: int
    state: Mapping[str, NDArray[Any]]
    history: Mapping[str, tuple[float, ...]]
    best: int = 0

    def module(self) -> Any:
        """The torch module, in evaluation mode on the processor."""
        import torch

        with torch.random.fork_rng(devices=[]):
            built = self.spec.build(self.features, self.outputs)
        built.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in self.state.items()})
        return built.eval()

    def to_state(self) -> dict[str, Any]:
        """Texts, numbers, lists and, as leaves, the arrays of weights."""
        return {
            "net": spec_state(self.spec),
            "features": self.features,
            "outputs": self.outputs,
            "weights": {name: np.array(values) for name, values in self.state.items()},
            "history": {name: list(values) for name, values in self.history.items()},
            "best": self.best,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FittedNet:
        """The net that `to_state` described.   Raises: DataError where its weights do not fit its description."""
        return cls(
            spec_from_state(state["net"]),
            int(state["features"]),
            int(state["outputs"]),
            {name: np.asarray(values) for name, values in state["weights"].items()},
            {name: tuple(float(value) for value in values) for name, values in state["history"].items()},
            int(state["best"]),
        ).fitting("weights")

    def fitting(self, where: str) -> FittedNet:
        """This net, its weights compared with its description.   Raises: DataError where they do not fit it."""
        try:
            self.module()
        except RuntimeError as misfit:
            found = str(misfit).splitlines()[-1].strip()
            raise DataError("stored weights fit their net", found=found, where=where) from None
        return self

    def predict(self, x: NDArray[Any], *, device: str = "cpu") -> NDArray[np.float32]:
        """What the net says of some rows.   Shape: (R, F) or (R, L, F) -> (R, O).   Missing: NaN is read as 0."""
        return self._said(len(x), lambda start, stop: np.array(x[start:stop], dtype=np.float32), device)

    def predict_windows(
        self, grid: NDArray[Any], row: NDArray[Any], column: NDArray[Any], *, length: int, device: str = "cpu"
    ) -> NDArray[np.float32]:
        """What the net says of windows that end at `row` in `column` of (T, N, F).   Shape: (R,) -> (R, O)."""
        place, name = np.asarray(row, np.int64), np.asarray(column, np.int64)
        return self._said(
            len(place), lambda start, stop: windows(grid, place[start:stop], name[start:stop], length=length), device
        )

    def _said(self, R: int, read: Any, device: str) -> NDArray[np.float32]:
        import torch

        net = self.module().to(device)
        out = np.empty((R, self.outputs), dtype=np.float32)
        with torch_threads(1), torch.inference_mode():
            for start in range(0, R, _CHUNK):
                part = np.nan_to_num(read(start, min(R, start + _CHUNK)), nan=0.0, posinf=0.0, neginf=0.0)
                whole = np.zeros((_CHUNK, *part.shape[1:]), dtype=np.float32)
                whole[: len(part)] = part
                said = net(torch.from_numpy(whole).to(device)).float().cpu().numpy()
                out[start : start + len(part)] = said[: len(part)]
        return out
