"""Work spread over the machines of a Ray cluster. The only module that knows Ray (extra `ray`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from alphaloom.compute.outcome import Outcome, WorkerError, attempt, check_counts, lost, untravelled

__all__ = ["RayCluster", "ray_cluster"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_HELD: dict[str, Any] = {}  # in a Ray worker: the work of the latest map, so that a task need not read it again


class RayCluster:
    """Maps over the workers of a Ray cluster; make it with `ray_cluster`.

    Inside `with ray_cluster() as executor:` the connection is kept from map to map; outside, every map makes one and
    closes it. A connection that the caller made with `ray.init` is used and left as it is.
    """

    def __init__(self, address: str | None, *, cores: int, attempts: int, ahead: int | None) -> None:
        self.address = address
        self.cores = cores
        self.attempts = attempts
        self.ahead = ahead
        self._connected = False

    def __repr__(self) -> str:
        return f"ray_cluster({self.address!r}, cores={self.cores}, attempts={self.attempts}, ahead={self.ahead})"

    def __enter__(self) -> RayCluster:
        self._connected = self._connect()
        return self

    def __exit__(self, *fault: object) -> None:
        if self._connected:
            _ray().shutdown()
        self._connected = False

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """The results in the order of the items, wherever they are made.

        `work` is put into the cluster's object store once; its arrays are read there, read-only. What `work` raises on
        an item is raised when that item's turn comes. An error and an iterator that is dropped halfway cancel the rest.
        Raises: WorkerError when the workers of one item were lost as often as it may be tried.
        """
        ray = _ray()
        mine = self._connect()
        tasks: dict[Any, int] = {}
        try:
            yield from self._ordered(ray.put(work), iter(items), tasks=tasks)
        finally:
            if ray.is_initialized():
                for task in tasks:
                    ray.cancel(task, force=True)
            if mine:
                ray.shutdown()

    def _ordered(self, work: Any, items: Iterator[Any], *, tasks: dict[Any, int]) -> Iterator[Any]:
        ray = _ray()
        ahead = self.ahead or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)) // self.cores)
        begin = self._task()
        done: dict[int, Outcome] = {}
        begun = given = 0
        more = True
        while True:
            while more and begun < given + ahead:
                try:
                    item = next(items)
                except StopIteration:
                    more = False
                    break
                except Exception as error:  # as in a loop: the results before a faulty item are given first
                    done[begun], more = Outcome(error=error), False
                else:
                    tasks[begin.remote([work], item)] = begun
                begun += 1
            if given in done:
                given += 1
                yield done.pop(given - 1).value()
            elif tasks:
                for task in ray.wait(list(tasks), num_returns=1)[0]:
                    done[tasks[task]] = self._outcome(task, tasks[task])
                    del tasks[task]
            else:
                return

    def _task(self) -> Any:
        settings = {**dict.fromkeys(_THREAD_COUNTS, str(self.cores)), "OMP_WAIT_POLICY": "PASSIVE"}
        return _ray().remote(
            num_cpus=self.cores,
            max_retries=self.attempts - 1,
            retry_exceptions=False,
            runtime_env={"env_vars": {**settings, "PYTHONPATH": os.pathsep.join(_own_paths())}},
        )(_apply)

    def _outcome(self, task: Any, number: int) -> Outcome:
        from ray.exceptions import RayError, RaySystemError, RayTaskError

        try:
            outcome: Outcome = _ray().get(task)
        except (RayTaskError, RaySystemError) as error:
            # Errors of the work come as outcomes: what Ray itself raises here is about the way there or back.
            cause = getattr(error, "cause", None) or error
            return Outcome(error=untravelled(f"{type(cause).__name__}, {cause}".splitlines()[0]))
        except RayError as error:
            return lost(number, found=type(error).__name__, attempts=self.attempts)
        return outcome

    def _connect(self) -> bool:
        """True if a connection had to be made."""
        ray = _ray()
        if ray.is_initialized():
            return False
        try:
            with _no_statistics():
                ray.init(
                    address=self.address or "local",
                    include_dashboard=False if self.address is None else None,
                    configure_logging=False,
                    log_to_driver=False,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(
                "the Ray cluster must be running and reachable",
                found=str(error).splitlines()[0] if str(error) else type(error).__name__,
                where=f"ray_cluster({self.address!r})",
                fix="start it with `ray start --head` and give its address, or leave the address out",
            ) from error
        return True


def ray_cluster(
    address: str | None = None, *, cores: int = 1, attempts: int = 3, ahead: int | None = None
) -> RayCluster:
    """An executor over a Ray cluster: `address` is "HOST:PORT" of its head, or "auto"; None starts Ray on this machine.

    An item takes `cores` cores and at most as many threads. An item whose worker or machine is lost is begun up to
    `attempts` times. At most `ahead` items, by default two for each core, are begun before the oldest of them is done.
    Nothing is contacted but the cluster; Ray's usage statistics are off where this starts Ray.
    Raises: ConfigError for counts below 1; WorkerError when Ray is not installed or the cluster does not answer.
    """
    check_counts("ray_cluster", cores=cores, attempts=attempts, ahead=1 if ahead is None else ahead)
    _ray()
    return RayCluster(address, cores=cores, attempts=attempts, ahead=ahead)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise WorkerError(
            "a Ray cluster needs the library ray",
            found="not installed",
            where="ray_cluster",
            fix="pip install 'alphaloom[ray]'",
        ) from error
    return ray


def _apply(shared: list[Any], item: Any) -> Outcome:
    """One item in a Ray worker; the work is read from the object store when it is not the one at hand."""
    key = shared[0].hex()
    if key not in _HELD:
        _HELD.clear()
        _HELD[key] = _ray().get(shared[0])
    return attempt(_HELD[key], item)


def _own_paths() -> list[str]:
    """Where this process finds modules that were not installed; machines that lack these folders pass over them."""
    installed = tuple({os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix)})  # noqa: PTH118
    return [path for path in map(os.path.abspath, sys.path) if not path.startswith(installed)]


@contextmanager
def _no_statistics() -> Iterator[None]:
    """Ray reads this switch while it starts."""
    name = "RAY_USAGE_STATS_ENABLED"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
