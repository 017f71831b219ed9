"""Alpha2: formulas as programs, found by tree search that a network learns to guide.

Source: Alpha2, arXiv:2406.16505, and what its authors' public skeleton shows. Deviations, in `safe` alone: coefficients
without sign; formulas that a split would change are worth nothing on the way; progressive widening; values scaled to
those seen in the tree, without which a policy that has learned drowns them; how long a program may be is drawn for
each game; every operator starts as likely as the next; besides a game's result the best formulas that its search judged
are archived, since a processor plays few games; the network learns from games that found something, and after a game
that judged hardly anything new comes one without it. So that a search can climb from what it found: likeness takes from
a formula's worth only where the other one is not worse, a better version takes its place in the archive, and part of
the evaluations are steps from the best formulas (`refine`), those archived being learnt from like games. Until the
network has learnt, a state is worth what one program that is finished at random brings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alphaloom.errors import DataError
from alphaloom.mining.alpha2_settings import NetSettings
from alphaloom.mining.alpha2_tree import Rules
from alphaloom.mining.session import Session
from alphaloom.nn.torch_state import torch_threads

__all__ = ["Alpha2"]

# Exponent of the visits by network steps, as published.
_TEMPERATURES = ((500_000, 1.0), (750_000, 0.5))
_COLDEST = 0.25


@dataclass(frozen=True)
class Alpha2:
    """Searches programs for formulas of high (1 - MaxCorr) * IC, each unlike those found before.

    A move is taken when `simulations` visits went through its state, those kept from the move before included;
    `batch` leaves are judged together. An edge's value is its reward and between mean (`beta`) and largest of the
    `best` highest returns. `archive`, `least_ic`, `most_alike`: what is kept. `harvest`: how many formulas of a game's
    tree are kept beside its result, and how many of the steps of its time. The part `refine` of the evaluations are
    steps (`mining/elites.py`) from the best unlike formulas to others that have programs; `paper` has none.
    Training starts after `start_games` and takes `lessons` steps a game. None stands for the profile's value: of
    `simulations` 25,000 in `paper`, in `safe` a 200th of the evaluations, from 40 to 400. Afterwards
    `session.finds` holds the archive, the highest |IC| first; the pool was offered all of it.
    """

    profile: Literal["safe", "paper"] = "safe"
    simulations: int | None = None
    batch: int = 8
    max_length: int | None = None
    beta: float = 0.5
    best: int = 5
    archive: int = 100
    least_ic: float = 0.01
    most_alike: float = 0.7
    harvest: int | None = None
    refine: float | None = None
    net: NetSettings | None = None
    replay: int = 1000
    start_games: int = 10
    lessons: int = 8
    torch_threads: int = 1
    keep_every: int = 1

    def __post_init__(self) -> None:
        if self.profile not in ("safe", "paper"):
            raise DataError("a profile is safe or paper", found=self.profile, where="Alpha2.profile")
        least = {"simulations": 2, "max_length": 3, "harvest": 0, "lessons": 0}
        counts = ("batch", "best", "archive", "replay", "start_games", "torch_threads", "keep_every")
        for name, low in {**dict.fromkeys(counts, 1), **least}.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise DataError(f"a count is at least {low}", found=value, where=f"Alpha2.{name}")
        for name in ("beta", "least_ic", "most_alike"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DataError("a part lies in [0, 1]", found=getattr(self, name), where=f"Alpha2.{name}")
        if self.refine is None:
            object.__setattr__(self, "refine", 0.0 if self.profile == "paper" else 0.9)
        if not 0.0 <= float(self.refine or 0.0) < 1.0:
            raise DataError("a part is at least 0 and below 1", found=self.refine, where="Alpha2.refine")
        if self.harvest is None:
            object.__setattr__(self, "harvest", 0 if self.profile == "paper" else 5)

    @property
    def signed(self) -> bool:
        """True where coefficients count with their sign, as printed."""
        return self.profile == "paper"

    @property
    def length(self) -> int:
        """The most instructions of a program, Start and End included."""
        return self.max_length or (10 if self.profile == "paper" else 9)

    @property
    def network(self) -> NetSettings:
        """The network's shape."""
        return self.net or (NetSettings.published() if self.profile == "paper" else NetSettings())

    def rules(self, evaluations: int = 20_000) -> Rules:
        """How the tree searches with so large a budget."""
        paper = self.profile == "paper"
        # Many short games find more than a few long ones, from which steps go on anyway.
        fitting = min(400, max(40, evaluations // 200))
        return Rules(
            simulations=self.simulations or (25_000 if paper else fitting),
            batch=self.batch,
            beta=self.beta,
            best=self.best,
            opened=None if paper else 64,
            scaled=not paper,
            even=not paper,
        )

    def temperature(self, steps: int) -> float:
        """How evenly moves are drawn after so many steps of the network."""
        published = next((heat for until, heat in _TEMPERATURES if steps < until), _COLDEST)
        return published if self.profile == "paper" else min(published, 0.5)

    def mine(self, session: Session) -> None:
        """Search until the budget is gone; goes on from the session's checkpoint."""
        from alphaloom.mining.alpha2_search import Player

        with torch_threads(self.torch_threads):
            Player(self, session).run()
