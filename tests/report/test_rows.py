"""Cards, terminal and JSON print the same numbers, because they are made from the same rows."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from alphaloom.report import summary_json, summary_table
from alphaloom.report.findings import verdict
from alphaloom.report.formats import date_text, interval_text, number_text, plain_text
from alphaloom.report.page import page_text
from alphaloom.report.rows import key_rows, summary_rows


def printed(result, width: int = 140) -> str:
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(summary_table(result))
    return stream.getvalue()


def texts_in_page(text: str, tag: str) -> dict[str, str]:
    pattern = rf'<{tag} data-key="([^"]+)">.*?<span class="value">(.*?)</span>'
    return {key: plain(value) for key, value in re.findall(pattern, text)}


def plain(text: str) -> str:
    return text.replace("\u2212", "-").replace("\u00a0", " ")


def test_page_terminal_and_json_agree(study):
    page, terminal = page_text(study), printed(study)
    rows = {row["key"]: row for row in summary_json(study)["rows"]}
    listed, cards = texts_in_page(page, "tr"), texts_in_page(page, "li")
    assert listed == {key: row["text"] for key, row in rows.items()}
    assert len(cards) == 8
    assert cards.items() <= listed.items()
    lines = [[cell.strip() for cell in line.split("│")] for line in terminal.splitlines() if "│" in line]
    by_label = {cells[1]: cells for cells in lines}
    for row in rows.values():
        assert by_label[row["label"]][2:4] == [row["text"], row["interval"]]


def test_json_holds_the_numbers_of_the_study(study):
    found = summary_json(study)
    json.dumps(found, allow_nan=False)
    values = {row["key"]: row for row in found["rows"]}
    assert values["cagr"]["value"] == study.summary["cagr"]
    assert values["sharpe"]["low"] == study.summary["sharpe"]["low"]
    assert values.keys() == study.summary.keys()
    assert found["first"] == "2018-01-02"
    assert found["bars"] == 1500
    assert found["notes"] == list(study.notes)
    assert {row["key"]: row["value"] for row in found["benchmarks"]["index"]} == study.benchmarks["index"]


def test_a_figure_without_a_value_reads_as_missing(study):
    lacking = replace(study, summary=dict(study.summary) | {"sortino": float("nan"), "calmar": None})
    rows = {row.key: row for row in summary_rows(lacking)}
    assert rows["sortino"].text == rows["calmar"].text == "n/a"
    assert summary_json(lacking)["rows"][3]["value"] is None
    json.dumps(summary_json(lacking), allow_nan=False)
    assert "n/a" in printed(lacking)


def test_a_group_without_any_value_is_left_out(study):
    blank = {key: None if key.startswith(("ic_", "rank_ic_", "monoton")) else v for key, v in study.summary.items()}
    assert "Signal" not in {row.group for row in summary_rows(replace(study, summary=blank))}


def test_unknown_figures_are_printed_last(study):
    rows = summary_rows(replace(study, summary={"new_measure": 1.25, **study.summary}))
    assert (rows[-1].key, rows[-1].label, rows[-1].text) == ("new_measure", "new measure", "1.25")


def test_cards_skip_what_was_not_measured(study):
    keys = [row.key for row in key_rows(replace(study, summary={"beta": 0.5, "cagr": None, "sharpe": 1.0}))]
    assert keys == ["sharpe", "beta"]


def test_an_empty_study_prints(study):
    assert "no figures" in printed(replace(study, summary={}, benchmarks={}, notes=(), daily={}))


def test_markup_in_names_is_printed_as_it_stands(study):
    assert "[red]note[/red]" in printed(replace(study, notes=("[red]note[/red]",), name="[bold]x"))


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.1234, "percent", "12.3 %"),
        (-0.0001, "percent", "0.0 %"),
        (-0.004, "ratio", "0.00"),
        (-0.016, "ratio", "-0.02"),
        (0.00123, "basis", "12.3 bp"),
        (12345.6, "count", "12,346"),
        (float("nan"), "ratio", "n/a"),
        (float("inf"), "count", "n/a"),
        (None, "percent", "n/a"),
        (np.float32(0.5), "ratio", "0.50"),
        (True, "ratio", "n/a"),
    ],
)
def test_numbers_are_written_in_one_way(value, form, text):
    assert number_text(value, form) == text


def test_intervals_dates_and_cells():
    assert interval_text(0.1, 0.25, "ratio") == "[0.10, 0.25]"
    assert interval_text(0.1, None, "ratio") == ""
    assert date_text(np.datetime64("2020-02-29T00:00:00", "ns")) == "2020-02-29"
    assert date_text(np.datetime64("2020-02-29T15:30:00", "ns")) == "2020-02-29 15:30"
    assert date_text(np.datetime64("NaT")) == "n/a"
    assert plain_text([1, 0.123456, None]) == "1, 0.1235, n/a"


def test_the_verdict_names_winners_and_losers(study):
    summary = {"cagr": 0.1, "sharpe": {"value": 1.0, "low": 0.8, "high": 1.2}, "dsr": 0.97, "trials": 1}
    rivals = {"equal_weight": {"sharpe": 0.5}, "index": {"sharpe": 1.5}}
    said = verdict(replace(study, summary=summary, benchmarks=rivals))
    assert "earned 10.0 % a year with a Sharpe ratio of 1.00 [0.80, 1.20]" in said
    assert "it beats equal weight (0.50) and it does not beat the index (1.50)." in said
    assert "for 1 trial, the Sharpe ratio is above luck with probability p = 0.970: significant at 95 %" in said
    assert "contains zero" not in said
    assert "IC" not in said


def test_the_verdict_admits_doubt(study):
    summary = {
        "cagr": -0.02,
        "sharpe": {"value": 0.2, "low": -0.3, "high": 0.7},
        "rank_ic_mean": 0.001,
        "rank_ic_t": 0.4,
    }
    said = verdict(replace(study, summary=summary, benchmarks={"index": {"sharpe": 0.1}}))
    assert "lost 2.0 % a year" in said
    assert "that interval contains zero" in said
    assert "though that benchmark lies inside the strategy's own interval" in said
    assert "t = 0.40, not distinguishable from zero" in said


def test_relative_figures_name_what_they_are_relative_to(study):
    rows = {row.key: row.group for row in summary_rows(study)}
    assert rows["beta"] == "Against the index"
    alone = {name: values for name, values in study.daily.items() if name != "benchmark.index"}
    rows = {row.key: row.group for row in summary_rows(replace(study, daily=alone))}
    assert rows["beta"] == "Against equal weight"
