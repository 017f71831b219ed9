"""The arena on the embedded market: a planted effect that pays for its costs is skill, its noise twin is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaloom.app.arena import open_contest, run_arena

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "factor_model_tiny.toml"
STRONG = ("data.reversal=0.1", "data.value=0.1", "data.volume=0.1", "data.news=0.1")


def arena(folder, *settings):
    contest = open_contest([CONFIG], seeds=(2, None), settings=settings)
    return run_arena(contest, folder / "arena", lambda *_: None, random=20)[0]


def test_a_strong_planted_effect_is_skill(tmp_path):
    (line,) = arena(tmp_path, *STRONG).lines
    assert line.verdict.word == "skill", line.verdict.sentence
    assert line.numbers["place"].mean == 1.0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_noise_twin_has_no_skill(tmp_path, seed):
    (line,) = arena(tmp_path, *STRONG, "data.noise=true", f"data.seed={seed}").lines
    assert line.verdict.word in ("no better than equal weight", "too short to say", "worse than equal weight")
    assert line.numbers["active_dsr"].mean < 0.95
    assert abs(line.numbers["rank_ic_t"].mean) < 3
