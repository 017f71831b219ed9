"""The plan: what is shared, what is simplified, what is kept, and how much memory it says it takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from alphaloom.factors import Factor, FactorSet, evaluate, load_library, parse
from alphaloom.factors.lowering import Graph
from alphaloom.factors.options import PLAIN, Options
from alphaloom.factors.plan import BATCH, plan, plan_exprs


def operations(*texts: str, options: Options = PLAIN) -> list[str]:
    """The operations of a plan, moves left out."""
    made = plan_exprs([parse(text, options=options) for text in texts], options, shape=(100, 20))
    steps = [step for phase in made.phases for step in (*phase.columns, *phase.rows)]
    return sorted(step.op for step in steps if step.op not in ("field", "gather", "spread"))


def test_what_formulas_share_is_done_once():
    assert operations("rank(ts_mean(close, 5))", "ts_mean(close, 5) / close", "rank(ts_mean(close, 5))") == [
        "div",
        "rank",
        "ts_mean",
    ]
    assert operations("close / delay(close, 1) - 1", "ts_sum(returns, 5)") == ["delay", "div", "scalar", "ts_sum"]


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("rank(rank(rank(close)))", ["rank"]),
        ("delay(delay(close, 2), 3)", ["delay"]),
        ("ts_sum(close, 1) + ts_max(open, 1)", ["add"]),
        ("scale(2 * close)", ["scale"]),
        ("-(-close)", []),
        ("close * (1 - 0.3)", ["scalar"]),
        ("5 > close", ["scalar"]),
    ],
)
def test_rewrites_that_keep_the_values(text, simple):
    assert operations(text) == simple


def test_a_negative_factor_is_not_taken_out_of_scale():
    assert operations("scale(-2 * close)") == ["scalar", "scale"]


def test_options_choose_the_operation():
    assert operations("ts_max(close, 5)", options=Options(min_periods=3)) == ["counted", "mul", "ts_max"]
    money = Options(adv="money")
    assert operations("adv5", options=money) == ["mul", "ts_mean"]


def test_operands_come_before_their_users():
    graph = Graph(PLAIN)
    for factor in load_library("alpha101").factors:
        graph.add(factor.expr)
    assert all(arg < k for k, node in enumerate(graph.nodes) for arg in node.args)


def test_a_comparison_of_assets_is_done_once_for_all_batches():
    texts = [f"rank(close) + {k} * ts_max(open, 5)" for k in range(3 * BATCH)]
    done = operations(*texts)
    assert done.count("rank") == 1
    assert done.count("ts_max") == 3


def test_registers_and_buffers_are_used_again():
    texts = [f"ts_mean(ts_max(close, {d}), {d}) / open" for d in range(2, 30)]
    made = plan_exprs([parse(text) for text in texts], shape=(100, 20))
    assert made.registers <= 6
    assert made.buffers == 0
    texts = [f"rank(ts_max(close, {d})) + 1" for d in range(2, 90)]
    made = plan_exprs([parse(text) for text in texts], shape=(100, 20))
    assert made.buffers <= BATCH


@pytest.mark.parametrize("library", ["alpha101", "alpha158"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_peak_is_known_before_the_run(make_panel, library, threads):
    panel = make_panel(T=900, N=120, seed=1)
    labels = {name: np.zeros(panel.shape, np.int16) for name in ("sector", "industry", "subindustry")}
    panel = panel.replace(labels=labels, fields={**panel.fields, "cap": panel["close"]})
    factors = load_library(library)
    evaluate(factors, panel[:5])
    tracemalloc.start()
    evaluate(factors, panel, threads=threads)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    told = plan(factors, shape=panel.shape, threads=threads).peak_bytes
    assert 0.8 < told / peak < 1.2


def test_a_plan_knows_its_lookback_and_order():
    factors = FactorSet("two", (Factor("a", parse("delay(close, 7)")), Factor("b", parse("rank(open)"))))
    made = plan(factors, shape=(50, 4))
    assert made.lookback == 7
    assert made.results == (0, 1)
    assert made.operations == 2
