"""Keep the two momentum windows with the best information coefficient in the training slice."""

from dataclasses import dataclass

import numpy as np

from alphaloom import Signal, forward_returns
from alphaloom.metrics import ranking


def inputs(panel):
    close = panel["close"].astype(float)
    columns = []
    for window in (1, 3, 5, 10, 21):
        past = np.zeros(close.shape)
        past[window:] = np.nan_to_num(close[window:] / close[:-window] - 1)
        columns.append(past)
    return np.stack(columns, axis=-1)


@dataclass(frozen=True)
class Chosen:
    columns: tuple[int, ...]
    signs: tuple[float, ...]
    lookback: int = 21

    def predict(self, panel):
        values = inputs(panel)[:, :, self.columns] @ np.array(self.signs)
        return Signal(panel.times, panel.assets, values)


@dataclass(frozen=True)
class Selection:
    keep: int = 2

    def fit(self, train, market):
        later, x = forward_returns(train, market).values, inputs(train)
        skill = np.array([np.nanmean(ranking.rank_ic(x[:-2, :, k], later[:-2])) for k in range(5)])
        best = np.argsort(-np.abs(skill))[: self.keep]
        return Chosen(tuple(best.tolist()), tuple(np.sign(skill[best]).tolist()))


learner = Selection()
