"""Games that were played, and what a network should learn from them today.

Worth changes as the archive grows, so a game keeps its formulas and not its rewards: they are worked out anew whenever
a position is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr, parse
from alphaloom.mining.alpha2_archive import Archive
from alphaloom.mining.programs import Program, Programs

if TYPE_CHECKING:
    from alphaloom.mining.alpha2_network import Guide, Lesson

__all__ = ["Game", "Replay", "Search"]

# What reaching the end is worth to the second value head.
_FINISH = 0.005


@dataclass(frozen=True)
class Search:
    """What a search of one position found: the instructions it visited and how often.   Shape: (E,), (E,)."""

    at: int
    numbers: NDArray[np.int64]
    visits: NDArray[np.int64]


@dataclass(frozen=True)
class Game:
    """One finished program: its states, the formula that each is worth something for, and the searches."""

    programs: tuple[Program, ...]
    forms: tuple[Expr | None, ...]
    searches: tuple[Search, ...]


def replayed(programs: Programs, limit: int, numbers: Sequence[int]) -> tuple[Program, ...]:
    """All states of a program, from the empty one to the end."""
    states = [programs.start(limit)]
    for number in numbers:
        states.append(states[-1].push(int(number)))
    return tuple(states)


class Replay:
    """The last `size` games."""

    def __init__(self, programs: Programs, size: int = 1000) -> None:
        self.programs, self.size = programs, size
        self.games: list[Game] = []

    def add(self, game: Game) -> None:
        """Remember a game, and forget the oldest beyond the size."""
        self.games = [*self.games, game][-self.size :]

    def lesson(self, guide: Guide, archive: Archive, random: np.random.Generator) -> Lesson:
        """A batch of positions with today's targets: the policy searched, rewards of some steps and the value then."""
        from alphaloom.mining.alpha2_network import Lesson, inputs_of

        drawn = self._drawn(guide.spec.batch, random)
        ahead = [min(search.at + guide.spec.td_steps, len(game.programs) - 1) for game, search in drawn]
        ends = [game.programs[later] for (game, _), later in zip(drawn, ahead, strict=True)]
        over = np.array([state.finished for state in ends])
        value, finish = guide.later(inputs_of(ends))
        value, finish = np.where(over, 0.0, value), np.where(over, _FINISH, finish)
        policy = np.zeros((len(drawn), len(self.programs)), np.float32)
        for row, ((game, search), later) in enumerate(zip(drawn, ahead, strict=True)):
            policy[row, search.numbers] = search.visits / search.visits.sum()
            value[row] += _worth(archive, game.forms[later]) - _worth(archive, game.forms[search.at])
        states = [game.programs[search.at] for game, search in drawn]
        legal = np.stack([state.legal() for state in states]) | (policy > 0)
        return Lesson(inputs_of(states), legal, policy, value.astype(np.float32), finish.astype(np.float32))

    def _drawn(self, count: int, random: np.random.Generator) -> list[tuple[Game, Search]]:
        places = [(game, search) for game in self.games for search in game.searches]
        return [places[k] for k in random.integers(0, len(places), count)]

    def memory(self) -> dict[str, Any]:
        """All games as numbers and texts."""
        numbers = [game.programs[-1].numbers for game in self.games]
        searches = [search for game in self.games for search in game.searches]
        forms = ["" if form is None else str(form) for game in self.games for form in game.forms]
        return {
            "game_forms": forms,
            "game_limits": [game.programs[0].limit for game in self.games],
            "game_lengths": [len(line) for line in numbers],
            "game_searches": [len(game.searches) for game in self.games],
            "game_numbers": np.array([number for line in numbers for number in line], np.int32),
            "search_at": np.array([search.at for search in searches], np.int32),
            "search_edges": np.array([len(search.numbers) for search in searches], np.int32),
            "search_numbers": _joined([search.numbers for search in searches]),
            "search_visits": _joined([search.visits for search in searches]),
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Become the replay that held these games."""
        counts = [int(count) for count in memory["search_edges"]]
        edges = np.cumsum([0, *counts])
        searches = [
            Search(
                int(at), memory["search_numbers"][a:b].astype(np.int64), memory["search_visits"][a:b].astype(np.int64)
            )
            for at, a, b in zip(memory["search_at"], edges[:-1], edges[1:], strict=True)
        ]
        forms = [parse(text) if text else None for text in memory["game_forms"]]
        line = place = search = 0
        self.games = []
        sizes = zip(memory["game_limits"], memory["game_lengths"], memory["game_searches"], strict=True)
        for limit, length, count in sizes:
            states = replayed(self.programs, int(limit), memory["game_numbers"][line : line + length])
            mine = tuple(forms[place : place + length + 1])
            self.games.append(Game(states, mine, tuple(searches[search : search + count])))
            line, place, search = line + length, place + length + 1, search + count


def _worth(archive: Archive, form: Expr | None) -> float:
    return 0.0 if form is None else archive.worth(form)


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int32]:
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int32)
