"""Searches for formulas: the search sees training rows alone, validation chooses, and the test stays closed.

`run_mining` never makes a label of the test: the panel that it works on ends where validation ends. `hold_out` alone
reads the test, when it is asked to.
"""

from __future__ import annotations

from alphaloom.study.mining_holdout import hold_out
from alphaloom.study.mining_placebo import permuted
from alphaloom.study.mining_result import MiningResult, load_mining, write_timings
from alphaloom.study.mining_run import run_mining
from alphaloom.study.mining_search import pool_signal, training
from alphaloom.study.mining_setup import Choice, GrammarChoice, Miner, Mining, Placebo, PoolChoice
from alphaloom.study.mining_split import Parts, Rows, Split

__all__ = [
    "Choice",
    "GrammarChoice",
    "Miner",
    "Mining",
    "MiningResult",
    "Parts",
    "Placebo",
    "PoolChoice",
    "Rows",
    "Split",
    "hold_out",
    "load_mining",
    "permuted",
    "pool_signal",
    "run_mining",
    "training",
    "write_timings",
]
