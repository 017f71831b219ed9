"""Local worker processes: order, errors, deaths, and nothing left behind."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import compute_jobs as jobs
import numpy as np
import pytest

from alphaloom.compute import WorkerError, local, processes
from alphaloom.errors import AlphaloomError, ConfigError, DataError
from alphaloom.roles import Executor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="worker processes need a POSIX system")
EXECUTORS = {"local": local, "one": lambda: processes(1), "three": lambda: processes(3)}


@pytest.fixture(params=EXECUTORS)
def executor(request):
    return EXECUTORS[request.param]()


@pytest.fixture(scope="module")
def crew():
    with processes(2) as executor:
        yield executor


def alive(pid: int) -> bool:
    """True while a process runs; one that ended but was not collected by its parent counts as ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_until(true, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_every_executor_plays_the_role_and_keeps_the_order(executor):
    assert isinstance(executor, Executor)
    assert list(executor.map(jobs.square, range(23))) == [x * x for x in range(23)]
    assert list(executor.map(jobs.late_when_early, range(9))) == list(range(9))
    assert list(executor.map(jobs.square, [])) == []


def test_work_may_be_a_closure(crew):
    factor = 7
    assert list(crew.map(lambda x: x * factor, range(4))) == [0, 7, 14, 21]


def test_items_are_done_in_other_processes_at_the_same_time():
    with processes(2) as executor:
        ids = set(executor.map(jobs.sleep_here, [0.3] * 6))
    assert len(ids) == 2
    assert os.getpid() not in ids


def test_big_arrays_lie_in_memory_that_workers_share_and_cannot_change(crew):
    values = np.random.default_rng(0).random((50, 40_000))
    sums, writable, mapped = zip(*crew.map(jobs.Rows(values), range(50)), strict=True)
    assert list(sums) == [float(row.sum()) for row in values]
    assert set(writable) == {False}
    assert set(mapped) == {True}
    with pytest.raises(ValueError, match="read-only"):
        list(crew.map(jobs.Spoiler(values), range(2)))
    assert values.flags.writeable


def test_the_next_map_sees_what_changed_in_writable_arrays(crew):
    values = np.ones((2, 1000))
    assert [row[0] for row in crew.map(jobs.Rows(values), range(2))] == [1000.0, 1000.0]
    values[1] = 2.0
    assert [row[0] for row in crew.map(jobs.Rows(values), range(2))] == [1000.0, 2000.0]


def test_big_items_and_results_travel_whole(crew):
    item = np.random.default_rng(1).random((400, 1000))
    back = list(crew.map(lambda x: x * 2.0, [item, item[:, ::2], item.T]))
    for result, expected in zip(back, [item * 2, item[:, ::2] * 2, item.T * 2], strict=True):
        np.testing.assert_array_equal(result, expected)
        assert result.flags.writeable


def test_items_are_drawn_only_so_far_ahead():
    drawn = []
    results = processes(2, ahead=5).map(jobs.square, (drawn.append(x) or x for x in itertools.count()))
    assert [next(results) for _ in range(10)] == [x * x for x in range(10)]
    assert len(drawn) <= 10 + 5
    results.close()


def test_an_error_comes_home_with_its_type_and_parts_when_its_turn_has_come(executor):
    results = executor.map(jobs.faulty, range(6))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError) as caught:
        next(results)
    error = caught.value
    assert (error.rule, error.found, error.where) == ("a price is positive", -1.0, "row 2")
    assert error.fix == "look at the source"


@pytest.mark.parametrize(("kind", "expected"), [("value", ValueError), ("exit", SystemExit), ("stop", RuntimeError)])
def test_every_executor_raises_what_the_work_raised(executor, kind, expected):
    with pytest.raises(expected):
        list(executor.map(jobs.fault_of_kind, [kind]))


def test_an_error_tells_where_in_the_worker_it_was_raised(crew):
    with pytest.raises(ValueError) as caught:
        list(crew.map(jobs.fault_of_kind, ["value"]))
    assert "compute_jobs.py" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("kind", ["copy", "result"])
def test_what_cannot_travel_home_is_named(crew, kind):
    with pytest.raises(WorkerError, match="travel"):
        list(crew.map(jobs.fault_of_kind, [kind]))
    assert list(crew.map(jobs.square, [3])) == [9]


