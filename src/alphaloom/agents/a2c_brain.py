"""A taught actor: its weights as arrays and what it does, the likeliest action of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.trading import Mode
from alphaloom.errors import DataError
from alphaloom.nn.torch_state import torch_threads

if TYPE_CHECKING:
    from alphaloom.agents.observed import Observed

__all__ = ["ActorBrain", "Kind", "NetShape"]

Kind = Literal["attention", "mlp"]


@dataclass(frozen=True)
class NetShape:
    """The sizes that a net is built from.

    `outputs` counts an asset's outputs: 3 where it is bought, held or sold, 1 where it has a number; `cash` adds one
    output for cash.
    """

    kind: Kind
    assets: int
    features: int
    market: int
    window: int
    outputs: int
    cash: bool


@dataclass(frozen=True, eq=False)
class ActorBrain:
    """A net and how its answers become actions.

    `spec` is that of the observations it was taught on. `weights` are the net's tensors by name; `history` maps a name
    ("reward", "policy", "value", "entropy", "explained", "held") to one number for each lap of the training; `best` is
    the lap, from 0, whose weights these are.
    """

    shape: NetShape
    mode: Mode
    spec: str
    weights: Mapping[str, NDArray[Any]]
    history: Mapping[str, tuple[float, ...]]
    best: int = 0

    def act(
        self, observed: Observed, rows: NDArray[np.int64], portfolio: NDArray[np.float32]
    ) -> NDArray[np.float32] | NDArray[np.int8]:
        """The likeliest action on some rows.

        Shape: rows (B,), portfolio (B, N + 1), cash first -> as the mode has it, (B, N) or (B, N + 1).
        Time: reads the window of each row.   Raises: DataError for a panel that the net was not made for.
        """
        import torch

        from alphaloom.agents.a2c_nets import Sight

        _check(self.shape, observed)
        net, choices = self._built
        with torch_threads(1), torch.inference_mode():
            sight = Sight(observed)
            ascending, place = torch.unique(torch.from_numpy(np.array(rows, np.int64)), return_inverse=True)
            encoded = net.encode(sight, ascending).index_select(0, place)
            at = ascending.index_select(0, place)
            usable = sight.usable.index_select(0, at)
            book = torch.from_numpy(np.array(portfolio, np.float32))
            answer = net(encoded, sight.market.index_select(0, at), usable, book)
            done: NDArray[Any] = choices.best(answer, usable).numpy()
        return done

    @property
    def _built(self) -> Any:
        found = self.__dict__.get("_modules")
        if found is None:
            import torch

            from alphaloom.agents.a2c_choices import make_choices
            from alphaloom.agents.a2c_nets import make_net

            with torch.random.fork_rng(devices=[]):
                found = make_net(self.shape).eval(), make_choices(self.mode)
            for name, module in zip(("net", "choices"), found, strict=True):
                values = {k.removeprefix(f"{name}."): v for k, v in self.weights.items() if k.startswith(f"{name}.")}
                module.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in values.items()})
            object.__setattr__(self, "_modules", found)
        return found

    def __getstate__(self) -> dict[str, Any]:
        # The modules are made again from the weights: what is sent to a worker or digested are arrays alone.
        return {name: value for name, value in self.__dict__.items() if name != "_modules"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def state(self) -> dict[str, Any]:
        """Texts, numbers, lists and, as leaves, the arrays of weights."""
        return {
            "shape": asdict(self.shape),
            "mode": self.mode,
            "spec": self.spec,
            "weights": {name: np.array(values) for name, values in self.weights.items()},
            "history": {name: list(values) for name, values in self.history.items()},
            "best": self.best,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ActorBrain:
        """The brain that `state` described.   Raises: DataError where its weights do not fit its net."""
        if state["mode"] not in get_args(Mode):
            raise DataError("a stored actor has a known mode", found=state["mode"], where="brain.mode")
        brain = cls(
            NetShape(**state["shape"]),
            state["mode"],
            str(state["spec"]),
            {name: np.asarray(values) for name, values in state["weights"].items()},
            {name: tuple(float(value) for value in values) for name, values in state["history"].items()},
            int(state["best"]),
        )
        try:
            _ = brain._built
        except RuntimeError as misfit:
            found = str(misfit).splitlines()[-1].strip()
            raise DataError("stored weights fit their net", found=found, where="brain.weights") from None
        return brain


def _check(shape: NetShape, observed: Observed) -> None:
    _, N, F = observed.shape
    found = {"assets": N, "features": F, "market": len(observed.market_names), "window": observed.window}
    for name, value in found.items():
        # Attention takes any number of assets.
        if getattr(shape, name) != value and (name != "assets" or shape.kind == "mlp"):
            raise DataError(
                "an actor acts on the layout that it was taught on",
                found=f"{name} {value}, taught on {getattr(shape, name)}",
                where="observed",
                fix="observe with the observer of the training, or teach an actor on this panel",
            )
