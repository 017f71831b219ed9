"""What a net looks like, in a few numbers; torch is imported when one is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from alphaloom.errors import DataError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Cell", "FactorTransformer", "Mlp", "NetSpec", "Recurrent", "spec_from_state", "spec_state"]

Cell = Literal["gru", "lstm"]


class NetSpec(Protocol):
    """A frozen description that builds a torch module."""

    def build(self, features: int, outputs: int) -> nn.Module: ...


@dataclass(frozen=True)
class Mlp:
    """Layers of neurons, each seeing all of the one before it.

    Shape: (R, F) -> (R, O). A linear layer stands before each width of `hidden` and one after the last, so the default
    has three layers. Between them GELU and dropout.
    """

    hidden: tuple[int, ...] = (256, 128)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.hidden or min(self.hidden) < 1:
            raise DataError(
                "a net has at least one layer of at least one neuron", found=self.hidden, where="Mlp.hidden"
            )
        _check_dropout(self.dropout, "Mlp")

    def build(self, features: int, outputs: int) -> nn.Module:
        """The module with fresh weights, drawn from torch's present random state."""
        from alphaloom.nn.modules import stacked

        return stacked(features, self.hidden, outputs, dropout=self.dropout)


@dataclass(frozen=True)
class FactorTransformer:
    """Attention over the factors of one row: every factor is a token and a further one, read at the end, gathers.

    Shape: (R, F) -> (R, O). A token is its factor's value times a learned direction plus a learned place, `width`
    numbers; `layers` encoder layers of `heads` heads follow.
    `tokens` > 0 bounds their number: neighbouring factors then share a token, for attention costs the square of it.
    """

    width: int = 64
    heads: int = 4
    layers: int = 2
    tokens: int = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("heads", 1), ("layers", 1), ("tokens", 0)):
            _check_count(getattr(self, name), least, f"FactorTransformer.{name}")
        if self.width % self.heads:
            raise DataError(
                "the heads share the width evenly",
                found=f"width {self.width}, heads {self.heads}",
                where="FactorTransformer.heads",
            )
        _check_dropout(self.dropout, "FactorTransformer")

    def build(self, features: int, outputs: int) -> nn.Module:
        """The module with fresh weights, drawn from torch's present random state."""
        from alphaloom.nn.modules import TokenNet

        return TokenNet(features, outputs, self)


@dataclass(frozen=True)
class Recurrent:
    """A memory that reads a window bar by bar and speaks after the last.

    Shape: (R, L, F) -> (R, O); give it samples whose `length` is L.
    """

    cell: Cell = "gru"
    hidden: int = 64
    layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.cell not in get_args(Cell):
            raise DataError("a recurrent cell is gru or lstm", found=self.cell, where="Recurrent.cell")
        _check_count(self.hidden, 1, "Recurrent.hidden")
        _check_count(self.layers, 1, "Recurrent.layers")
        _check_dropout(self.dropout, "Recurrent")

    def build(self, features: int, outputs: int) -> nn.Module:
        """The module with fresh weights, drawn from torch's present random state."""
        from alphaloom.nn.modules import Memory

        return Memory(features, outputs, self)


_NETS: dict[str, type[Mlp] | type[FactorTransformer] | type[Recurrent]] = {
    "mlp": Mlp,
    "factor_transformer": FactorTransformer,
    "recurrent": Recurrent,
}


def spec_state(spec: NetSpec) -> dict[str, Any]:
    """A net's description as plain numbers and texts.   Raises: DataError for one that is not of this room."""
    for kind, known in _NETS.items():
        if isinstance(spec, known):
            body = {name: list(part) if isinstance(part, tuple) else part for name, part in asdict(spec).items()}
            return {"kind": kind, **body}
    raise DataError("only this room's nets have a stored form", found=type(spec).__name__, where="nn")


def spec_from_state(state: Mapping[str, Any]) -> NetSpec:
    """The description that `spec_state` wrote.   Raises: DataError for an unknown kind."""
    if state.get("kind") not in _NETS:
        raise DataError("a stored net has a known kind", found=state.get("kind"), where="net.kind")
    return _NETS[state["kind"]](**{name: part for name, part in state.items() if name != "kind"})


def _check_count(found: int, least: int, where: str) -> None:
    if found < least:
        raise DataError(f"a count is at least {least}", found=found, where=where)


def _check_dropout(found: float, where: str) -> None:
    if not 0.0 <= found < 1.0:
        raise DataError("a dropped part is a fraction below 1", found=found, where=f"{where}.dropout")
