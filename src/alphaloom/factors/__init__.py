"""The factor language: formulas as values, their checks, their libraries and their evaluation on a panel."""

from __future__ import annotations

from alphaloom.factors.analysis import fields_of, lookback, split_safe, unit_of
from alphaloom.factors.evaluate import evaluate, evaluate_one
from alphaloom.factors.expr import Expr
from alphaloom.factors.library import Factor, FactorSet, load_library
from alphaloom.factors.ops import OPERATORS
from alphaloom.factors.parse import parse

__all__ = [
    "OPERATORS",
    "Expr",
    "Factor",
    "FactorSet",
    "evaluate",
    "evaluate_one",
    "fields_of",
    "load_library",
    "lookback",
    "parse",
    "split_safe",
    "unit_of",
]
