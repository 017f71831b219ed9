"""The peers of `factor_speed.py`: KunQuant's formula sets and single operators, and formulas written with pandas."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from alphaloom.factors import OPERATORS, Expr
from alphaloom.factors.analysis import definition

LANES = 8
INPUTS = ("open", "high", "low", "close", "volume", "amount")


class KunQuant:
    """One compiled graph: float32, the layout in blocks of eight assets that its authors recommend."""

    def __init__(self, name: str, outputs: Callable[[Mapping[str, Any]], Mapping[str, Any]], exact: bool) -> None:
        from KunQuant.Driver import KunCompilerConfig
        from KunQuant.jit import cfake
        from KunQuant.Op import Builder, Input, Output
        from KunQuant.Stage import Function

        builder = Builder()
        with builder:
            for key, value in outputs({key: Input(key) for key in INPUTS}).items():
                Output(value, key)
        options = {"opt_reduce": True, "fast_log": True}
        if exact:
            options["no_fast_stat"] = "no_warn"
        config = KunCompilerConfig(
            dtype="float",
            blocking_len=LANES,
            partition_factor=4,
            input_layout="STs",
            output_layout="STs",
            options=options,
        )
        self.folder = tempfile.TemporaryDirectory()
        machine = cfake.CppCompilerConfig(machine=cfake.NativeCPUFlags())
        graph = [(name, Function(builder.ops), config)]
        self.library = cfake.compileit(graph, name, machine, tempdir=self.folder.name)
        self.module = self.library.getModule(name)

    def bind(self, fields: Mapping[str, np.ndarray]) -> tuple[Callable[[], Any], Callable[[str], np.ndarray]]:
        """A run on one thread into arrays that exist already, and how to read a result as (T, N)."""
        from KunQuant.runner import KunRunner

        T, N = fields["close"].shape
        executor = KunRunner.createSingleThreadExecutor()
        names = self.module.getOutputNames()
        given = {key: _blocked(fields[key]) for key in INPUTS}
        memory = np.full((len(names), N // LANES, T, LANES), np.nan, np.float32)
        results = dict(zip(names, memory, strict=True))

        def work() -> Any:
            return KunRunner.runGraph(executor, self.module, given, 0, T, results)

        return work, lambda key: results[key].transpose(1, 0, 2).reshape(T, N)


def _blocked(values: np.ndarray) -> np.ndarray:
    T, N = values.shape
    return np.ascontiguousarray(values.reshape(T, N // LANES, LANES).transpose(1, 0, 2))


def kun_alpha101() -> KunQuant:
    """Its 82 alphas of Alpha101."""
    from KunQuant.predefined.Alpha101 import AllData, all_alpha

    return KunQuant("alpha101", lambda given: {f.__name__: f(AllData(**given)) for f in all_alpha}, False)


def kun_alpha158() -> KunQuant:
    """Its Alpha158."""
    from KunQuant.predefined.Alpha158 import AllData

    def outputs(given: Mapping[str, Any]) -> dict[str, Any]:
        data = AllData(**given)
        prices = [("OPEN", data.open), ("HIGH", data.high), ("LOW", data.low), ("VWAP", data.vwap)]
        config = {
            "kbar": {},
            "price": {"windows": [0], "feature": prices},
            "rolling": {"windows": [5, 10, 20, 30, 60]},
        }
        values, names = data.build(config)
        return dict(zip(names, values, strict=True))

    return KunQuant("alpha158", outputs, True)


def kun_operators() -> dict[str, KunQuant]:
    """Single operators over 20 rows of close (and volume)."""
    from KunQuant import Op, ops

    made: dict[str, Callable[[Any, Any], Any]] = {
        "ts_sum": lambda x, _: ops.WindowedSum(x, 20),
        "ts_mean": lambda x, _: ops.WindowedAvg(x, 20),
        "ts_std": lambda x, _: ops.WindowedStddev(x, 20),
        "ts_corr": lambda x, y: ops.WindowedCorrelation(x, 20, y),
        "ts_max": lambda x, _: ops.WindowedMax(x, 20),
        "ts_argmax": lambda x, _: ops.TsArgMax(x, 20),
        "ts_rank": lambda x, _: ops.TsRank(x, 20),
        "ts_quantile": lambda x, _: ops.WindowedQuantile(x, 20, 0.8),
        "decay_linear": lambda x, _: ops.DecayLinear(x, 20),
        "rank": lambda x, _: Op.Rank(x),
    }

    def graph(name: str, make: Callable[[Any, Any], Any]) -> KunQuant:
        return KunQuant(name, lambda given: {name: make(given["close"], given["volume"])}, False)

    return {name: graph(name, make) for name, make in made.items()}


Frame = Any


def _applied(x: pd.DataFrame, d: int, function: Callable[[np.ndarray], float]) -> pd.DataFrame:
    return x.rolling(d).apply(function, raw=True)


def _decay(x: pd.DataFrame, d: int) -> pd.DataFrame:
    weights = np.arange(1.0, d + 1) / (d * (d + 1) / 2)
    return _applied(x, d, lambda window: float(window @ weights))


def _grouped(x: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    groups = labels.iloc[0].to_numpy()
    return x - x.T.groupby(groups).transform("mean").T


# How one writes each operator of Alpha101 with pandas.
PANDAS: dict[str, Callable[..., Frame]] = {
    "logical_or": lambda a, b: ((a != 0) | (b != 0)) * 1.0,
    "logical_and": lambda a, b: ((a != 0) & (b != 0)) * 1.0,
    "less": lambda x, y: (x < y) * 1.0,
    "less_equal": lambda x, y: (x <= y) * 1.0,
    "greater": lambda x, y: (x > y) * 1.0,
    "greater_equal": lambda x, y: (x >= y) * 1.0,
    "equal": lambda x, y: (x == y) * 1.0,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "power": lambda x, y: x**y,
    "signed_power": lambda x, y: np.sign(x) * np.abs(x) ** y,
    "abs": np.abs,
    "sign": np.sign,
    "log": np.log,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "where": lambda c, x, y: _chosen(c, x, y),
    "delay": lambda x, d: x.shift(d),
    "delta": lambda x, d: x.diff(d),
    "ts_sum": lambda x, d: x.rolling(d).sum(),
    "ts_mean": lambda x, d: x.rolling(d).mean(),
    "ts_product": lambda x, d: _applied(x, d, np.prod),
    "ts_min": lambda x, d: x.rolling(d).min(),
    "ts_max": lambda x, d: x.rolling(d).max(),
    "ts_std": lambda x, d: x.rolling(d).std(),
    "ts_cov": lambda x, y, d: x.rolling(d).cov(y),
    "ts_corr": lambda x, y, d: x.rolling(d).corr(y),
    "ts_rank": lambda x, d: x.rolling(d).rank(pct=True),
    "ts_argmax": lambda x, d: _applied(x, d, np.argmax) + 1,
    "ts_argmin": lambda x, d: _applied(x, d, np.argmin) + 1,
    "decay_linear": _decay,
    "rank": lambda x: x.rank(axis=1, pct=True),
    "scale": lambda x, a: x.mul(a).div(x.abs().sum(axis=1), axis=0),
    "indneutralize": _grouped,
}


def _chosen(c: pd.DataFrame, x: Frame, y: Frame) -> pd.DataFrame:
    return pd.DataFrame(np.where(c != 0, x, y), index=c.index, columns=c.columns)


def with_pandas(expr: Expr, frames: Mapping[str, pd.DataFrame]) -> Frame:
    """One formula by pandas, as it is read: each part where it stands."""
    if expr.op == "number":
        return expr.value
    if expr.op == "name":
        name = str(expr.value)
        meaning = definition(name)
        return frames[name] if meaning is None else with_pandas(meaning, frames)
    kinds = next(row.arguments for row in OPERATORS if row.name == expr.op)
    given = []
    for argument, arg in zip(kinds, expr.args, strict=True):
        value = with_pandas(arg, frames)
        given.append(int(value) if argument.kind == "window" else value)
    return PANDAS[expr.op](*given)
