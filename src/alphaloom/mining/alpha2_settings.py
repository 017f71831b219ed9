"""The shape of Alpha2's network and how it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alphaloom.errors import DataError

__all__ = ["NetSettings"]


@dataclass(frozen=True)
class NetSettings:
    """A network for a processor; `published` gives the paper's.

    `key` is the width of all attention heads together; `rate` the optimiser's; the target network follows every
    `sync_every` steps; a batch has `batch` states; `td_steps` rewards stand before the target network's value.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    key: int = 64
    blocks: int = 2
    optimiser: Literal["adam", "sgd"] = "adam"
    rate: float = 1e-3
    batch: int = 128
    sync_every: int = 50
    td_steps: int = 3

    @staticmethod
    def published() -> NetSettings:
        """Width 128, four attention layers of eight heads, eight blocks, plain descent with momentum."""
        return NetSettings(width=128, layers=4, heads=8, key=256, blocks=8, optimiser="sgd", rate=2e-4)

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "key", "blocks", "batch", "sync_every", "td_steps"):
            if getattr(self, name) < 1:
                raise DataError("a count is at least 1", found=getattr(self, name), where=f"NetSettings.{name}")
        if self.key % self.heads or self.width % 2:
            raise DataError(
                "heads divide the key, and the width is even",
                found=f"{self.heads} heads, key {self.key}, width {self.width}",
                where="NetSettings",
            )
        if self.optimiser not in ("adam", "sgd") or not self.rate > 0.0:
            raise DataError(
                "an optimiser is adam or sgd with a rate above 0", found=self.optimiser, where="NetSettings"
            )
