"""The page of factors stands on its own, says what the analysis found, and shows text of a library as text."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from alphaloom.errors import AlphaloomError
from alphaloom.metrics import factors as judging
from alphaloom.report import factor_table, write_factor_page
from alphaloom.report.factor_page import factor_page_text
from alphaloom.report.factor_rows import flags
from alphaloom.study import FactorAnalysis

SECTIONS = ("notes", "key-figures", "factors", "evidence", "relations", "details", "provenance")
SCRIPT = re.compile(r"<script[^>]*>.*?</script>", re.DOTALL)


def made_up(F: int = 26, T: int = 520, seed: int = 3, **parts: Any) -> FactorAnalysis:
    """A coherent analysis of F factors whose mean rank IC falls from strong to nothing."""
    rng = np.random.default_rng(seed)
    H, Q = (1, 5, 20), 5
    strength = np.linspace(0.03, 0.0, F) * np.where(np.arange(F) % 3 == 1, -1, 1)
    daily = rng.normal(strength, 0.1, (T, F))
    if F > 1:
        daily[:, -1] = np.nan
    times = np.busday_offset("2019-01-02", np.arange(T), roll="forward").astype("datetime64[ns]")
    tests = judging.mean_tests(daily.T)
    p = judging.normal_p(tests.t)
    rho = np.corrcoef(rng.normal(size=(F, 30))) if F > 1 else np.ones((1, 1))
    order, clusters = judging.related_order(rho)
    years = np.unique(times.astype("datetime64[Y]").astype(int) + 1970)
    known = np.isfinite(tests.mean)
    turnover = np.where(known, rng.uniform(0.02, 0.8, F), np.nan)
    stands = judging.benjamini_hochberg(p)
    table: dict[str, Any] = {
        "name": np.array([f"factor_{k}" for k in range(F)], dtype=object),
        "family": np.array([("momentum", "value")[k % 2] for k in range(F)], dtype=object),
        "formula": np.array([f"rank(close / delay(close, {k + 1}))" for k in range(F)], dtype=object),
        "source": np.array(["made up"] * F, dtype=object),
        "sign": np.array([1 if k % 4 else -1 for k in range(F)]),
        "ic": tests.mean * 0.9,
        "ic_t": tests.t,
        "rank_ic": tests.mean,
        "rank_ic_low": tests.mean - 2 * tests.error,
        "rank_ic_high": tests.mean + 2 * tests.error,
        "rank_ic_t": tests.t,
        "rank_ic_ir": tests.mean / 0.1,
        "rank_ic_annual_ir": tests.mean / 0.1 * 15.9,
        "spread": tests.mean / 50,
        "spread_t": tests.t * 0.8,
        "monotonicity": np.where(known, np.sign(strength), np.nan),
        "turnover": turnover,
        "autocorrelation_1": 1 - turnover,
        "autocorrelation_5": 0.9 - turnover,
        "missing": np.where(np.arange(F) == 2, 0.4, 0.01),
        "first_half": tests.mean * 1.2,
        "second_half": tests.mean * np.where(np.arange(F) == 3, -0.2, 0.8),
        "halves_agree": np.arange(F) != 3,
        "p": p,
        "stands_bh": stands,
        "stands_bonferroni": p < 0.05 / F,
        "cluster": clusters,
    }
    whole = FactorAnalysis(
        name="made_up_set",
        horizons=H,
        times=times,
        table=table,
        decay={"rank_ic": np.outer(tests.mean, [1, 0.8, 0.4]), "rank_ic_se": np.outer(tests.error, [1, 1.2, 2])},
        quantiles=np.where(known[:, None, None], strength[:, None, None] * np.linspace(-0.01, 0.01, Q), np.nan)
        + np.zeros((F, len(H), Q)),
        turnover=np.tile(turnover[:, None], (1, Q)),
        years=years,
        yearly=np.stack([daily[times.astype("datetime64[Y]").astype(int) + 1970 == y].mean(axis=0) for y in years], 1),
        rank_ic=daily.astype(np.float32),
        coverage=np.full((T, F), 0.97, np.float32),
        correlation=rho,
        order=order,
        facts={
            "fill": "next_open",
            "assets": 480,
            "data": "4be1c0ffee0123456789[0:520]",
            "trials": F,
            "clusters": int(clusters.max()) + 1,
            "level": 0.05,
            "expected_max_t": judging.expected_max_t(F),
            "expected_max_t_clusters": judging.expected_max_t(int(clusters.max()) + 1),
            "bonferroni_t": 3.1,
            "stands_single": int((p < 0.05).sum()),
            "stands_bh": int(stands.sum()),
            "stands_bonferroni": int((p < 0.05 / F).sum()),
            "sampled_dates": 60,
            "left_out": [],
        },
        notes=("Survivorship: the universe holds only today's members.", "trials: some factors were judged"),
    )
    return replace(whole, **parts)


def changed(analysis: FactorAnalysis, **columns: Any) -> FactorAnalysis:
    return replace(analysis, table=dict(analysis.table) | columns)


@pytest.fixture(scope="module")
def analysis() -> FactorAnalysis:
    return made_up()


@pytest.fixture(scope="module")
def text(analysis: FactorAnalysis) -> str:
    return factor_page_text(analysis)


def figures_in(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert found
    return {figure["key"]: figure for figure in json.loads(found[1])["figures"]}


def test_the_page_is_balanced_and_whole(text: str, read_page: Callable[[str], Any]):
    page = read_page(text)
    assert page.faults == []
    assert page.open == []
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(SECTIONS) <= set(ids)
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in page.tags if tag == "th")


def test_the_page_asks_nothing_of_the_network(text: str, read_page: Callable[[str], Any]):
    places = set()
    for tag, attributes in read_page(text).tags:
        assert not {"src", "srcset", "data", "poster"} & attributes.keys(), (tag, attributes)
        assert tag not in {"link", "img", "iframe", "object", "base", "form"}
        if "href" in attributes:
            assert attributes["href"].startswith("#factor-")
            places.add(attributes["href"][1:])
    assert len(places) == 20
    assert places <= {attributes.get("id") for _, attributes in read_page(text).tags}
    own = SCRIPT.sub("", text)
    assert "http:" not in own
    assert "https:" not in own
    assert "url(" not in own


def test_every_factor_has_a_row_and_the_strongest_a_part(text: str, analysis: FactorAnalysis):
    rows = re.findall(r'<tr data-words="(factor_\d+) ', text)
    assert rows == [analysis.names[row] for row in analysis.ranking]
    strength = [abs(float(v)) for v in re.findall(r'<td class="number own" data-value="([^"]+)"', text)]
    assert strength == sorted(strength, reverse=True)
    assert len(re.findall('<article class="factor"', text)) == 20
    assert 'data-value=""' in text  # the factor without a number sorts last in either direction


def test_figures_show_the_numbers_of_the_analysis(text: str, analysis: FactorAnalysis):
    found = figures_in(text)
    best = int(analysis.ranking[0])
    assert {"luck", "trade-off", "kinship", "years", "coverage", f"sum-{best}", f"decay-{best}"} <= found.keys()
    luck = found["luck"]["traces"][0]
    assert luck["y"] == pytest.approx(sorted(np.abs(analysis.table["rank_ic_t"][:-1]), reverse=True), rel=1e-5)
    heat = found["kinship"]["traces"][0]
    rows = np.array(analysis.order)
    way = np.sign(np.nan_to_num(analysis.table["rank_ic"][rows], nan=1.0))
    wanted = analysis.correlation[np.ix_(rows, rows)] * np.outer(way, way)
    assert np.array(heat["z"]) == pytest.approx(wanted, abs=0.006)
    assert heat["y"] == [analysis.names[row] for row in analysis.order]
    decay = found[f"decay-{best}"]["traces"][0]
    assert decay["y"] == pytest.approx(analysis.decay["rank_ic"][best], rel=1e-5)
    fifths = found[f"fifths-{best}"]["traces"][0]
    assert fifths["y"] == pytest.approx(1e4 * analysis.quantiles[best, 0], rel=1e-5)
    total = found[f"sum-{best}"]["traces"][0]["y"]
    assert total[-1] == pytest.approx(float(analysis.rank_ic[:, best].sum()), rel=1e-4)


def test_plotly_accepts_every_figure(text: str):
    import plotly.graph_objects as go

    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    store = json.loads(found[1])

    def plain(item: Any) -> Any:
        if isinstance(item, str) and item.startswith("$"):
            return "#123456"
        if isinstance(item, list):
            return [plain(part) for part in item]
        if isinstance(item, dict):
            return store["axes"][item["axis"]] if "axis" in item else {k: plain(v) for k, v in item.items()}
        return item

    for figure in store["figures"]:
        go.Figure(data=[plain(trace) for trace in figure["traces"]], layout=plain(figure["layout"]))


def test_the_verdict_weighs_against_luck(text: str, analysis: FactorAnalysis, read_page: Callable[[str], Any]):
    said = read_page(text).text.replace("\u2212", "-").replace("\u00a0", " ")
    facts = analysis.facts
    assert f"Of 26 factors, {facts['stands_single']} pass a test at 5 %" in said
    assert f"{facts['stands_bh']} stand when false findings are held to 5 %" in said
    assert f"|t| of about {facts['expected_max_t']:.1f} that the best of 26 worthless factors would show" in said
    assert "Survivorship:" in said


def test_flags_name_what_stands_out(analysis: FactorAnalysis, read_page: Callable[[str], Any]):
    said = read_page(factor_page_text(analysis)).text
    for word in ("Bonferroni", "halves differ", "reversed", "sparse"):
        assert word in said
    best = int(analysis.ranking[0])
    poor = changed(analysis, spread_t=np.where(np.arange(26) == best, 0.3, analysis.table["spread_t"]))
    assert ("bad", "no spread") in [flag[:2] for flag in flags(poor, best)]
    assert "no spread" not in [flag[1] for flag in flags(analysis, best)]
    strong = changed(
        analysis,
        spread_t=analysis.table["rank_ic_t"] * 2,
        sign=np.zeros(26, int),
        missing=np.zeros(26),
        halves_agree=np.ones(26, bool),
    )
    page = read_page(factor_page_text(strong))
    assert not [a for _, a in page.tags if a.get("class") == "flag bad"]


def test_same_analysis_same_bytes(analysis: FactorAnalysis, tmp_path):
    one = write_factor_page(analysis, tmp_path / "a.html")
    two = write_factor_page(analysis, tmp_path / "b.html")
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]
    with pytest.raises(AlphaloomError, match="to a file"):
        write_factor_page(analysis, tmp_path)


def test_text_of_a_library_is_escaped(analysis: FactorAnalysis, read_page: Callable[[str], Any]):
    evil = '<script>alert("x")</script>&<a href="https://elsewhere.example">'
    names = analysis.table["name"].copy()
    names[0] = evil
    words = np.array([evil] * 26, dtype=object)
    text = factor_page_text(
        replace(changed(analysis, name=names, family=words, formula=words, source=words), name=evil, notes=(evil,))
    )
    page = read_page(text)
    assert page.faults == []
    assert "<script>alert" not in text
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert evil in page.text
    labels = [label for label in figures_in(text)["luck"]["traces"][0]["text"] if "elsewhere" in label]
    assert labels
    assert not any("<a" in label for label in labels)


@pytest.mark.parametrize("count", [1, 2])
def test_few_factors_make_a_page(count: int, read_page: Callable[[str], Any]):
    page = read_page(factor_page_text(made_up(F=count, T=200)))
    assert page.faults == []
    if count == 1:
        assert "no relatives" in page.text
        assert "The mean rank IC of factor_0 is" in page.text


def test_hundreds_of_factors_keep_the_page_in_bounds():
    text = factor_page_text(made_up(F=400))
    found = figures_in(text)
    assert len(found["kinship"]["traces"][0]["z"]) == 150
    assert len(found["years"]["traces"][0]["z"]) == 40
    assert len(re.findall("<tr data-words", text)) == 400
    assert "Only the 150 strongest factors are drawn" in text


def test_factors_that_were_never_known_are_said_to_be(analysis: FactorAnalysis, read_page: Callable[[str], Any]):
    nothing = {
        name: np.full(26, np.nan) for name, column in analysis.table.items() if np.asarray(column).dtype.kind == "f"
    }
    empty = replace(
        changed(analysis, **nothing, stands_bh=np.zeros(26, bool), stands_bonferroni=np.zeros(26, bool)),
        rank_ic=np.full((520, 26), np.nan, np.float32),
        coverage=np.full((520, 26), np.nan, np.float32),
        yearly=np.full(analysis.yearly.shape, np.nan),
        correlation=np.full((26, 26), np.nan),
        quantiles=np.full(analysis.quantiles.shape, np.nan),
        decay={name: np.full(values.shape, np.nan) for name, values in analysis.decay.items()},
    )
    page = read_page(factor_page_text(empty))
    assert page.faults == []
    assert "No factor could be judged" in page.text


def test_the_terminal_prints_the_same_numbers(analysis: FactorAnalysis):
    stream = io.StringIO()
    Console(file=stream, width=140).print(factor_table(analysis, rows=5))
    said = stream.getvalue()
    best = int(analysis.ranking[0])
    assert analysis.names[best] in said
    assert f"{analysis.table['rank_ic_t'][best]:.2f}" in said
    assert "21 weaker factors" in said
    assert "Of 26 factors" in said
    assert "Note: Survivorship" in said
    stream = io.StringIO()
    Console(file=stream, width=140).print(factor_table(analysis, rows=0))
    assert all(name in stream.getvalue() for name in analysis.names)
