from __future__ import annotations

import tomllib

import pytest

from alphaloom.app.config import describe, load_config, parse_config
from alphaloom.app.runs import study_of
from alphaloom.data import simulate
from alphaloom.errors import ConfigError

GOOD = """
name = "hold"
seed = 3
[data]
kind = "embedded"
days = 300
assets = 20
[policy]
kind = "equal_weight"
every = 5
[market]
commission = 0.001
[plan]
train = 100
test = 50
[benchmarks.cross]
kind = "moving_average_cross"
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write


def test_tables_become_frozen_dataclasses(write):
    config = load_config(write(GOOD))
    assert config.policy.every == 5
    assert config.market.commission == 0.001
    assert config.plan.train == 100
    assert config.seed == 3
    assert config.data.seed == load_config(write(GOOD.replace("seed = 3", "seed = 4"))).data.seed, "data are data"
    assert type(config.benchmarks["cross"]).__name__ == "MovingAverageCross"


def test_all_faults_are_reported_at_once_with_key_and_nearest_name(write):
    text = (
        GOOD.replace("commission", "comission")
        .replace("train = 100", 'train = "long"')
        .replace("equal_weight", "equal")
    )
    with pytest.raises(ConfigError) as caught:
        load_config(write(text))
    found = {fault.key: fault for fault in caught.value.faults}
    assert set(found) == {"market.comission", "plan.train", "policy.kind"}
    assert "commission" in found["market.comission"].fix
    assert found["plan.train"].found == "long"
    assert "equal_weight" in found["policy.kind"].fix
    assert "study.toml" in str(caught.value)


def test_values_are_not_bent_to_fit(write):
    for wrong in ('every = "5"', "every = 5.5", "every = true"):
        with pytest.raises(ConfigError, match=r"policy\.every"):
            load_config(write(GOOD.replace("every = 5", wrong)))


def test_a_value_that_its_class_refuses_is_a_fault_of_its_table(write):
    with pytest.raises(ConfigError, match="negative"):
        load_config(write(GOOD.replace("0.001", "-0.001")))
    with pytest.raises(ConfigError, match="at least one"):
        load_config(write(GOOD.replace("test = 50", "test = 0")))


def test_overrides_win_and_are_checked(write):
    path = write(GOOD)
    config = load_config(path, settings=["plan.train=75", "name=other", "benchmarks.cross.slow=60"], seed=11)
    assert (config.plan.train, config.name, config.seed, config.benchmarks["cross"].slow) == (75, "other", 11, 60)
    with pytest.raises(ConfigError, match=r"plan\.trian.*train"):
        load_config(path, settings=["plan.trian=75"])
    with pytest.raises(ConfigError, match=r"dotted\.key=value"):
        load_config(path, settings=["plan.train"])
    with pytest.raises(ConfigError, match="tables on its way"):
        load_config(path, settings=["name.length=3"])


def test_a_store_takes_the_place_of_the_embedded_market(write, tmp_path):
    config = load_config(write(GOOD), data=tmp_path)
    assert config.data.path == str(tmp_path)


def test_a_study_needs_exactly_one_thing_to_study(write):
    with pytest.raises(ConfigError, match="exactly one"):
        load_config(write(GOOD.replace('[policy]\nkind = "equal_weight"\nevery = 5', "")))
    with pytest.raises(ConfigError, match="exactly one"):
        load_config(write(GOOD + '[learner]\nkind = "ridge"\n'))


def test_missing_and_broken_files_say_so(tmp_path, write):
    write(GOOD)
    with pytest.raises(ConfigError, match=r"does not exist.*study\.toml"):
        load_config(tmp_path / "studdy.toml")
    with pytest.raises(ConfigError, match="line 2"):
        load_config(write('name = "x"\n= 3\n'))
    with pytest.raises(ConfigError, match=r"name: is required"):
        load_config(write(GOOD.replace('name = "hold"', "")))


def test_a_described_configuration_reads_back_equal(write):
    config = load_config(write(GOOD))
    tables = describe(config)
    assert tables["market"]["slippage"] == 0.0005, "defaults are spelled out"
    assert parse_config(tables, "again") == config


def test_a_formula_file_of_ones_own_is_read_when_the_configuration_is(write, tmp_path):
    library = tmp_path / "mine.toml"
    library.write_text('[[factor]]\nname = "reversal"\nformula = "-returns"\n')
    learner = f'[learner]\nkind = "ridge"\nfactors = "{library}"\n[allocator]\nkind = "top_k"\n'
    text = GOOD.replace('[policy]\nkind = "equal_weight"\nevery = 5\n', learner)
    config = load_config(write(text))
    assert config.learner.factors.names == ("reversal",)
    assert describe(config)["learner"]["factors"] == str(library)
    before = study_of(config).provenance(simulate(config.data))
    library.write_text('[[factor]]\nname = "reversal"\nformula = "-ts_mean(returns, 5)"\n')
    after = study_of(load_config(write(text))).provenance(simulate(config.data))
    assert before["study_hash"] != after["study_hash"], "an edited formula is another study"
    library.write_text(
        '[[factor]]\nname = "reversal"\nformula = "(returns"\n[[factor]]\nname = "b"\nformula = "close +"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_config(write(text))
    assert len(caught.value.faults) >= 2


def test_one_table_with_many_faults_tells_them_all_with_their_keys():
    tables = tomllib.loads(
        """
        name = "x"
        [data]
        kind = "embedded"
        days = -5
        assets = 0
        [market]
        fill = "tomorrow"
        commission = -1
        slippage = -2
        impct = 3
        [policy]
        kind = "equal_weight"
        every = 0
        [plan]
        train = 60
        test = 100
        """
    )
    with pytest.raises(ConfigError) as told:
        parse_config(tables, "x.toml")
    keys = [fault.key for fault in told.value.faults]
    expected = {"data.days", "data.assets", "market.fill", "market.commission", "market.slippage", "market.impct"}
    assert set(keys) == expected | {"policy.every"}
    assert len(keys) == len(set(keys))
