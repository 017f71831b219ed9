"""The section on skill stands on the page and in the terminal's JSON where a test was made, and nowhere else."""

from dataclasses import dataclass

import numpy as np

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.market import Market
from alphaloom.report import summary_json, write_report
from alphaloom.study import Study, WalkForward
from alphaloom.study.skill import SkillTest, judge_skill
from alphaloom.study.skill_controls import ConstantWeights


@dataclass(frozen=True)
class Drawn:
    """A constant portfolio that its seed draws."""

    seed: int = 1

    def fit(self, train, market):
        return ConstantWeights(0.9 * np.random.default_rng(self.seed).dirichlet(np.ones(train.shape[1])))


def test_the_page_shows_the_test_that_was_made_and_nothing_where_none_was(tmp_path):
    panel = simulate(EmbeddedMarket(days=320, assets=12, seed=3))
    study = Study("drawn", Drawn(), Market(), WalkForward(train=200, test=120))
    result = study.run(panel, directory=tmp_path / "run")
    page = write_report(result, tmp_path / "page.html").read_text()
    assert 'id="skill"' not in page
    assert summary_json(result)["skill"] is None
    test = SkillTest(seeds=2, constants=10, signs=10, costs=(0.0, 0.001), draws=100, validation=50)
    skill = judge_skill(study, panel, test, directory=tmp_path / "run")
    page = write_report(result, tmp_path / "page.html").read_text()
    assert 'id="skill"' in page
    assert "Does not beat its controls" in page
    assert "Random constant portfolios (10)" in page or "random constant portfolios (10)" in page
    assert summary_json(result)["skill"]["beats"] is skill.beats is False
