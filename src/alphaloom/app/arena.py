"""From several configurations to one arena: what they must share, which runs there are, and how they are judged."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaloom.app.config import StudyConfig, describe, load_config, nearest
from alphaloom.app.runs import file_name, study_of
from alphaloom.app.sources import load_panel
from alphaloom.compute import local, processes
from alphaloom.errors import ConfigError, Fault

if TYPE_CHECKING:
    from alphaloom.panel import Panel
    from alphaloom.study.arena import ArenaResult, Entry

__all__ = ["Contest", "Variant", "open_contest", "read_seeds", "run_arena"]

Progress = Callable[[str, int, int], None]
_SHARED = ("data", "market", "plan", "cash")
FACTORS = "factors"  # the folder of factors that runs share while the arena is going on


@dataclass(frozen=True)
class Variant:
    """One study of an arena with its seeds: a configuration for each seed that makes a difference.

    `of` names the study of which this one lacks a `step`; `same_as` one that decides alike and is run for both.
    """

    name: str
    configs: Mapping[int, StudyConfig]
    of: str = ""
    step: str = ""
    same_as: str = ""


@dataclass(frozen=True)
class Contest:
    """The studies of an arena on what they share; `notes` say what was named twice or needs one seed only."""

    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> StudyConfig:
        """Any configuration: data, market, plan and cash are the same in all."""
        return next(iter(self.variants[0].configs.values()))

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this contest another one than any other."""
        return {
            "seeds": list(self.seeds),
            "studies": {
                each.name: {str(seed): describe(config) for seed, config in each.configs.items()}
                for each in self.variants
            },
        }


def read_seeds(count: int | None, listed: str | None, own: int) -> tuple[int, ...]:
    """The seeds that were asked for: a list, or so many from the configuration's own on.   Raises: ConfigError."""
    if listed is None:
        return tuple(range(own, own + (1 if count is None else count)))
    parts = [part.strip() for part in listed.split(",")]
    faults = [
        Fault("--seed-list", "is a list of whole numbers from 0 on", part, "for example 7,8,9")
        for part in parts
        if not (part.isascii() and part.isdigit())
    ]
    if count is not None:
        faults.append(Fault("--seeds", "is not used together with --seed-list", count, "give one of the two"))
    if not faults and len({int(part) for part in parts}) < len(parts):
        faults.append(Fault("--seed-list", "names every seed once", listed))
    if faults:
        raise ConfigError("the command line", faults)
    return tuple(int(part) for part in parts)


def open_contest(
    paths: Sequence[Path],
    *,
    seeds: tuple[int | None, str | None] = (None, None),
    data: Path | None = None,
    settings: Sequence[str] = (),
    steps: Sequence[str] | bool = False,
) -> Contest:
    """Read all configurations and find the runs that they need; nothing is run.

    `steps` names the variants of the systems that are run besides them: True for all, False for none.
    A study in which nothing depends on the seed is run once; two studies that decide alike are one.
    Raises: ConfigError with every difference in what an arena shares, and every other fault.
    """
    firsts = {path: load_config(path, settings=settings, data=data) for path in paths}
    numbers = read_seeds(*seeds, own=next(iter(firsts.values())).seed)
    _check_shared(firsts)
    _check_steps(firsts, steps)
    loaded = [{seed: load_config(path, settings=settings, data=data, seed=seed) for seed in numbers} for path in firsts]
    every = list(_variants(loaded, steps))
    kept: list[Variant] = []
    notes: list[str] = []
    known: dict[str, str] = {}
    # Whole studies first: a study that lacks a step may be another whole study, which then stands for both.
    for each in sorted(every, key=lambda variant: bool(variant.of)):
        key = _decides(next(iter(each.configs.values())))
        if key in known and not each.of:
            notes.append(f"{each.name}: decides exactly as {known[key]}, which was run for both")
            continue
        if each.of and each.of not in {one.name for one in kept}:
            continue
        alone = len(numbers) > 1 and len({_decides(config) for config in each.configs.values()}) == 1
        if alone:
            notes.append(f"{each.name}: nothing in it depends on the seed, so it was run once, for every seed")
        configs = dict(list(each.configs.items())[:1]) if alone else each.configs
        kept.append(replace(each, configs=configs, same_as=known.get(key, "")))
        known.setdefault(key, each.name)
    _check_names(kept)
    return Contest(tuple(kept), numbers, tuple(notes))


def _variants(loaded: Sequence[Mapping[int, StudyConfig]], steps: Sequence[str] | bool) -> Iterator[Variant]:
    """Every study, and after it the variants that lack one step each, as the system names them."""
    for configs in loaded:
        first = next(iter(configs.values()))
        # The shuffled twin belongs to every run of an arena.
        whole = {seed: replace(config, controls=True) for seed, config in configs.items()}
        yield Variant(first.name, whole)
        offered = getattr(first.system, "ablations", {}) if steps else {}
        asked = list(offered) if isinstance(steps, bool) else [step for step in offered if step in steps]
        for step in asked:
            name = f"{first.name} {step}"
            lacking = {
                seed: replace(config, name=name, controls=False, system=config.system.ablations[step])
                for seed, config in configs.items()
            }
            yield Variant(name, lacking, first.name, step)


