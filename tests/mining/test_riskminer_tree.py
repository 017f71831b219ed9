"""The tree of RiskMiner against trees that one can work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.factors.grammar import Grammar
from alphaloom.mining.riskminer_tree import Node, Tree, returns

GRAMMAR = Grammar(("div", "sub"), features=("close", "open"), constants=(), windows=(), max_tokens=8, units="off")
END = len(GRAMMAR.tokens) - 1
CLOSE, OPEN = (next(k for k, token in enumerate(GRAMMAR.tokens) if token.name == name) for name in ("close", "open"))


def grown(node, prior):
    node.expand(np.flatnonzero(node.state.legal()), np.asarray(prior, float), None)
    return node


def planted(prior=(0.6, 0.4), **more):
    root = grown(Node(GRAMMAR.start()), prior)
    return Tree(root, exploration=more.pop("exploration", 1.0), scaled=more.pop("scaled", False), **more)


def trial(tree, rewards, tail):
    """Select, pay the last token, expand the leaf and back up."""
    path, leaf = tree.select(END)
    node, slot = path[-1]
    node.reward[slot] = rewards
    if leaf is not None:
        count = int(leaf.state.legal().sum())
        grown(leaf, np.full(count, 1.0 / count))
    tree.backup(path, tail)
    return [int(node.actions[slot]) for node, slot in path]


def test_an_untried_node_follows_the_policy():
    tree = planted((0.3, 0.7))
    assert tree.scores(tree.root).tolist() == [0.3, 0.7]
    assert int(tree.root.actions[np.argmax(tree.scores(tree.root))]) == OPEN


def test_selection_and_mean_backup_of_three_nodes_by_hand():
    tree = planted((0.6, 0.4))
    assert trial(tree, 0.1, 0.4) == [CLOSE]
    # close: Q = 0.1 + 0.4; scores 0.5 + 0.6 * sqrt(1) / 2 and 0 + 0.4 * sqrt(1) / 1.
    assert tree.root.value.tolist() == pytest.approx([0.5, 0.0])
    assert tree.scores(tree.root).tolist() == pytest.approx([0.8, 0.4])
    # Below close there are close, open and the end, none tried: the policy's first.
    assert trial(tree, -0.2, -0.3)[0] == CLOSE
    child = tree.root.children[0]
    assert child.visits.sum() == 1
    assert child.value[0] == pytest.approx(-0.5)
    # close again: (0.5 + (0.1 - 0.2 - 0.3)) / 2 = 0.05, visits 2.
    assert tree.root.value[0] == pytest.approx(0.05)
    assert tree.scores(tree.root).tolist() == pytest.approx([0.05 + 0.6 * np.sqrt(2) / 3, 0.4 * np.sqrt(2)])
    assert trial(tree, 0.3, 0.3) == [OPEN]
    assert tree.root.visits.tolist() == [2, 1]
    assert tree.root.value.tolist() == pytest.approx([0.05, 0.6])


def test_the_printed_backup_leaves_out_the_reward_on_the_token():
    assert returns([0.1, 0.2, 0.3], 1.0) == pytest.approx([1.6, 1.5, 1.3])
    assert returns([0.1, 0.2, 0.3], 1.0, exclusive=True) == pytest.approx([1.5, 1.3, 1.0])
    tree = planted((0.6, 0.4), exclusive=True)
    trial(tree, 0.1, 0.4)
    assert tree.root.value.tolist() == pytest.approx([0.4, 0.0])
    trial(tree, -0.2, -0.3)
    assert tree.root.children[0].value[0] == pytest.approx(-0.3)
    assert tree.root.value[0] == pytest.approx((0.4 - 0.5) / 2)


def test_values_are_scaled_between_the_least_and_the_greatest_seen():
    tree = planted((0.5, 0.5), scaled=True, exploration=0.0)
    trial(tree, 0.0, 0.02)
    trial(tree, 0.0, 0.04)
    assert (tree.least, tree.most) == (0.02, 0.04)
    tree.root.value[:] = (0.03, 0.02)
    tree.root.visits[:] = (1, 1)
    assert tree.scores(tree.root).tolist() == pytest.approx([0.5, 0.0])


def test_leaves_under_way_are_held_apart_and_without_virtual_loss_they_collapse():
    def chosen(virtual_loss):
        tree = planted((0.5, 0.5), virtual_loss=virtual_loss)
        for _ in range(12):
            trial(tree, 0.0, 0.1)
        paths = [tree.select(END)[0] for _ in range(8)]
        counts = len({tuple(int(n.actions[s]) for n, s in path) for path in paths})
        for path in paths:
            tree.backup(path, 0.0)
        assert not any(node.pending.any() for node in tree.nodes())
        return counts

    assert chosen(0) == 1
    assert chosen(1) >= 4


def test_the_end_of_a_formula_is_a_leaf_without_a_node():
    tree = planted((1.0, 0.0))
    trial(tree, 0.0, 0.0)
    child = tree.root.children[0]
    grown(child, np.where(child.state.legal()[child.state.legal()], 0.0, 0.0))
    child.prior = (child.actions == END).astype(float)
    path, leaf = tree.select(END)
    assert leaf is None
    assert [int(node.actions[slot]) for node, slot in path] == [CLOSE, END]