def test_work_that_a_worker_cannot_import_is_named(crew, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def work(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here

    with pytest.raises(WorkerError, match="import"):
        list(crew.map(only_here.work, range(3)))  # these workers began before the path was known
    assert list(processes(2).map(only_here.work, range(3))) == [0, 1, 2]


def test_a_fault_of_the_items_comes_after_the_results_before_it(executor):
    def items():
        yield from range(3)
        raise OSError("the file ends here")

    results = executor.map(jobs.square, items())
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(OSError, match="ends here"):
        next(results)


def test_an_item_whose_worker_was_killed_is_tried_again(tmp_path):
    work = jobs.Mortal(str(tmp_path), times=2)
    assert list(processes(2).map(work, range(8))) == [10 * x for x in range(8)]
    assert len(list(tmp_path.iterdir())) == 3


def test_an_item_that_kills_every_worker_ends_in_an_error(tmp_path):
    results = processes(2, attempts=2).map(jobs.Mortal(str(tmp_path), times=99), range(8))
    assert [next(results), next(results)] == [0, 10]
    with pytest.raises(WorkerError) as caught:
        next(results)
    assert isinstance(caught.value, AlphaloomError)
    assert "SIGKILL" in str(caught.value.found)
    assert caught.value.where == "item 2"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_from_outside_changes_no_result(tmp_path):
    executor = processes(2)
    results = executor.map(jobs.Signs(str(tmp_path), 0.2), range(8))
    assert next(results) == 0
    os.kill(int(next(tmp_path.iterdir()).name), signal.SIGKILL)
    assert list(results) == list(range(1, 8))


def test_idle_workers_may_die_between_maps():
    with processes(2) as executor:
        for pid in set(executor.map(jobs.sleep_here, [0.2] * 2)):
            os.kill(pid, signal.SIGKILL)
        assert list(executor.map(jobs.square, range(5))) == [0, 1, 4, 9, 16]


def test_workers_are_kept_inside_a_with_block_and_ended_after_it():
    with processes(2) as executor:
        first = set(executor.map(jobs.sleep_here, [0.2] * 4))
        assert set(executor.map(jobs.process_id, range(4))) <= first
    assert wait_until(lambda: not any(alive(pid) for pid in first))


def test_two_maps_at_once_do_not_mix(crew):
    squares, ids = crew.map(jobs.square, range(5)), crew.map(jobs.late_when_early, range(5))
    assert list(zip(squares, ids, strict=True)) == [(0, 0), (1, 1), (4, 2), (9, 3), (16, 4)]


def test_a_dropped_iterator_ends_the_workers_that_are_busy(tmp_path):
    results = processes(2).map(jobs.Signs(str(tmp_path), 60.0), itertools.chain([0], range(9)))
    sleeper = iter(results)
    pids: list[int] = []

    def stop(*_):
        pids.extend(int(path.name) for path in tmp_path.iterdir())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 3.0)
        with pytest.raises(KeyboardInterrupt):
            next(sleeper)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert pids
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 5.0)


SCRIPT = """
import sys
from dataclasses import dataclass
from pathlib import Path
import os, time
import numpy as np
from alphaloom.compute import processes

@dataclass
class Work:  # made in the script itself, which is not guarded against being run again
    folder: str
    values: object
    def __call__(self, item):
        (Path(self.folder) / str(os.getpid())).touch()
        time.sleep(60)

list(processes(2).map(Work(sys.argv[1], np.ones(1_000_000)), range(4)))
"""


@pytest.fixture
def script(tmp_path):
    """A script with two busy workers, in a process group of its own, and the numbers of its workers."""
    path, signs = tmp_path / "script.py", tmp_path / "signs"
    path.write_text(textwrap.dedent(SCRIPT))
    signs.mkdir()
    with subprocess.Popen(
        [sys.executable, str(path), str(signs)], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert wait_until(lambda: len(list(signs.iterdir())) == 2, 60.0)
        yield process, [int(sign.name) for sign in signs.iterdir()]
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_shared_memory_has_no_name_that_could_stay_behind(script):
    process, workers = script
    for pid in (process.pid, *workers):
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "/dev/shm" not in maps
        assert ("memfd:alphaloom" in maps) == (pid in workers)


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "parent alone"])
def test_ctrl_c_ends_everything_at_once(script, whole_group):
    process, workers = script
    if whole_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert told.count("Traceback") == 1, told  # the script's own; workers end without a word
    assert "KeyboardInterrupt" in told
    assert wait_until(lambda: not any(alive(pid) for pid in workers), 5.0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_follow_their_parent_however_it_ends(script, how):
    process, workers = script
    process.send_signal(how)
    process.wait(20)
    assert wait_until(lambda: not any(alive(pid) for pid in workers), 5.0)


def test_workers_use_as_many_threads_as_they_are_given():
    expected = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    found = next(iter(processes(1, threads=2).map(jobs.settings, [0])))
    assert found == {**expected, "OMP_WAIT_POLICY": "PASSIVE"}


def test_workers_neither_read_the_terminal_nor_confuse_their_words_with_results(crew, capfd):
    assert list(crew.map(jobs.read_standard_input, [0])) == ["nothing"]
    assert list(processes(2).map(jobs.talk, range(3))) == [0, 1, 2]
    assert capfd.readouterr().out.count("a word") == 3


def test_a_system_that_refuses_processes_or_memory_is_an_error_with_a_way_out(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOMEM, "no room")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(WorkerError, match=r"no room.*fewer workers"):
        list(processes(2).map(jobs.square, range(3)))
    monkeypatch.undo()
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(WorkerError, match=r"8,000 bytes.*no room"):
        list(processes(2).map(jobs.Rows(np.ones(1000)), range(3)))


@pytest.mark.parametrize("settings", [{"count": 0}, {"threads": 0}, {"attempts": 0}, {"ahead": 0}])
def test_counts_below_one_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        processes(**{"count": 2, **settings})