def _decides(config: StudyConfig) -> str:
    """A hash of what the decisions follow from: what learns and what trades; the rest is the same in an arena."""
    from alphaloom.study.arena import learned

    study = study_of(config)
    return learned((study.learner, study.allocator))


def _key(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _check_shared(configs: Mapping[Path, StudyConfig]) -> None:
    """All studies of an arena stand on one panel, market and plan."""
    (where, first), *others = configs.items()
    faults = []
    for path, config in others:
        for part in _SHARED:
            mine, theirs = (_flat(describe(getattr(each, part)), part) for each in (first, config))
            for key in sorted({**mine, **theirs}):
                if mine.get(key) != theirs.get(key):
                    found = f"{where}: {_told(mine, key)}, {path}: {_told(theirs, key)}"
                    faults.append(
                        Fault(key, "is the same in all studies of an arena", found, f"--set {key}=VALUE sets it in all")
                    )
    if any(fault.key.startswith("data") for fault in faults):
        faults = [
            replace(fault, fix=f"{fault.fix}, --data STORE gives all of them one store")
            if fault.key == "data.kind"
            else fault
            for fault in faults
        ]
    if faults:
        raise ConfigError("arena", faults)


def _check_steps(configs: Mapping[Path, StudyConfig], steps: Sequence[str] | bool) -> None:
    """A step that is asked for is one that some system offers."""
    if isinstance(steps, bool):
        return
    offered = [step for config in configs.values() for step in getattr(config.system, "ablations", {})]
    fix = f"one of: {', '.join(dict.fromkeys(offered))}" if offered else "none of the studies is a system with variants"
    faults = [
        Fault("--step", "names a variant of a system", step, nearest(step, offered) or fix)
        for step in steps
        if step not in offered
    ]
    if faults:
        raise ConfigError("the command line", faults)


def _flat(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {key: value}
    return {name: leaf for part, inner in value.items() for name, leaf in _flat(inner, f"{key}.{part}").items()}


def _told(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "not given"


def _check_names(variants: Sequence[Variant]) -> None:
    names = [file_name(each.name) for each in variants]
    faults = [
        Fault("name", "stands for one study of an arena", name, "give one of the configurations another name")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if faults:
        raise ConfigError("arena", faults)


def run_arena(
    contest: Contest, directory: Path | None, progress: Progress, *, jobs: int = 1, random: int = 200
) -> tuple[ArenaResult, Path]:
    """Run (or resume, or load) every study for every seed, and judge them together.

    Every run is an ordinary run in DIR/runs/NAME-SEED, which `alphaloom report` reads. Without a directory the arena
    lives in `runs/arena-HASH`; the hash is of the configurations, the seeds and the data.
    """
    from alphaloom.forecast.sharing import shared_factors
    from alphaloom.study.arena import Arena, arena_place, write_arena

    progress("data", 0, 1)
    panel = load_panel(contest.first.data)
    progress("data", 1, 1)
    identity = {**contest.identity, "data": panel.source, "random": random}
    place = arena_place(directory or Path("runs") / f"arena-{_key(identity)[:8]}", identity)
    first = contest.first
    arena = Arena(first.market, first.plan, name="arena", cash=first.cash, random=random, seed=contest.seeds[0])
    executor = local() if jobs == 1 else processes(jobs)
    with shared_factors(panel, place / FACTORS):
        entries = _run_all(contest, panel, place / "runs", executor=executor, progress=progress)
        result = arena.judge(entries, panel, executor=executor, progress=progress)
    result = replace(result, notes=(*result.notes, *contest.notes))
    written = write_arena(result, place)
    # Factors are kept on disk while runs may be resumed; a finished arena does not need them.
    shutil.rmtree(place / FACTORS, ignore_errors=True)
    return written, place


def _run_all(contest: Contest, panel: Panel, folder: Path, *, executor: Any, progress: Progress) -> list[Entry]:
    from alphaloom.study.arena import Entry, Recalling, learned

    total = sum(len(each.configs) for each in contest.variants if not each.same_as)
    done = 0
    entries: dict[str, Entry] = {}
    sources: dict[str, Path] = {}  # by learner the first run that has learned it
    progress("runs", 0, total)
    for each in contest.variants:
        results = list(entries[each.same_as].results) if each.same_as else []
        for seed, config in () if each.same_as else each.configs.items():
            place, study = folder / f"{file_name(each.name)}-{seed}", study_of(config)
            source = sources.setdefault(learned(study.learner), place)
            worker = executor if source == place else Recalling(executor, source, study.plan)
            results.append(study.run(panel, executor=worker, directory=place, progress=progress))
            done += 1
            progress("runs", done, total)
        entries[each.name] = Entry(each.name, tuple(each.configs), tuple(results), each.of, each.step)
    return list(entries.values())
