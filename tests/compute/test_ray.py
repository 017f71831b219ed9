"""A Ray cluster of two machines, both of them this one."""

from __future__ import annotations

import os
import signal
import time

import compute_jobs as jobs
import numpy as np
import pytest

from alphaloom.compute import RayCluster, WorkerError, local, ray_cluster
from alphaloom.errors import ConfigError, DataError
from alphaloom.factors.chunks import evaluate_chunks
from alphaloom.roles import Executor

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
MACHINE = {"num_cpus": 1, "object_store_memory": 100 << 20}


@pytest.fixture(scope="module")
def cluster():
    """A head and one more machine, one core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**MACHINE, "include_dashboard": False})
    made.add_node(**MACHINE)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def executor(cluster):
    with ray_cluster(cluster.address) as connected:
        yield connected


def test_it_plays_the_role_and_keeps_the_order(executor):
    assert isinstance(executor, Executor)
    assert list(executor.map(jobs.square, range(30))) == [x * x for x in range(30)]
    assert list(executor.map(jobs.late_when_early, range(9))) == list(range(9))
    assert list(executor.map(jobs.square, [])) == []


def test_both_machines_work(executor):
    assert len(set(executor.map(jobs.sleep_here, [0.3] * 8))) == 2


def test_the_work_is_put_once_and_read_where_it_lies(executor):
    values = np.random.default_rng(0).random((20, 40_000))
    here = list(local().map(jobs.Rows(values), range(20)))
    there = list(executor.map(jobs.Rows(values), range(20)))
    assert [row[0] for row in there] == [row[0] for row in here]
    assert {row[1] for row in there} == {False}  # read-only


def test_an_error_comes_home_with_its_type_and_parts_when_its_turn_has_come(executor):
    results = executor.map(jobs.faulty, range(6))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError) as caught:
        next(results)
    assert type(caught.value) is DataError
    assert (caught.value.found, caught.value.where) == (-1.0, "row 2")
    assert "compute_jobs.py" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("kind", ["copy", "result"])
def test_what_cannot_travel_home_is_named(executor, kind):
    with pytest.raises(WorkerError, match="travel"):
        list(executor.map(jobs.fault_of_kind, [kind]))


def test_an_item_whose_worker_was_killed_is_tried_again(executor, tmp_path):
    assert list(executor.map(jobs.Mortal(str(tmp_path)), range(8))) == [10 * x for x in range(8)]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_item_that_kills_every_worker_ends_in_an_error(cluster, executor, tmp_path):
    results = ray_cluster(cluster.address, attempts=2).map(jobs.Mortal(str(tmp_path), times=99), range(4))
    assert [next(results), next(results)] == [0, 10]
    with pytest.raises(WorkerError, match="2 attempts"):
        next(results)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_from_outside_changes_no_result(executor, tmp_path):
    results = executor.map(jobs.Signs(str(tmp_path), 0.2), range(8))
    assert next(results) == 0
    os.kill(int(next(tmp_path.iterdir()).name), signal.SIGKILL)
    assert list(results) == list(range(1, 8))


def test_a_dropped_iterator_cancels_what_it_began(executor, tmp_path):
    results = executor.map(jobs.Signs(str(tmp_path), 0.3), range(100))
    assert next(results) == 0
    results.close()
    begin = time.monotonic()
    assert list(executor.map(jobs.square, range(4))) == [0, 1, 4, 9]
    assert time.monotonic() - begin < 15.0
    assert len(list(tmp_path.iterdir())) <= 4  # workers that wrote their number, out of a hundred items


def test_a_lost_machine_changes_no_result(cluster, executor, tmp_path):
    extra = cluster.add_node(**MACHINE)
    results = executor.map(jobs.Signs(str(tmp_path), 0.3), range(20))
    assert next(results) == 0
    cluster.remove_node(extra, allow_graceful=False)
    assert list(results) == list(range(1, 20))


def test_a_factor_job_gives_the_bytes_of_this_process_though_a_worker_is_killed(executor, make_panel, tmp_path):
    panel = make_panel(300, 24, seed=5, holes=0.001, dtype=np.float32)
    factors = jobs.classics(panel)
    evaluate_chunks(factors, panel, out=tmp_path / "here", rows_per_chunk=64)
    evaluate_chunks(
        factors,
        jobs.MortalSource(panel, str(tmp_path)),
        out=tmp_path / "there",
        rows_per_chunk=64,
        executor=executor,
    )
    assert (tmp_path / "killed").exists()
    assert jobs.files_of(tmp_path / "here") == jobs.files_of(tmp_path / "there")


def test_a_cluster_that_does_not_answer_is_an_error_with_a_way_out(monkeypatch):
    def refuse(**_):
        raise ConnectionError("nobody is there")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(WorkerError, match="nobody is there") as caught:
        list(ray_cluster("192.0.2.1:6379").map(jobs.square, [1]))
    assert "ray start" in caught.value.fix


@pytest.mark.parametrize("settings", [{"cores": 0}, {"attempts": 0}, {"ahead": 0}])
def test_counts_below_one_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ray_cluster(**settings)


def test_it_prints_as_it_is_made():
    made = ray_cluster("auto", cores=2)
    assert isinstance(made, RayCluster)
    assert repr(made) == "ray_cluster('auto', cores=2, attempts=3, ahead=None)"
