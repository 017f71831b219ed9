"""The page and the terminal table of an arena show the same numbers, and cope with what is missing."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from alphaloom.errors import AlphaloomError
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.portfolio import EqualWeight, MovingAverageCross
from alphaloom.report import arena_table, write_arena_page
from alphaloom.study import Study, WalkForward
from alphaloom.study.arena import Arena, Entry

MARKET, PLAN = Market(), WalkForward(train=40, test=300)


def made_up() -> Panel:
    rng = np.random.default_rng(4)
    T, N = 420, 8
    times = (np.datetime64("2015-01-01") + np.arange(T)).astype("datetime64[ns]")
    close = 50 * np.exp(np.cumsum(rng.normal(0.0004, 0.015, (T, N)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.004, (T, N)))
    note = ("survivorship: only today's <members> are here",)
    return Panel(times=times, assets=tuple("ABCDEFGH"), fields={"open": open_, "close": close}, notes=note)


def run(panel, name, policy):
    return Study(name, policy, MARKET, PLAN).run(panel)


@pytest.fixture(scope="module")
def result():
    panel = made_up()
    fast, slow = MovingAverageCross(3, 10), MovingAverageCross(5, 30)
    entries = [
        Entry("fast_cross", (1, 2), (run(panel, "fast_cross", fast), run(panel, "fast_cross", fast))),
        Entry("slow_cross", (1,), (run(panel, "slow_cross", slow),)),
        Entry("fast_cross no rule", (1,), (run(panel, "even", EqualWeight(5)),), of="fast_cross", step="no <rule>"),
    ]
    return Arena(MARKET, PLAN, random=8).judge(entries, panel)


def page(result, tmp_path) -> str:
    return write_arena_page(result, tmp_path / "arena.html").read_text(encoding="utf-8")


def figures(text: str) -> dict[str, dict]:
    data = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.S)
    assert data is not None
    return {figure["key"]: figure for figure in json.loads(data[1])["figures"]}


def printed(result) -> str:
    stream = io.StringIO()
    Console(file=stream, width=160).print(arena_table(result))
    return stream.getvalue()


def test_verdicts_come_first_then_the_faults_of_the_data(result, tmp_path):
    text = page(result, tmp_path)
    places = [text.index(f'id="{key}"') for key in ("verdict", "verdicts", "notes", "studies", "controls", "steps")]
    assert places == sorted(places)
    first = text[places[2] :].split("<li>")[1]
    assert first.startswith("<strong>survivorship:</strong> only today&#x27;s &lt;members&gt;")
    for line in result.lines:
        if line.verdict is not None:
            assert line.verdict.word in text


def test_the_page_holds_everything_it_shows(result, tmp_path):
    text = page(result, tmp_path)
    assert "no &lt;rule&gt;" in text
    assert "<rule>" not in text
    assert set(figures(text)) == {"bands", "growth", "against", "picking", "steps"}
    for hash_ in result.facts["hashes"].values():
        assert hash_ in text
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', text)


def test_the_same_bytes_twice(result, tmp_path):
    first = write_arena_page(result, tmp_path / "one.html").read_bytes()
    assert write_arena_page(result, tmp_path / "two.html").read_bytes() == first


def test_curves_are_on_a_log_scale_and_bands_show_every_draw(result, tmp_path):
    drawn = figures(page(result, tmp_path))
    assert drawn["growth"]["layout"]["yaxis"]["type"] == "log"
    boxes = [trace for trace in drawn["bands"]["traces"] if trace["type"] == "box"]
    assert [len(trace["y"]) for trace in boxes] == [8, 8]
    shares = drawn["picking"]["traces"][0]["y"]
    assert sum(shares) == pytest.approx(1.0, abs=1e-4)


def test_the_terminal_shows_the_numbers_of_the_page(result, tmp_path):
    text, shown = page(result, tmp_path), printed(result)
    sharpe = f"{result.lines[0].numbers['sharpe'].mean:.2f}"
    assert sharpe in shown
    assert sharpe.replace("-", "\u2212") in text
    for word in ("fast cross", "slow cross", "equal weight", "buy and hold", "no <rule>", "Note: survivorship"):
        assert word in shown


def test_what_is_missing_is_said(result, tmp_path):
    bare = replace(
        result,
        ablations=(),
        bands={},
        picking=replace(result.picking, pbo=None, loss=None, logits=np.empty(0)),
        curves={"time": result.curves["time"][:1]},
        notes=(),
    )
    text = page(bare, tmp_path)
    for words in ("No step was left out", "no portfolio could be drawn", "fewer than two bars", "two different trials"):
        assert words in text
    assert "n/a" in printed(bare)


def test_a_page_needs_a_place(result, tmp_path):
    with pytest.raises(AlphaloomError, match="folder that exists"):
        write_arena_page(result, tmp_path / "nowhere" / "arena.html")
