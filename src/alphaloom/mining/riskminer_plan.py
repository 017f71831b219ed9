"""What a RiskMiner does, spelt out: every choice of the two profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from alphaloom.errors import DataError

__all__ = ["PLANS", "Plan"]

Search = Literal["both", "policy", "tree"]
Shaping = Literal["difference", "paper"]
EndMode = Literal["increment", "level"]
Update = Literal["centred", "printed"]
Optimiser = Literal["adam", "sgd"]


@dataclass(frozen=True)
class Plan:
    """Every choice, as `RiskMiner` explains them; the defaults are those of the profile "safe"."""

    search: Search = "both"
    simulations: int = 200
    leaves: int = 8
    virtual_loss: int = 1
    exploration: float = 1.0
    scaled: bool = True
    paper_exact_backup: bool = False
    noise: float = 0.25
    concentration: float = 0.3
    diversity: float = 0.1
    shaping: Shaping = "difference"
    end_mode: EndMode = "increment"
    only_new: bool = True
    unsigned: bool = True
    risk: float = 0.85
    quantile_rate: float = 0.01
    update: Update = "centred"
    optimiser: Optimiser = "adam"
    rate: float = 1e-3
    entropy: float = 0.01
    gradient: float = 0.5
    importance: float = 0.0
    batch: int = 10
    layers: int = 2
    width: int = 64
    embedding: int = 64
    hidden: tuple[int, ...] = (32, 32)
    end_bias: float = 2.0
    vary_length: bool = True
    refine: float = 0.8
    elites: int = 40
    torch_threads: int = 1
    keep_every: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        counts = (
            "simulations",
            "leaves",
            "batch",
            "layers",
            "width",
            "embedding",
            "elites",
            "torch_threads",
            "keep_every",
        )
        for name in counts:
            if getattr(self, name) < 1:
                raise DataError("a count is at least 1", found=getattr(self, name), where=f"RiskMiner.{name}")
        if any(width < 1 for width in self.hidden):
            raise DataError("a layer has at least one unit", found=self.hidden, where="RiskMiner.hidden")
        for name in ("virtual_loss", "exploration", "diversity", "entropy", "gradient", "importance", "quantile_rate"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise DataError("a weight is not negative", found=getattr(self, name), where=f"RiskMiner.{name}")
        for name in ("concentration", "rate"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise DataError("a rate is positive", found=getattr(self, name), where=f"RiskMiner.{name}")
        if not 0.0 < self.risk < 1.0:
            raise DataError("a risk level lies between 0 and 1", found=self.risk, where="RiskMiner.risk")
        for name in ("noise", "refine"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DataError("a part lies in [0, 1]", found=getattr(self, name), where=f"RiskMiner.{name}")
        words = {"search": Search, "shaping": Shaping, "end_mode": EndMode, "update": Update, "optimiser": Optimiser}
        for name, kind in words.items():
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise DataError(f"{name} is one of: {known}", found=getattr(self, name), where=f"RiskMiner.{name}")


PLANS = {
    "safe": Plan(),
    "paper": Plan(
        leaves=1,
        scaled=False,
        noise=0.0,
        shaping="paper",
        end_mode="level",
        only_new=False,
        unsigned=False,
        update="printed",
        optimiser="sgd",
        entropy=0.0,
        gradient=0.0,
        batch=1,
        layers=4,
        end_bias=0.0,
        vary_length=False,
        refine=0.0,
    ),
}
