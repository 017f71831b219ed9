"""Leave the market while its last week was bad."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Brake:
    floor: float = -0.02
    lookback: int = 5

    def decide(self, view, book):
        index = np.asarray(view.series["index"])
        week = index[-1] / index[-6] - 1 if len(index) > 5 else 0.0
        members = view.member[-1].astype(float)
        return float(week >= self.floor) * members / max(members.sum(), 1.0)


policy = Brake()
