"""The loop of RiskMiner: trials in a tree, finished by the policy, from which the policy learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr
from alphaloom.factors.grammar import State
from alphaloom.mining.elites import Elites
from alphaloom.mining.pool import Alpha
from alphaloom.mining.riskminer_plan import Plan
from alphaloom.mining.riskminer_rewards import Judged, Rewards
from alphaloom.mining.riskminer_tree import Node, Path, Tree
from alphaloom.mining.session import Session

__all__ = ["Episode", "Hunt", "Reader", "Uniform", "probabilities"]

Floats = NDArray[np.float64]


class Reader(Protocol):
    """What reads tokens and says how likely the next ones are.   Shape: hidden (K, B, W), logits (B, A)."""

    def start(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def step(
        self, hidden: NDArray[np.float32], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...


class Uniform:
    """The reader that takes all legal tokens for equally likely, but for the end."""

    def __init__(self, tokens: int, end_bias: float) -> None:
        self._logits = np.zeros(tokens, np.float32)
        self._logits[-1] = end_bias

    def start(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """No state, and the same for all."""
        return np.zeros((1, count, 1), np.float32), np.tile(self._logits, (count, 1))

    def step(
        self, hidden: NDArray[np.float32], tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Nothing is read."""
        return hidden, np.tile(self._logits, (len(tokens), 1))


