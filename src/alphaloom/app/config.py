"""A TOML file becomes frozen dataclasses; every fault is found in one pass."""

from __future__ import annotations

import difflib
import json
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from alphaloom.app.catalog import CATALOG, find_class, name_of
from alphaloom.errors import AlphaloomError, ConfigError, Fault
from alphaloom.market import Market

__all__ = [
    "StudyConfig",
    "describe",
    "load_config",
    "nearest",
    "overridden",
    "parse_config",
    "read_parts",
    "read_tables",
    "shipped_configs",
]

_ROLES = {"Learner": "learner", "Allocator": "allocator", "Policy": "policy", "Miner": "miner"}


@dataclass(frozen=True)
class StudyConfig:
    """One study: data, market, walk-forward plan, what learns, what allocates, what it is compared with.

    Either `system` names a whole published system, or `learner` and `allocator`, an `agent` (a learner that makes its
    own weights) or a `policy` are given.
    `trials` counts the configurations that were tried before this one; the deflated Sharpe ratio needs it. `skill`
    holds a policy against controls over many seeds; without the table it is left out.
    """

    name: str
    data: Any
    plan: Any
    market: Market = field(default_factory=Market)
    system: Any = None
    learner: Any = None
    allocator: Any = None
    agent: Any = None
    policy: Any = None
    benchmarks: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 7
    trials: int = 1
    horizon: int | None = None
    controls: bool = False
    cash: float = 1e6
    skill: Any = None


def load_config(
    path: Path, *, settings: Sequence[str] = (), seed: int | None = None, data: Path | None = None
) -> StudyConfig:
    """Read and check a configuration.

    `settings` are `dotted.key=value` overrides, `seed` and `data` the two that are asked for most.
    Raises: ConfigError with the file, the dotted key, the value and the nearest valid name of every fault.
    """
    tables, faults = overridden(path, settings=settings, seed=seed, data=data)
    return parse_config(tables, str(path), faults)


