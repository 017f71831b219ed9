"""The tree that Alpha2 plays in: which line to try next, and what the lines tried so far say of those above.

Source: Alpha2, arXiv:2406.16505 (reward, mean and maximum of the best returns); AlphaDev (the selection formula).
Deviations: progressive widening, leaves in batches with virtual visits, and in `safe` values scaled to those seen.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr
from alphaloom.mining.programs import Program

__all__ = ["Guess", "Node", "Rules", "Tree", "backed_up", "selection_scores"]

Floats = NDArray[np.float64]
# The part of an even prior that learning does not touch.
_PLAIN = 0.5
# The prior that an edge has in the mean, each weighted with its prior, in a tree of scaled values.
_PULL = 0.1


class Guess(NamedTuple):
    """What a network says of a state: a preference for each instruction, and the reward still to come."""

    logits: NDArray[np.float32]
    value: float


@dataclass(frozen=True)
class Rules:
    """How the tree searches; see Alpha2 for the meaning of each number."""

    simulations: int = 400
    batch: int = 8
    beta: float = 0.5
    best: int = 5
    opened: int | None = 64
    opened_more: int = 16
    noise: float = 0.1
    noise_share: float = 0.25
    base: float = 20_000.0
    first: float = 1.0
    scaled: bool = True
    even: bool = True


def selection_scores(q: Floats, prior: Floats, visits: NDArray[np.int64], parent: int, rules: Rules) -> Floats:
    """Q + P sqrt(N_parent) / (1 + N) (log((N_parent + base + 1) / base) + first).   Shape: (E,)."""
    growth = math.log((parent + rules.base + 1.0) / rules.base) + rules.first
    return np.asarray(q + prior * (math.sqrt(parent) * growth) / (1.0 + visits))


def backed_up(reward: float, best: Sequence[float], beta: float) -> float:
    """The value of an edge: its reward, and between the mean and the largest of the best returns from its end."""
    return reward + beta * (sum(best) / len(best)) + (1.0 - beta) * max(best)


@dataclass(eq=False)
class Node:
    """One state and its edges, the likeliest first; only the first `width` are open.

    `useless`: its formula says nothing, or what another one says already: in `safe` no way goes on from it.
    Shape: `numbers`, `prior`, `visits`, `pending`, `q`, `reward`, `dead` (E,) over the legal instructions.
    """

    program: Program
    form: Expr | None = None
    worth: float = 0.0
    expanded: bool = False
    total: int = 0
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    prior: Floats = field(default_factory=lambda: np.zeros(0))
    visits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pending: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    q: Floats = field(default_factory=lambda: np.zeros(0))
    reward: Floats = field(default_factory=lambda: np.zeros(0))
    dead: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    children: dict[int, Node] = field(default_factory=dict)
    best: dict[int, list[float]] = field(default_factory=dict)
    stuck: bool = False
    useless: bool = False

    def expand(self, logits: NDArray[np.float32], random: np.random.Generator, *, even: bool = False) -> None:
        """Give every legal instruction its prior; equal ones stand in random order.

        `even`: without preferences every operator is as likely as the next, however many operands it can have; a part
        of every prior stays so, and the order is drawn by the priors, so that other edges open in every tree.
        """
        numbers = np.flatnonzero(self.program.legal())
        shown = logits[numbers].astype(np.float64)
        prior = np.exp(shown - shown.max(initial=0.0))
        prior /= prior.sum()
        drawn = random.random(len(numbers))
        order = np.lexsort((drawn, -prior))
        if even:
            kinds = self.program.programs.codes[numbers, 0]
            plain = 1.0 / np.bincount(kinds)[kinds]
            plain, prior = plain / plain.sum(), prior * plain
            prior = (1.0 - _PLAIN) * prior / prior.sum() + _PLAIN * plain
            order = np.argsort(np.log(drawn) / prior, kind="stable")[::-1]  # without replacement, by prior
        E = len(numbers)
        self.numbers, self.prior = numbers[order], prior[order]
        self.visits, self.pending = np.zeros(E, np.int64), np.zeros(E, np.int64)
        self.q, self.reward, self.dead = np.zeros(E), np.zeros(E), np.zeros(E, np.bool_)
        self.expanded = True

    def stir(self, noise: Floats, share: float) -> None:
        """Mix noise into the priors; edges that were tried stay in front, the others stand by their new prior."""
        mixed = (1.0 - share) * self.prior + share * noise
        fresh = (self.visits == 0) & (self.pending == 0)
        order = np.lexsort((-mixed, fresh))
        place = {int(old): new for new, old in enumerate(order)}
        self.prior = mixed[order]
        for name in ("numbers", "visits", "pending", "q", "reward", "dead"):
            setattr(self, name, getattr(self, name)[order])
        self.children = {place[k]: child for k, child in self.children.items()}
        self.best = {place[k]: best for k, best in self.best.items()}

    def width(self, rules: Rules) -> int:
        """How many edges are open: more with every doubling of the visits."""
        if rules.opened is None:
            return len(self.numbers)
        doublings = int(math.log2(self.total)) if self.total else 0
        return min(len(self.numbers), rules.opened + rules.opened_more * doublings)


Path = list[tuple[Node, int]]
Expand = Callable[[list[tuple[Path, Node]]], list[Guess]]


class Tree:
    """One game's tree; `look` gives a leaf its worth and the network's guess."""

    def __init__(self, root: Node, rules: Rules, random: np.random.Generator) -> None:
        self.root, self.rules, self.random = root, rules, random
        self._low = self._high = 0.0

    def round(self, most: int, look: Callable[[list[Node]], list[Guess]]) -> int:
        """Visit up to a batch of leaves, guess at all of them at once, and back their values up; how many."""
        paths: list[tuple[Path, Node]] = []
        waiting: dict[int, Node] = {}
        for _ in range(min(self.rules.batch, most)):
            path, leaf = self._descend()
            paths.append((path, leaf))
            for node, k in path:
                node.pending[k] += 1
            if not leaf.program.finished:
                if id(leaf) in waiting:  # the same leaf again: nothing else is worth a visit now
                    break
                waiting[id(leaf)] = leaf
        guesses = dict(zip(waiting, look(list(waiting.values())), strict=True)) if waiting else {}
        for path, leaf in paths:
            parent, k = path[-1]
            value = 0.0
            if leaf.program.finished:
                leaf.form, leaf.worth = parent.form, parent.worth
            else:
                guess = guesses[id(leaf)]
                value = guess.value
                if not leaf.expanded:
                    leaf.expand(guess.logits, self.random, even=self.rules.even)
            if leaf.useless and self.rules.scaled and not parent.stuck:
                parent.dead[k] = True
            parent.reward[k] = leaf.worth - parent.worth
            self._back_up(path, value)
        return len(paths)

    def begin(self, guess: Guess | None) -> None:
        """Make the root ready for a move: its priors, with noise.   `guess` is needed where it was never seen."""
        if not self.root.expanded and guess is not None:
            self.root.expand(guess.logits, self.random, even=self.rules.even)
        n, rules = len(self.root.numbers), self.rules
        if n > 1 and rules.noise_share > 0.0:
            self.root.stir(self.random.dirichlet(np.full(n, rules.noise)), rules.noise_share)

    def move(self, temperature: float) -> int:
        """Choose an edge of the root by its visits to the power of 1 / temperature, and make its end the root."""
        visits = self.root.visits.astype(np.float64)
        share = (visits / visits.max()) ** (1.0 / temperature)
        k = int(self.random.choice(len(share), p=share / share.sum()))
        number = int(self.root.numbers[k])
        self.root = self.root.children[k]
        return number

    def step(self, k: int) -> int:
        """Take the root's only edge without a search."""
        number = int(self.root.numbers[k])
        child = self.root.children.get(k)
        if child is None:
            program = self.root.program.push(number)
            child = Node(program, self.root.form, self.root.worth)
        self.root = child
        return number

    def _descend(self) -> tuple[Path, Node]:
        node, path = self.root, []
        while True:
            k = self._choose(node)
            child = node.children.get(k)
            if child is None:
                program = node.program.push(int(node.numbers[k]))
                if program.repeated and not node.stuck:
                    node.dead[k] = True
                    continue
                child = node.children[k] = Node(program)
            path.append((node, k))
            if not child.expanded:
                return path, child
            node = child

    def _choose(self, node: Node) -> int:
        live = ~node.dead
        if not live.any():
            # Everything repeats what is there; going on so is still better than a game without an end.
            node.stuck, node.dead[:] = True, False
            live = ~node.dead
        width = node.width(self.rules)
        while not live[:width].any():
            width += 1
        n, pending = node.visits[:width], node.pending[:width]
        prior, q = node.prior[:width], node.q[:width]
        low = self._low
        if self.rules.scaled:
            spread = max(self._high - self._low, 1e-12)
            q, low = (q - self._low) / spread, 0.0
            # The same pull to explore whether a hundred edges are alike or the network prefers three: with priors as
            # they are, a hundred would have none and three would leave no say to what was found.
            open_now = prior[live[:width]]
            prior = prior * (_PULL / (open_now * open_now).sum() * open_now.sum())
        seen = n + pending
        # A visit whose result is not known yet counts as the worst that was seen.
        q = np.where(pending > 0, (q * n + low * pending) / np.maximum(seen, 1), q)
        parent = node.total + int(pending.sum())
        scores = selection_scores(q, prior, seen, max(parent, 1), self.rules)
        return int(np.argmax(np.where(live[:width], scores, -np.inf)))

    def _back_up(self, path: Path, value: float) -> None:
        for node, k in reversed(path):
            best = node.best.setdefault(k, [])
            heapq.heappush(best, value)
            if len(best) > self.rules.best:
                heapq.heappop(best)
            node.q[k] = backed_up(float(node.reward[k]), best, self.rules.beta)
            node.visits[k] += 1
            node.pending[k] -= 1
            node.total += 1
            self._low, self._high = min(self._low, float(node.q[k])), max(self._high, float(node.q[k]))
            value += float(node.reward[k])