@dataclass
class Episode:
    """One trial: its tokens, what was legal, what each brought, and what its end brought.

    `path` is its part in the tree; `behaviour` how likely each token was taken.
    """

    path: Path
    tokens: list[int] = field(default_factory=list)
    masks: list[NDArray[np.bool_]] = field(default_factory=list)
    behaviour: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    end: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all that the episode brought."""
        return sum(self.rewards) + self.end


@dataclass
class _Lane:
    """A trial under way: where it left the tree, and what the policy wrote from there."""

    episode: Episode
    leaf: Node | None
    state: State
    exprs: list[Expr | None] = field(default_factory=list)


def probabilities(logits: NDArray[Any], masks: NDArray[np.bool_]) -> Floats:
    """The policy over legal tokens.   Shape: (B, A), (B, A) -> (B, A)."""
    held = np.where(masks, logits.astype(np.float64), -np.inf)
    raised = np.exp(held - held.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


class Hunt:
    """Iterations of so many trials on one session; the tree and the episodes are gone after each."""

    def __init__(self, plan: Plan, session: Session, reader: Reader) -> None:
        self.plan, self.session, self.reader = plan, session, reader
        self.rewards = Rewards(plan, session)
        self.end = len(session.grammar.tokens) - 1
        self.tree: Tree | None = None
        self.elites = Elites(session, plan.elites)
        self._limit = session.grammar.max_tokens

    def iteration(self) -> list[Episode]:
        """One iteration's episodes; fewer where the budget ends."""
        self.rewards.begin()
        if self.plan.vary_length:
            grammar = self.session.grammar
            self._limit = int(self.session.rng.integers(grammar.shortest, grammar.max_tokens + 1))
        episodes: list[Episode] = []
        self.tree = None if self.plan.search == "policy" else self._planted()
        while len(episodes) < self.plan.simulations and not self.session.spent:
            count = min(self.plan.leaves, self.plan.simulations - len(episodes))
            episodes += self._batch(count)
        if self.tree is not None:
            _recall_behaviour(episodes)
        return episodes

    def memory(self) -> dict[str, Any]:
        """What of one iteration the next one needs."""
        return self.elites.memory()

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Become the hunt that was remembered."""
        self.elites.recall(memory)

    def divergence(self) -> float:
        """How far the tree's choices are from the policy's: Kullback-Leibler, mean over trials."""
        if self.tree is None:
            return 0.0
        total = 0.0
        for node in self.tree.nodes():
            if count := int(node.visits.sum()):
                taken = node.visits > 0
                part = node.visits[taken] / count
                total += float(node.visits[taken] @ np.log(part / np.maximum(node.policy[taken], 1e-12)))
        return total / max(int(self.tree.root.visits.sum()), 1)

    def _planted(self) -> Tree:
        plan, root = self.plan, Node(self.session.grammar.start(self._limit))
        tree = Tree(
            root,
            exploration=plan.exploration,
            scaled=plan.scaled,
            virtual_loss=plan.virtual_loss,
            exclusive=plan.paper_exact_backup,
        )
        hidden, logits = self.reader.start(1)
        _expand(root, logits[0], hidden[:, 0])
        root.judged = True
        if plan.noise > 0.0:
            drawn = self.session.rng.dirichlet(np.full(len(root.actions), plan.concentration))
            root.prior = (1.0 - plan.noise) * root.policy + plan.noise * drawn
        return tree

    def _batch(self, count: int) -> list[Episode]:
        lanes = self._refined(count)
        count -= len(lanes)
        if count:
            lanes += self._chosen(count) if self.tree is not None else self._fresh(count)
        judged = self._judged(lanes)
        for lane in lanes:
            self._paid(lane, judged)
        return [lane.episode for lane in lanes]

    def _refined(self, count: int) -> list[_Lane]:
        """Trials that change a formula that was found, as many of a batch as the plan's share gives by chance."""
        if self.plan.refine == 0.0:
            return []
        steps = [self.elites.step() for _ in range(int((self.session.rng.random(count) < self.plan.refine).sum()))]
        return [self._spelt(step.tokens) for step in steps if step is not None]

    def _spelt(self, tokens: Sequence[int]) -> _Lane:
        """A trial whose tokens are given. It is paid where it ends: what it passes on its way is not judged again."""
        lane = _Lane(Episode([]), None, self.session.grammar.start())
        for number in (*tokens, self.end):
            self._taken(lane, number, 1.0)
        lane.exprs = [*[None] * (len(lane.exprs) - 1), lane.exprs[-1]]
        return lane

    def _fresh(self, count: int) -> list[_Lane]:
        """Trials of the policy alone."""
        hidden, logits = self.reader.start(count)
        lanes = [_Lane(Episode([]), None, self.session.grammar.start(self._limit)) for _ in range(count)]
        masks = np.stack([lane.state.legal() for lane in lanes])
        self._written(lanes, hidden, probabilities(logits, masks))
        return lanes

    def _chosen(self, count: int) -> list[_Lane]:
        """Trials that the tree begins and the policy finishes."""
        assert self.tree is not None
        lanes: list[_Lane] = []
        for _ in range(count):
            path, leaf = self.tree.select(self.end)
            state = path[-1][0].state if leaf is None else leaf.state
            lanes.append(_Lane(_begun(path), leaf, state))
        new = {id(lane.leaf): (lane.leaf, *lane.episode.path[-1]) for lane in lanes if lane.leaf is not None}
        if new:
            before = np.stack([parent.hidden for _, parent, _ in new.values()], axis=1)
            tokens = np.array([parent.actions[slot] for _, parent, slot in new.values()])
            hidden, logits = self.reader.step(before, tokens)
            for k, (leaf, _, _) in enumerate(new.values()):
                _expand(leaf, logits[k], hidden[:, k])
            running = [lane for lane in lanes if lane.leaf is not None]
            self._written(running, *_where_they_stand(running, self.end + 1))
        return lanes

    def _written(self, lanes: Sequence[_Lane], hidden: NDArray[np.float32], said: Floats) -> None:
        """Let the policy write all trials to their end.   Shape: hidden (K, B, W), said (B, A)."""
        running = list(range(len(lanes)))
        while running:
            drawn = self.session.rng.random(len(running))
            taken: list[int] = []
            for row, (k, chance) in enumerate(zip(running, drawn, strict=True)):
                taken.append(_drawn(said[row], float(chance)))
                self._taken(lanes[k], taken[-1], float(said[row, taken[-1]]))
            stay = [row for row, number in enumerate(taken) if number != self.end]
            running = [running[row] for row in stay]
            if running:
                tokens = np.array([taken[row] for row in stay])
                hidden, logits = self.reader.step(np.ascontiguousarray(hidden[:, stay]), tokens)
                said = probabilities(logits, np.stack([lanes[k].state.legal() for k in running]))

    def _taken(self, lane: _Lane, number: int, likely: float) -> None:
        """Add a token to a trial."""
        lane.episode.tokens.append(number)
        lane.episode.masks.append(lane.state.legal())
        lane.episode.behaviour.append(likely)
        if number != self.end:
            lane.state = lane.state.push(number)
            lane.exprs.append(lane.state.complete)

    def _judged(self, lanes: Sequence[_Lane]) -> dict[Expr, Judged]:
        """Every formula that was completed, judged at once."""
        exprs: dict[Expr, None] = {}
        for lane in lanes:
            if lane.leaf is not None and not lane.leaf.judged and lane.leaf.expr is not None:
                exprs[lane.leaf.expr] = None
            exprs.update(dict.fromkeys(expr for expr in lane.exprs if expr is not None))
        return dict(zip(exprs, self.rewards.judge(list(exprs)), strict=True)) if exprs else {}

    def _paid(self, lane: _Lane, judged: dict[Expr, Judged]) -> None:
        """Pay a trial's formulas in their order, offer the last one, and tell the tree."""
        episode, leaf = lane.episode, lane.leaf
        seen = {node.form for node, _ in episode.path if node.form is not None}
        worth, final = 0.0, episode.path[-1][0].alpha if episode.path else None
        if episode.path:
            worth = episode.path[-1][0].worth
        if leaf is not None:
            self._visited(leaf, *episode.path[-1], seen, judged)
            here = judged.get(leaf.expr) if leaf.expr is not None else None
            worth, final = leaf.worth, leaf.alpha if here is None else here.alpha
            seen |= {leaf.form} if leaf.form is not None else set()
        episode.rewards = [float(node.reward[slot]) for node, slot in episode.path]
        written = len(episode.tokens) - 1 - len(lane.exprs)
        for k, expr in enumerate(lane.exprs):
            gain = 0.0
            if expr is not None:
                gain, worth, form = self.rewards.step(seen, worth, judged[expr])
                seen |= {form} if form is not None else set()
                final = judged[expr].alpha
                self._noted(final, episode.tokens[: written + k + 1])
            episode.rewards.append(gain)
        episode.rewards += [0.0] * (len(episode.tokens) - len(episode.rewards))
        episode.end = self.rewards.end(final) if final is not None else 0.0
        if self.tree is not None:
            self.tree.backup(episode.path, sum(episode.rewards[len(episode.path) :]) + episode.end)

    def _noted(self, alpha: Alpha, tokens: Sequence[int]) -> None:
        if alpha.valid and self.plan.refine > 0.0:
            self.elites.note(alpha, tokens)

    def _visited(self, leaf: Node, parent: Node, slot: int, seen: set[Expr], judged: dict[Expr, Judged]) -> None:
        """Pay the token that led to a node for the first time."""
        if leaf.judged:
            return
        leaf.judged, leaf.worth = True, parent.worth
        if leaf.expr is not None:
            found = judged[leaf.expr]
            parent.reward[slot], leaf.worth, leaf.form = self.rewards.step(seen, parent.worth, found)
            self._noted(found.alpha, leaf.state.tokens)
            leaf.alpha = _bare(found.alpha)


