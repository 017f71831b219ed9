"""The search tree of RiskMiner: which token to try next, and what its trials have brought.

Source: RiskMiner, arXiv:2402.07080 (PUCT, mean backup). Deviations, each an option: the reward on an edge counts for
that edge; values on one scale; noise at the root; several leaves at once, held apart by a virtual loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr
from alphaloom.factors.grammar import State
from alphaloom.mining.pool import Alpha

__all__ = ["Node", "Path", "Tree", "returns"]

Floats = NDArray[np.float64]
Path = list[tuple["Node", int]]


class Node:
    """One episode so far, and what is known of each token that may come next.

    Shape: actions, policy, prior, visits, value, reward, pending (E,), one entry for each legal token. `prior` is the
    policy, at the root with noise; `value` is the mean of what followed, `reward` what the token itself brought,
    `pending` how many trials are under way. `worth` is that of the last paid formula on the way here, `form` the
    formula that was paid here, `alpha` the judged formula.
    """

    __slots__ = (
        *("actions", "alpha", "children", "expr", "form", "hidden", "judged", "pending", "policy", "prior", "reward"),
        *("state", "value", "visits", "worth"),
    )

    def __init__(self, state: State, expr: Expr | None = None) -> None:
        self.state, self.expr = state, expr
        self.children: dict[int, Node] = {}
        self.form: Expr | None = None
        self.alpha: Alpha | None = None
        self.worth, self.judged = 0.0, False
        self.hidden: Any = None
        self.actions: NDArray[np.int64] = np.zeros(0, np.int64)
        self.policy = self.prior = self.value = self.reward = np.zeros(0)
        self.visits = self.pending = np.zeros(0, np.int64)

    @property
    def expanded(self) -> bool:
        """True once the policy has said what it thinks of the next tokens."""
        return len(self.actions) > 0

    def expand(self, actions: NDArray[np.int64], policy: Floats, hidden: Any) -> None:
        """Enter the legal tokens and how likely the policy takes each to be."""
        self.actions, self.policy, self.prior, self.hidden = actions, policy, policy, hidden
        self.visits, self.pending = np.zeros(len(actions), np.int64), np.zeros(len(actions), np.int64)
        self.value, self.reward = np.zeros(len(actions)), np.zeros(len(actions))


class Tree:
    """Trials from the empty formula on.

    `exploration` weighs the policy against what was seen. With `scaled`, values are brought to [0, 1] between the least
    and the greatest seen. A trial under way counts as one that brought the least, `virtual_loss` times. With
    `exclusive` a token's value leaves out the reward on the token itself, as the paper prints it.
    """

    def __init__(
        self, root: Node, *, exploration: float, scaled: bool, virtual_loss: int = 1, exclusive: bool = False
    ) -> None:
        self.root, self.exploration, self.scaled = root, exploration, scaled
        self.virtual_loss, self.exclusive = virtual_loss, exclusive
        self.least, self.most = np.inf, -np.inf

    def scores(self, node: Node) -> Floats:
        """What selection maximises.   Shape: (E,)."""
        tried = node.visits + self.virtual_loss * node.pending
        total = int(tried.sum())
        if total == 0:
            return node.prior
        value, loss = node.value, min(self.least, 0.0)
        if self.scaled:
            spread = self.most - self.least
            value = np.clip((value - self.least) / spread, 0.0, 1.0) if spread > 0.0 else np.zeros(len(value))
            loss = 0.0
        if node.pending.any():
            lost = self.virtual_loss * node.pending
            value = (node.visits * value + lost * loss) / np.maximum(tried, 1)
        return np.asarray(value + self.exploration * node.prior * (np.sqrt(total) / (1.0 + tried)))

    def select(self, end: int) -> tuple[Path, Node | None]:
        """Walk to a token that was not tried before, or to the end of a formula (no node); mark the way as under way.

        `end` is the number of the token that ends a formula.
        """
        node, path = self.root, list[tuple[Node, int]]()
        while node.expanded:
            slot = int(np.argmax(self.scores(node)))
            path.append((node, slot))
            node.pending[slot] += 1
            number = int(node.actions[slot])
            if number == end:
                return path, None
            child = node.children.get(slot)
            if child is None:
                state = node.state.push(number)
                child = node.children[slot] = Node(state, state.complete)
            node = child
        return path, node

    def backup(self, path: Path, tail: float) -> None:
        """Enter a finished trial: each token on the way takes in what followed; `tail` is what came after the way."""
        rewards = [float(node.reward[slot]) for node, slot in path]
        for (node, slot), gain in zip(path, returns(rewards, tail, exclusive=self.exclusive), strict=True):
            node.pending[slot] -= 1
            count = int(node.visits[slot])
            node.value[slot] = (count * node.value[slot] + gain) / (count + 1)
            node.visits[slot] = count + 1
            mean = float(node.value[slot])
            self.least, self.most = min(self.least, mean), max(self.most, mean)

    def nodes(self) -> Iterator[Node]:
        """Every node that was expanded."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            if node.expanded:
                yield node
            waiting += node.children.values()


def returns(rewards: Sequence[float], tail: float, *, exclusive: bool = False) -> list[float]:
    """What each step of an episode brought from there on, its own reward included unless `exclusive`."""
    found, after = [0.0] * len(rewards), tail
    for k in range(len(rewards) - 1, -1, -1):
        found[k] = after if exclusive else rewards[k] + after
        after += rewards[k]
    return found
