"""Which exit suited which group of assets over the last quarters: the grid, its window, its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alphaloom.panel import Panel

__all__ = ["Cell", "Grid", "Plan", "calibrate", "cells_of"]

Cell = tuple[float, float, int]
"""Take profit, stop loss, days."""

Floats = NDArray[np.float64]


class Grid(Protocol):
    """What the calibration is told."""

    @property
    def take_profit(self) -> tuple[float, ...]: ...
    @property
    def stop_loss(self) -> tuple[float, ...]: ...
    @property
    def days(self) -> tuple[int, ...]: ...
    @property
    def default(self) -> Cell: ...
    @property
    def cost(self) -> float: ...
    @property
    def sell_tax(self) -> float: ...
    @property
    def borrow(self) -> float: ...
    @property
    def group(self) -> str: ...
    @property
    def least_signals(self) -> int: ...
    @property
    def least_trades(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Plan:
    """The exits of one quarter.

    Shape: rules (N, 3), each asset's take profit, stop loss and days; `groups` names the cell of each group that was
    calibrated, `single` counts the assets with a cell of their own, `defaults` those left with the default.
    """

    rules: Floats
    groups: Mapping[str, Cell]
    single: int
    defaults: int


def cells_of(grid: Grid) -> tuple[Cell, ...]:
    """Every combination, the days fastest."""
    return tuple((tp, sl, days) for tp, sl, days in product(grid.take_profit, grid.stop_loss, grid.days))


def calibrate(grid: Grid, view: Panel, side: Floats) -> Plan:
    """The best cell of each group, and of each asset with enough views, on the rows of `view`.

    The cell whose trades have the highest mean net return over its standard error wins, the earlier one on a tie. A
    group with too few trades takes the cell of all assets together, and these too few leave the default.
    Shape: side (T, N), signs of the views that may be traded, 0 or NaN for none; `view` holds the same rows.
    """
    from alphaloom.portfolio.exits_kernels import grid_trades

    cells, N = cells_of(grid), len(view.assets)
    rules = np.array(cells, dtype=np.float64).reshape(-1, 3)
    costs = np.array([grid.cost, grid.sell_tax, grid.borrow / view.periods_per_year])
    open_, close = (np.ascontiguousarray(view[name], dtype=np.float64) for name in ("open", "close"))
    facts = grid_trades(np.ascontiguousarray(side, dtype=np.float64), open_, close, rules, costs)
    chosen = np.tile(np.array(grid.default, dtype=np.float64), (N, 1))
    overall = _best(facts.sum(axis=1), grid.least_trades)
    groups: dict[str, Cell] = {}
    if overall is not None:
        chosen[:], groups["all"] = rules[overall], cells[overall]
        for name, members in _groups(grid, view).items():
            best = _best(facts[:, members].sum(axis=1), grid.least_trades)
            if best is not None:
                chosen[members], groups[name] = rules[best], cells[best]
    single = 0
    many = np.flatnonzero((np.nan_to_num(side) != 0.0).sum(axis=0) >= grid.least_signals)
    for asset in many:
        best = _best(facts[:, asset], grid.least_trades)
        if best is not None:
            chosen[asset], single = rules[best], single + 1
    return Plan(chosen, groups, single, N if overall is None else 0)


def _groups(grid: Grid, view: Panel) -> dict[str, NDArray[np.bool_]]:
    if grid.group not in view.labels:
        return {}
    codes = view.labels[grid.group][-1]
    names = view.label_names.get(grid.group, ())
    found = [int(code) for code in np.unique(codes) if code >= 0]
    return {names[code] if code < len(names) else f"{grid.group} {code}": codes == code for code in found}


def _best(facts: Floats, least: int) -> int | None:
    """The cell with the highest t of its mean; None with too few trades.   Shape: facts (C, 3)."""
    count, total, squares = facts.T
    enough = count >= max(least, 2)
    if not enough.any():
        return None
    n = np.where(enough, count, 2.0)
    mean = total / n
    variance = np.maximum(squares - n * mean * mean, 0.0) / (n - 1.0)
    flat = variance <= 1e-18
    t = np.where(flat, 0.0, mean / np.sqrt(np.where(flat, 1.0, variance) / n))
    return int(np.argmax(np.where(enough, t, -np.inf)))