def _bare(alpha: Alpha) -> Alpha:
    """The judged formula without its values, which would fill the memory."""
    return Alpha(alpha.expr, alpha.ic, alpha.icir, alpha.coverage, alpha.fault)


def _begun(path: Path) -> Episode:
    found = Episode(path)
    for node, slot in path:
        found.tokens.append(int(node.actions[slot]))
        found.masks.append(node.state.legal())
        found.behaviour.append(1.0)
    return found


def _expand(node: Node, logits: NDArray[np.float32], hidden: NDArray[np.float32]) -> None:
    mask = node.state.legal()
    actions = np.flatnonzero(mask)
    node.expand(actions, probabilities(logits[None], mask[None])[0, actions], hidden)


def _where_they_stand(lanes: Sequence[_Lane], tokens: int) -> tuple[NDArray[np.float32], Floats]:
    """The states and policies of the trials' leaves.   Shape: (K, B, W), (B, A)."""
    leaves = [lane.leaf for lane in lanes if lane.leaf is not None]
    said = np.zeros((len(leaves), tokens))
    for row, leaf in zip(said, leaves, strict=True):
        row[leaf.actions] = leaf.policy
    return np.stack([leaf.hidden for leaf in leaves], axis=1), said


def _drawn(said: Floats, chance: float) -> int:
    """The token on which a number in [0, 1) falls."""
    sums = np.cumsum(said)
    return int(np.searchsorted(sums, chance * sums[-1], side="right"))


def _recall_behaviour(episodes: Sequence[Episode]) -> None:
    """How often the tree took each token of the trials, now that it is grown."""
    for episode in episodes:
        for k, (node, slot) in enumerate(episode.path):
            episode.behaviour[k] = float(node.visits[slot] / node.visits.sum())
