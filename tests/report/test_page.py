"""The page stands on its own, says what it must, and never draws an empty figure."""

from __future__ import annotations

import json
import re
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from alphaloom.errors import AlphaloomError
from alphaloom.report import write_report
from alphaloom.report.page import page_text
from alphaloom.report.shell import packed

PARTS = ("ic", "quantiles", "decay", "exposure", "regimes", "folds", "summary", "benchmarks", "notes", "provenance")
SECTIONS = (
    "notes",
    "key-figures",
    "performance",
    "signal",
    "trading",
    "benchmarks",
    "regimes",
    "folds",
    "provenance",
)
FIGURES = (
    "equity",
    "drawdown",
    "rolling",
    "ic",
    "ic-sum",
    "decay",
    "quantiles",
    "spread",
    "turnover",
    "costs",
    "drag",
    "exposure",
    "sectors",
)
SCRIPT = re.compile(r"<script[^>]*>.*?</script>", re.DOTALL)


@pytest.fixture(scope="module")
def text(study) -> str:
    return page_text(study)


def figures_in(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def drawn(text: str) -> set[str]:
    return {figure["key"] for figure in figures_in(text)["figures"]}


def test_the_page_is_balanced_and_its_headings_are_in_order(text, read_page):
    page = read_page(text)
    assert page.faults == []
    assert page.open == []
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_the_page_asks_nothing_of_the_network(text, read_page):
    page = read_page(text)
    for tag, attributes in page.tags:
        assert not {"src", "href", "srcset", "data", "poster"} & attributes.keys(), (tag, attributes)
        assert tag not in {"link", "img", "iframe", "object", "base"}
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    own = SCRIPT.sub("", text)
    assert "http:" not in own
    assert "https:" not in own
    assert "@import" not in own
    assert "url(" not in own


def test_every_section_and_figure_is_there_once(text, read_page):
    ids = [attributes["id"] for _, attributes in read_page(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for section in SECTIONS:
        assert ids.count(section) == 1
    for figure in FIGURES:
        assert ids.count(f"plot-{figure}") == 1
    assert drawn(text) == set(FIGURES)


def test_figures_have_labels_and_tables_have_scopes(text, read_page):
    tags = read_page(text).tags
    plots = [attributes for _, attributes in tags if attributes.get("class") == "plot"]
    assert len(plots) == len(FIGURES)
    assert all(plot["role"] == "img" and len(plot["aria-label"] or "") > 20 for plot in plots)
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in tags if tag == "th")


def test_plotly_accepts_every_figure(text):
    import plotly.graph_objects as go

    store = figures_in(text)
    colours = {"$": "#123456"}

    def plain(value):
        if isinstance(value, str) and value.startswith("$"):
            return colours["$"]
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return store["axes"][value["axis"]] if "axis" in value else {k: plain(v) for k, v in value.items()}
        return value

    for figure in store["figures"]:
        built = go.Figure(data=plain(figure["traces"]), layout=plain(figure["layout"]))
        assert all(len(trace.x) == len(trace.y) for trace in built.data)


def test_every_colour_of_a_figure_is_in_the_style_sheet_of_both_themes(text):
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    light, dark = style.split(':root[data-theme="dark"]')
    for name in set(re.findall(r'"\$(\w+)"', json.dumps(figures_in(text)))):
        assert f"--{name}:" in light, name
        assert f"--{name}:" in dark, name


def test_the_strategy_has_one_colour_in_every_figure(text):
    for figure in figures_in(text)["figures"]:
        for trace in figure["traces"]:
            if trace["name"] == "strategy":
                assert trace["line"]["color"] == "$strategy"
            if trace["name"] in ("equal weight", "buy and hold", "the index"):
                assert trace["line"]["color"].startswith("$rival")


def test_the_equity_that_is_drawn_is_the_equity_of_the_study(text, study):
    store = figures_in(text)
    equity = next(figure for figure in store["figures"] if figure["key"] == "equity")
    own = next(trace for trace in equity["traces"] if trace["name"] == "strategy")
    assert np.allclose(own["y"], study.daily["equity"] / study.daily["equity"][0], rtol=1e-5)
    assert store["axes"][own["x"]["axis"]][0] == "2018-01-02"


def test_same_result_same_bytes(study, tmp_path):
    first = write_report(study, tmp_path / "a.html")
    second = write_report(study, tmp_path / "b.html")
    assert first == tmp_path / "a.html"
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_text_of_the_user_is_escaped(make_study, read_page):
    evil = '<script>alert("x")</script>&<img src=x>'
    base = make_study(bars=80)
    changed = make_study(
        bars=80,
        name=evil,
        notes=(f"{evil}: {evil}",),
        config={"note": evil, evil: {"k": 1}},
        provenance={"data_hash": evil, "market": {"fill": evil}, "versions": {"x": evil}},
        folds=({evil: evil},),
        regimes=({"regime": evil, "bucket": evil, "days": 3},),
        benchmarks={evil: {"sharpe": 0.1}},
        summary=dict(base.summary) | {evil: 1.0},
        daily=dict(base.daily) | {f"benchmark.{evil}": base.daily["equity"]},
        exposure={"time": base.exposure["time"], evil: base.exposure["Energy"]},
    )
    text = page_text(changed)
    assert "<script>alert" not in text
    assert "<img" not in SCRIPT.sub("", text)
    page = read_page(text)
    assert page.faults == []
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert evil in page.text
    names = [trace["name"] for figure in figures_in(text)["figures"] for trace in figure["traces"]]
    assert escape(evil, quote=False) in names


def test_names_of_the_user_do_not_become_markup_in_a_figure(make_study):
    # Plotly reads <b> and <a href> in the name of a curve as markup.
    base = make_study(bars=80)
    link = '<a href="https://elsewhere.example">x</a>'
    text = page_text(make_study(bars=80, daily=dict(base.daily) | {f"benchmark.{link}": base.daily["equity"]}))
    names = [trace["name"] for figure in figures_in(text)["figures"] for trace in figure["traces"]]
    assert not any("<a" in name for name in names)


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_gives_a_sentence(part, make_study, read_page, study):
    empty = type(getattr(study, part))()
    page = read_page(page_text(make_study(bars=300, **{part: empty})))
    assert page.faults == []
    assert any(attributes.get("class") == "absent" for _, attributes in page.tags) or part in ("summary", "provenance")


def test_a_policy_without_scores_has_no_empty_figure(make_study, read_page):
    measured = {k: v for k, v in make_study().summary.items() if not k.startswith(("ic_", "rank_ic_", "monoton"))}
    unknown = dict.fromkeys(("ic_mean", "rank_ic_mean", "rank_ic_t", "monotonicity"))
    text = page_text(make_study(ic={}, quantiles={}, decay={}, folds=(), summary=measured | unknown))
    page = read_page(text)
    assert "ran a policy without scores" in page.text
    assert not drawn(text) & {"ic", "ic-sum", "decay", "quantiles", "spread"}
    assert "Mean rank IC" not in page.text


def test_a_study_of_nothing_is_still_a_page(make_study, study, read_page):
    parts = (*PARTS, "daily", "config")
    page = read_page(page_text(make_study(**{part: type(getattr(study, part))() for part in parts})))
    assert page.faults == []
    assert "measured nothing" in page.text
    assert "no curve to draw" in page.text
    assert not [a for _, a in page.tags if a.get("class") == "plot"]


def test_one_month_of_bars_has_no_rolling_window(make_study):
    text = page_text(make_study(bars=21))
    assert "rolling" not in drawn(text)
    assert "equity" in drawn(text)
    assert "at least 40 returns" in text


@pytest.mark.parametrize("bars", [1, 2, 3])
def test_very_few_bars_do_not_break_the_page(bars, make_study, read_page):
    whole = make_study(bars=80)
    short = {name: {k: v[:bars] for k, v in getattr(whole, name).items()} for name in ("daily", "ic", "quantiles")}
    short["exposure"] = {k: v[:bars] for k, v in whole.exposure.items()}
    assert read_page(page_text(make_study(bars=80, **short))).faults == []


def test_columns_without_a_number_are_said_to_be_missing(make_study, read_page):
    whole = make_study(bars=120)
    blank = {k: np.full(120, np.nan) if k not in ("time", "equity", "returns") else v for k, v in whole.daily.items()}
    lost = {k: np.full(len(v), np.nan) if k != "time" else v for k, v in whole.ic.items()}
    text = page_text(make_study(bars=120, daily=blank, ic=lost))
    assert drawn(text) >= {"equity", "drawdown"}
    assert not drawn(text) & {"ic", "turnover", "costs", "drag", "exposure"}
    assert read_page(text).faults == []


def test_bankruptcy_is_told(make_study, read_page):
    whole = make_study(bars=300)
    equity = np.where(np.arange(300) >= 200, 0.0, whole.daily["equity"])
    returns = np.where(np.arange(300) > 200, 0.0, whole.daily["returns"])
    returns[200] = -1.0
    page = read_page(page_text(make_study(bars=300, daily=dict(whole.daily) | {"equity": equity, "returns": returns})))
    day = str(whole.daily["time"][200])[:10]
    assert f"went bankrupt on {day}" in page.text
    assert "The deepest fall was 100.0" in page.text.replace("\u00a0", " ")


def test_a_curve_that_is_shared_is_written_once(study):
    store = json.loads(packed([]))
    assert store == {"axes": [], "figures": []}
    full = figures_in(page_text(study))
    assert len(full["axes"]) < sum(len(figure["traces"]) for figure in full["figures"]) / 3


def test_twenty_years_stay_below_eight_megabytes(make_study):
    assert len(page_text(make_study(bars=5000)).encode()) < 8_000_000


def test_a_directory_is_not_a_file(study, tmp_path):
    with pytest.raises(AlphaloomError, match="written to a file") as caught:
        write_report(study, tmp_path)
    assert caught.value.where == str(tmp_path)


def test_a_missing_folder_is_named(study, tmp_path):
    with pytest.raises(AlphaloomError, match="folder that exists"):
        write_report(study, tmp_path / "absent" / "report.html")
    assert not (tmp_path / "absent").exists()


def test_a_failed_write_leaves_the_old_report_and_no_parts(study, tmp_path, monkeypatch):
    place = tmp_path / "report.html"
    place.write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(AlphaloomError, match="could not be written") as caught:
        write_report(study, place)
    assert "No space left" in str(caught.value)
    assert place.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_sectors_held_short_are_drawn_as_bands(make_study):
    base = make_study(bars=300)
    mixed = {name: v if name == "time" else v - 0.09 for name, v in base.exposure.items()}
    store = figures_in(page_text(make_study(bars=300, exposure=mixed)))
    sectors = next(figure for figure in store["figures"] if figure["key"] == "sectors")
    (bands,) = sectors["traces"]
    assert bands["type"] == "heatmap"
    assert len(bands["y"]) == len(mixed) - 1
    assert bands["zmin"] == -bands["zmax"]
    assert np.allclose(bands["z"][bands["y"].index("Energy")], mixed["Energy"], rtol=1e-5)


def test_a_large_first_purchase_does_not_hide_the_rest(make_study):
    base = make_study(bars=300)
    turnover = np.concatenate([[0.0, 0.5], np.full(298, 0.01)])
    text = page_text(make_study(bars=300, daily=dict(base.daily) | {"turnover": turnover}))
    figure = next(figure for figure in figures_in(text)["figures"] if figure["key"] == "turnover")
    assert figure["layout"]["yaxis"]["range"] == [0, pytest.approx(0.011)]
    assert "The first purchase, 50.0\u00a0%, lies beyond the axis." in text


def test_days_are_dates_and_hours_keep_their_clock(make_study):
    base = make_study(bars=80)
    closes = base.daily["time"] + np.timedelta64(16, "h")
    text = page_text(make_study(bars=80, daily=dict(base.daily) | {"time": closes}))
    assert figures_in(text)["axes"][0][0] == "2018-01-02"
    hours = base.daily["time"][0] + np.arange(80) * np.timedelta64(1, "h")
    text = page_text(make_study(bars=80, daily=dict(base.daily) | {"time": hours}))
    assert figures_in(text)["axes"][0][:3] == ["2018-01-02", "2018-01-02 01:00", "2018-01-02 02:00"]


class Thirds:
    """A policy for the test below: a third in each of three assets, decided every ten bars."""

    lookback = 1

    def decide(self, view, book):
        if len(view) % 10:
            return np.full(len(view.assets), np.nan)
        return np.where(np.arange(len(view.assets)) < 3, 1 / 3, 0.0)


def test_a_study_that_was_run_and_loaded_gives_its_report(make_panel, tmp_path, read_page):
    from alphaloom.market import Market
    from alphaloom.study import Study, WalkForward, load_run

    plan = WalkForward(train=60, test=40)
    study = Study(name="thirds", learner=Thirds(), market=Market(), plan=plan, benchmarks={"same": Thirds()})
    run = study.run(make_panel(T=260), directory=tmp_path / "run")
    first = write_report(run, tmp_path / "run" / "report.html").read_text("utf-8")
    again = write_report(load_run(tmp_path / "run"), tmp_path / "again.html").read_text("utf-8")
    assert first == again
    page = read_page(first)
    assert page.faults == []
    assert "By Sharpe ratio it does not beat same" in page.text
    assert "8 assets" in page.text
    assert {"equity", "turnover", "costs", "sectors"} <= drawn(first)
