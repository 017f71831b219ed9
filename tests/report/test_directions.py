from __future__ import annotations

from dataclasses import replace

from alphaloom.report.directions import direction_section
from alphaloom.report.page import page_text

FACTS = {
    "views": 1200,
    "hit_rate": 0.534,
    "tries": 240,
    "independent_rate": 0.53,
    "low": 0.467,
    "high": 0.592,
    "p_half": 0.000004,
    "base_rate": 0.515,
    "p_base": 0.31,
    "bars": 100,
    "t": -1.234,
}
EMPTY = {**dict.fromkeys(FACTS), "views": 0, "tries": 0, "bars": 0}
ROWS = (
    {"side": "short", "horizon": 1, **EMPTY},
    {"side": "long", "horizon": 1, **FACTS},
    {"side": "long", "horizon": 5, **FACTS},
    {"regime": "index drawdown", "bucket": "more than 10% below", "side": "long", "horizon": 5, **FACTS},
    {"regime": "quarter", "bucket": "2020 Q1 <b>", "side": "short", "horizon": 5, **FACTS},
)


def test_a_study_without_sides_has_no_section(make_study):
    assert direction_section(make_study()) == []
    assert 'id="directions"' not in page_text(make_study())


def test_sides_are_ordered_written_and_escaped(make_study, read_page):
    text = page_text(replace(make_study(), directions=ROWS))
    read_page(text)
    part = text.split('id="directions"')[1].split("</section>")[0]
    assert part.index(">long<") < part.index(">short<")
    assert "53.4\u00a0%" in part
    assert "[46.7\u00a0%, 59.2\u00a0%]" in part
    assert "&lt; 0.001" in part
    assert "\u22121.23" in part
    assert "n/a" in part
    assert "2020 Q1 &lt;b&gt;" in part
    assert "Calendar quarters" in part