def overridden(
    path: Path, *, settings: Sequence[str] = (), seed: int | None = None, data: Path | None = None
) -> tuple[dict[str, Any], list[Fault]]:
    """The tables of a file with the overrides of the command line, and what was wrong with those."""
    tables = read_tables(path)
    faults: list[Fault] = []
    for setting in settings:
        _apply(tables, setting, faults)
    if seed is not None:
        tables["seed"] = seed
    if data is not None:
        span = {
            key: value
            for key, value in _table(tables.get("data")).items()
            if key in ("start", "end", "as_of", "assets")
        }
        tables["data"] = {"kind": "store", "path": str(data), **({} if _is_embedded(tables) else span)}
    return tables, faults


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with alphaloom, by name."""
    package = Path(__file__).resolve().parents[1]
    folders = (package / "configs", package.parents[1] / "configs")  # installed, or in a checkout
    folder = next((folder for folder in folders if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.toml"))} if folder else {}


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file as they stand; a bare name means a configuration that comes with alphaloom.

    Raises: ConfigError with the line for bad syntax.
    """
    shipped = shipped_configs() if len(path.parts) == 1 and not path.exists() else {}
    path = shipped.get(path.name, path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = sorted(str(other) for other in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        hint = nearest(str(path), [*near, *shipped]) or "; ".join(near[:5] or shipped)
        raise ConfigError(str(path), [Fault("file", "the file does not exist", fix=hint)]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(str(path), [Fault("file", f"not valid TOML: {fault}")]) from None
    except OSError as fault:
        raise ConfigError(str(path), [Fault("file", f"cannot be read: {fault.strerror}")]) from None


def parse_config(tables: Mapping[str, Any], where: str, faults: Sequence[Fault] = ()) -> StudyConfig:
    """Turn tables into a StudyConfig.   Raises: ConfigError with all faults at once."""
    from alphaloom.study import WalkForward
    from alphaloom.study.skill import SkillTest

    reader = _Reader(list(faults), tables.get("seed", 7))
    config = reader.build(StudyConfig, tables, "", {"plan": WalkForward, "skill": SkillTest})
    if not reader.faults and config is not None:
        reader.faults.extend(_missing_parts(config))
    if reader.faults:
        raise ConfigError(where, reader.faults)
    assert isinstance(config, StudyConfig)
    return config


def read_parts(kind: type[Any], tables: Mapping[str, Any], where: str, faults: Sequence[Fault] = ()) -> tuple[Any, Any]:
    """The data that [data] names and an instance of `kind` from all other tables.   Raises: ConfigError."""
    reader = _Reader(list(faults), tables.get("seed", 7))
    data = reader.by_kind("data", tables.get("data"), "data")
    made = reader.build(kind, {name: table for name, table in tables.items() if name != "data"}, "")
    if reader.faults:
        raise ConfigError(where, reader.faults)
    return data, made


def describe(value: Any) -> Any:
    """A configuration as plain tables, every default spelled out; `parse_config` reads it back."""
    if _is_factor_set(type(value)):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        named = name_of(value)
        body = {item.name: describe(getattr(value, item.name)) for item in fields(value) if item.init}
        body = {key: part for key, part in body.items() if part is not None}
        return {"kind": named[1], **body} if named else body
    if isinstance(value, Mapping):
        return {str(key): describe(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(part) for part in value]
    return value


@dataclass
class _Reader:
    faults: list[Fault]
    seed: Any

    def build(self, kind: type[Any], table: Any, key: str, known: Mapping[str, type[Any]] | None = None) -> Any:
        if not isinstance(table, Mapping):
            self.faults.append(Fault(key, "is a table", table, f"write [{key}]"))
            return None
        before = len(self.faults)
        legal = {item.name: item for item in fields(kind) if item.init}
        for name in table:
            if name not in legal and not (name == "kind" and key):
                self.faults.append(Fault(_join(key, name), "is not a known key", fix=_suggest(name, list(legal))))
        hints = get_type_hints(kind)
        values: dict[str, Any] = {}
        for name, item in legal.items():
            if name in table:
                hint, told = (known or {}).get(name, hints[name]), len(self.faults)
                value = self.value(hint, table[name], _join(key, name), name if kind is StudyConfig else "")
                if len(self.faults) == told:
                    values[name] = value
            elif name == "seed" and key and not key.startswith("data") and isinstance(self.seed, int):
                values[name] = self.seed
            elif item.default is MISSING and item.default_factory is MISSING:
                self.faults.append(Fault(_join(key, name), "is required", fix=_expected(hints[name])))
        made = self.made(kind, values, key) if kind is not StudyConfig else None
        if len(self.faults) > before:
            return None
        return kind(**values) if kind is StudyConfig else made

    def made(self, kind: type[Any], values: Mapping[str, Any], key: str) -> Any:
        """The instance, or None and every fault: a value that is refused makes room for its default and for the next.

        Values that did not pass their own check are not among `values`, so that their defaults let the rest be judged.
        """
        left = dict(values)
        needed = {item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING}
        while needed <= set(left):
            try:
                return kind(**left)
            except ConfigError as many:
                self.faults.extend(many.faults)
                return None
            except AlphaloomError as fault:
                name = str(fault.where).rpartition(".")[2]
                known = name in {item.name for item in fields(kind)}
                place = _join(key, name) if known else key or "file"
                self.faults.append(
                    Fault(
                        place,
                        str(fault.rule),
                        fault.found,
                        fault.fix or ("" if known or fault.where == key else fault.where),
                    )
                )
                if left.pop(name, None) is None:
                    break
        return None

    def value(self, hint: Any, raw: Any, key: str, role: str = "") -> Any:
        if role in ("data", "system", "learner", "allocator", "agent", "policy"):
            return self.by_kind(role, raw, key)
        if role == "benchmarks":
            return {name: self.by_kind("policy", part, f"{key}.{name}") for name, part in _table(raw).items()}
        options = [part for part in _options(hint) if part is not type(None)]
        for option in options:
            named = _ROLES.get(getattr(option, "__name__", ""))
            if named:
                return self.by_kind(named, raw, key)
            inner = [_ROLES.get(getattr(part, "__name__", "")) for part in get_args(option)]
            if inner and inner[0] and isinstance(raw, list):
                return tuple(self.by_kind(inner[0], part, f"{key}.{k}") for k, part in enumerate(raw))
            if is_dataclass(option) and isinstance(raw, Mapping):
                return self.build(option, raw, key)  # type: ignore[arg-type]
        if isinstance(raw, str) and raw.endswith(".toml") and any(_is_factor_set(option) for option in options):
            return self.library(raw, key)
        return self.plain([part for part in options if not is_dataclass(part)], raw, key)

    def library(self, path: str, key: str) -> Any:
        """A user's own formula file, read now, so that a run is known by its formulas and not by their file's name."""
        from alphaloom.factors import load_library

        try:
            return replace(load_library(path), name=path)
        except ConfigError as many:
            self.faults.extend(
                Fault(f"{key}: {fault.key}", fault.rule, fault.found, fault.fix) for fault in many.faults
            )
        except AlphaloomError as fault:
            self.faults.append(Fault(key, fault.rule, fault.found, fault.fix))
        return None

    def by_kind(self, role: str, raw: Any, key: str) -> Any:
        kinds = list(CATALOG[role])
        if not isinstance(raw, Mapping) or not isinstance(raw.get("kind"), str):
            self.faults.append(Fault(f"{key}.kind", "is required", fix=f"one of: {', '.join(kinds)}"))
            return None
        if raw["kind"] not in kinds:
            self.faults.append(
                Fault(f"{key}.kind", f"is not a known kind of {role}", raw["kind"], _suggest(raw["kind"], kinds))
            )
            return None
        return self.build(find_class(role, raw["kind"]), raw, key)

    def plain(self, options: list[Any], raw: Any, key: str) -> Any:
        from pydantic import TypeAdapter, ValidationError

        hint: Any = Union[tuple(options)] if options else Any  # noqa: UP007 - built from a list
        try:
            text = json.dumps(raw)
        except TypeError:
            text = json.dumps(str(raw))  # TOML dates are read as their ISO text
        try:
            return TypeAdapter(hint).validate_json(text, strict=True)
        except ValidationError as wrong:
            rule = "; ".join(
                dict.fromkeys(str(fault["msg"]).replace("Input should be", "is") for fault in wrong.errors())
            )
            self.faults.append(Fault(key, rule, raw))
            return None


def _missing_parts(config: StudyConfig) -> list[Fault]:
    given = [name for name in ("system", "learner", "agent", "policy") if getattr(config, name) is not None]
    if len(given) != 1:
        return [
            Fault(
                "system | learner | agent | policy",
                "exactly one of the four says what is studied",
                " and ".join(given) or "none",
                "write [system], or [learner] with [allocator], or [agent], or [policy]",
            )
        ]
    if config.learner is not None and config.allocator is None:
        return [Fault("allocator", "is required with [learner]", fix=f"kind = {' | '.join(CATALOG['allocator'])}")]
    return []


def _apply(tables: dict[str, Any], setting: str, faults: list[Fault]) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        faults.append(Fault("--set", "an override reads dotted.key=value", setting, "for example plan.train=750"))
        return
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    place: Any = tables
    *path, last = key.strip().split(".")
    for step in path:
        place = (
            place[int(step)]
            if isinstance(place, list) and step.isdigit() and int(step) < len(place)
            else (place.setdefault(step, {}) if isinstance(place, dict) else None)
        )
        if not isinstance(place, (dict, list)):
            faults.append(Fault(key, "an override needs tables on its way", step, "see `alphaloom config show FILE`"))
            return
    if isinstance(place, list):
        if not last.isdigit() or int(last) >= len(place):
            faults.append(Fault(key, "a list is indexed from 0", last, f"it has {len(place)} entries"))
            return
        place[int(last)] = value
    else:
        place[last] = value


def _is_factor_set(kind: Any) -> bool:
    return getattr(kind, "__name__", "") == "FactorSet"


def _options(hint: Any) -> list[Any]:
    return list(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else [hint]


def _expected(hint: Any) -> str:
    names = [getattr(part, "__name__", str(part)) for part in _options(hint)]
    return "" if names == ["Any"] else f"give a {' or '.join(names)}"


def _table(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _is_embedded(tables: Mapping[str, Any]) -> bool:
    return str(_table(tables.get("data")).get("kind", "embedded")) == "embedded"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def nearest(word: str, names: list[str]) -> str:
    """A question that names the nearest valid word, or nothing."""
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _suggest(word: str, names: list[str]) -> str:
    return nearest(word, names) or f"one of: {', '.join(names)}"
