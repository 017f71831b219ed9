"""The models of a run: one for each fold of its plan, fitted once and kept beside the run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.errors import AlphaloomError, DataError
from alphaloom.factors import load_library
from alphaloom.forecast import load_model, save_model
from alphaloom.panel import Panel
from alphaloom.production.day_files import read_files, write_files
from alphaloom.roles import Forecaster, Learner, Policy
from alphaloom.study import Fold, Study
from alphaloom.study.serving import fingerprint, fold_of, json_text, notes_of

__all__ = ["Model", "Models", "Past"]

Past = Callable[[np.datetime64], Panel]
"""The panel as it was known at the close of a bar, that bar last."""

_FACTS, _STATE = "facts.json", "model.json"


@dataclass(frozen=True, eq=False)
class Model:
    """What speaks or decides in a fold; `hash` is of its stored form, or of its description when it has none."""

    made: Forecaster | Policy
    hash: str
    stored: bool
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class Models:
    """The models of a run, fold by fold; what was loaded or fitted once is at hand.

    A model is learned on the panel as it was known on the first bar of its test block, on whatever day of the block it
    is asked for, so that it does not matter which day is run first. One that has no stored form, such as one
    of your own, is learned again in each process.
    """

    study: Study
    folder: Path
    run_key: str
    _ready: dict[int, Model] = field(default_factory=dict)

    def at(self, panel: Panel, row: int, past: Past) -> Model:
        """The model in charge of a row: that of the fold in whose test block the row lies.

        Raises: DataError for a stored model that is damaged, of another study or trained on other factors.
        """
        number, fold = fold_of(self.study.plan, row)
        if number not in self._ready:
            learner = self.study.learner
            if isinstance(learner, Learner):
                place = self.folder / f"fold_{number:03d}"
                self._ready[number] = self._loaded(place, fold) or self._fitted(
                    place, fold, past(panel.times[fold.test_start])
                )
            else:
                self._ready[number] = Model(learner, fingerprint(learner), False, notes_of(learner))
        return self._ready[number]

    def _key(self, fold: Fold) -> str:
        rows = [fold.train_start, fold.train_stop]
        return hashlib.sha256(json.dumps([self.run_key, rows]).encode()).hexdigest()

    def _loaded(self, place: Path, fold: Fold) -> Model | None:
        files = read_files(place)
        if files is None:
            return None
        facts = _facts(place, files)
        content = _content_hash(files)
        if facts.get("model") != content or facts.get("key") != self._key(fold):
            other = "another run or another fold" if facts.get("model") == content else "other bytes than were stored"
            raise _unfit(place, f"{other}")
        made = load_model(place / _STATE)
        self._check_factors(place, made, tuple(facts["factors"]))
        return Model(made, content, True, notes_of(made))

    def _fitted(self, place: Path, fold: Fold, panel: Panel) -> Model:
        train = panel[fold.train_start : fold.train_stop]
        assert isinstance(self.study.learner, Learner)
        made = self.study.learner.fit(train, self.study.market)
        self._check_factors(place, made, ())
        stored = self._kept(place, made, fold=fold, train=train)
        return stored or Model(made, fingerprint(made), False, notes_of(made))

    def _kept(self, place: Path, made: Forecaster | Policy, *, fold: Fold, train: Panel) -> Model | None:
        """Store a model and read it back; None for one that has no stored form."""
        part = place.with_name(f".{place.name}.{os.getpid()}")
        part.mkdir(parents=True, exist_ok=True)
        try:
            save_model(made, part / _STATE)
            files = read_files(part) or {}
        except DataError:
            return None  # a kind that this package cannot store
        finally:
            shutil.rmtree(part, ignore_errors=True)
        facts = {
            "key": self._key(fold),
            "model": _content_hash(files),
            "train": [str(train.times[0])[:19], str(train.times[-1])[:19]],
            "train_bars": len(train),
            "train_data": train.digest(),
            "factors": list(_factor_names(made)),
        }
        try:
            write_files(place, {**files, _FACTS: json_text(facts).encode()})
        except DataError:
            if not place.is_dir():  # another process may have stored the same model at the same moment
                raise
        return self._loaded(place, fold)

    def _check_factors(self, place: Path, made: Forecaster | Policy, stored: tuple[str, ...]) -> None:
        """A model reads the factors that the configuration names, and no others."""
        wanted, found = _factor_names(self.study.learner), _factor_names(made)
        strange = [name for name in found if name not in set(wanted)] if wanted else []
        if stored and tuple(stored) != found:
            strange = sorted(set(stored) ^ set(found)) or ["the same in another order"]
        if strange:
            shown = ", ".join(strange[:5]) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
            raise _unfit(place, f"trained on other factors than the configuration names: {shown}")


def _facts(place: Path, files: dict[str, bytes]) -> dict[str, Any]:
    try:
        facts = json.loads(files[_FACTS])
        assert isinstance(facts, dict)
        assert isinstance(facts["factors"], list)
    except (KeyError, ValueError, AssertionError):
        raise _unfit(place, f"no readable {_FACTS}") from None
    return facts


def _unfit(place: Path, found: str) -> DataError:
    return DataError(
        "a stored model is the one that this run learned",
        found=found,
        where=str(place),
        fix="remove the folder: the model is learned again from the data",
    )


def _content_hash(files: dict[str, bytes]) -> str:
    state = hashlib.sha256()
    for name in sorted(name for name in files if name != _FACTS):
        state.update(f"{name}:{len(files[name])}:".encode())
        state.update(files[name])
    return state.hexdigest()


def _factor_names(thing: object) -> tuple[str, ...]:
    """The factors that a learner is configured with or a forecaster reads, as name and formula; () if it has none."""
    parts = getattr(thing, "learners", None) or getattr(thing, "forecasters", None)
    if parts:
        return tuple(dict.fromkeys(name for part in parts for name in _factor_names(part)))
    inputs = getattr(thing, "inputs", None)
    factors = getattr(thing if inputs is None else inputs, "factors", None)
    if isinstance(factors, str):
        try:
            factors = load_library(factors)
        except AlphaloomError:
            return ()
    rows = getattr(factors, "factors", ())
    return tuple(f"{row.name} = {row.expr}" for row in rows)
