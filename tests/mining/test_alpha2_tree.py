"""Alpha2's tree against numbers that one can work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alphaloom.factors.grammar import Grammar
from alphaloom.mining.alpha2_tree import Guess, Node, Rules, Tree, backed_up, selection_scores
from alphaloom.mining.programs import Programs

PROGRAMS = Programs(Grammar.alpha2())
PLAIN = Rules(batch=1, opened=None, scaled=False, noise_share=0.0)


def tree_of(rules: Rules = PLAIN) -> Tree:
    tree = Tree(Node(PROGRAMS.start()), rules, np.random.default_rng(0))
    tree.begin(Guess(np.zeros(len(PROGRAMS), np.float32), 0.0))
    return tree


def three_edges(q, prior, visits) -> Node:
    """A node with three edges of the real table."""
    node = Node(PROGRAMS.start())
    node.expand(np.zeros(len(PROGRAMS), np.float32), np.random.default_rng(0))
    for name, values in (("q", q), ("prior", prior), ("visits", visits)):
        setattr(node, name, np.array(values))
    node.numbers = node.numbers[:3]
    node.pending, node.reward, node.dead = np.zeros(3, np.int64), np.zeros(3), np.zeros(3, np.bool_)
    node.total = int(sum(visits))
    return node


def test_the_selection_formula_by_hand():
    scores = selection_scores(np.array([0.1, 0.0]), np.array([0.75, 0.25]), np.array([3, 0]), 4, PLAIN)
    growth = math.log(20_005 / 20_000) + 1.0
    assert scores == pytest.approx([0.1 + 0.75 * 2 * growth / 4, 0.25 * 2 * growth / 1])


def test_a_value_stands_between_the_mean_and_the_largest_of_the_best_returns():
    best = [0.01, 0.05, 0.03]
    assert backed_up(0.02, best, 1.0) == pytest.approx(0.02 + 0.03)  # the mean alone
    assert backed_up(0.02, best, 0.0) == pytest.approx(0.02 + 0.05)  # the largest alone
    assert backed_up(0.02, best, 0.5) == pytest.approx(0.02 + 0.04)


def test_three_edges_are_tried_in_the_order_of_the_formula():
    # parent 4 visits: 0.02 + .5*2/4 = 0.27; 0.30 + .3*2/2 = 0.60; 0 + .2*2/1 = 0.40
    node = three_edges([0.02, 0.30, 0.0], [0.5, 0.3, 0.2], [3, 1, 0])
    assert tree_of()._choose(node) == 1
    node.dead[1] = True
    assert tree_of()._choose(node) == 2
    # Of a normalised tree only what was seen counts: the same order here.
    node.dead[1] = False
    scaled = tree_of(Rules(batch=1, opened=None, noise_share=0.0))
    scaled._high = 0.3
    assert scaled._choose(node) == 1


def test_returns_go_up_the_path_and_only_the_best_five_stay():
    tree = tree_of()
    root = tree.root
    tree.round(1, lambda leaves: [Guess(np.zeros(len(PROGRAMS), np.float32), 0.04) for _ in leaves])
    k = next(iter(root.children))
    child = root.children[k]
    assert root.best[k] == [0.04]
    root.reward[k] = 0.01
    child.reward[0] = 0.02
    tree_values = [0.01, 0.03, -0.05, 0.02, 0.0, 0.06]
    for value in tree_values:
        root.pending[k] += 1
        child.pending[0] += 1
        tree._back_up([(root, k), (child, 0)], value)
    # The child's edge: reward 0.02, the five best of its returns 0, .01, .02, .03, .06.
    assert sorted(child.best[0]) == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.06])
    assert child.q[0] == pytest.approx(0.02 + 0.5 * 0.024 + 0.5 * 0.06)
    # The root's edge sees the child's returns with the reward on the way: .02 more, and the network's 0.04.
    assert sorted(root.best[k]) == pytest.approx([0.03, 0.04, 0.04, 0.05, 0.08])
    assert root.q[k] == pytest.approx(0.01 + 0.5 * 0.048 + 0.5 * 0.08)
    assert (root.total, child.total) == (7, 6)
    assert root.visits[k] == 7
    assert root.pending.sum() == child.pending.sum() == 0


def test_a_batch_goes_to_different_leaves_and_nothing_stays_pending():
    tree = tree_of(Rules(batch=8, noise_share=0.0))
    asked: list[int] = []

    def look(leaves):
        asked.append(len({id(leaf) for leaf in leaves}))
        for leaf in leaves:
            leaf.worth = 0.02
        return [Guess(np.zeros(len(PROGRAMS), np.float32), 0.0) for _ in leaves]

    assert tree.round(100, look) == 8
    assert asked == [8]
    for _ in range(20):
        tree.round(100, look)
    nodes = [tree.root]
    while nodes:
        node = nodes.pop()
        assert not node.pending.any()
        assert node.total == node.visits.sum()
        nodes += node.children.values()


def test_more_edges_open_as_visits_double():
    node = Node(PROGRAMS.start())
    node.expand(np.zeros(len(PROGRAMS), np.float32), np.random.default_rng(0))
    rules = Rules()
    widths = []
    for node.total in (0, 1, 2, 3, 4, 400):
        widths.append(node.width(rules))
    assert widths == [64, 64, 80, 80, 96, 64 + 16 * 8]
    assert node.width(PLAIN) == len(node.numbers)


def test_noise_changes_priors_and_leaves_what_was_tried_in_its_place():
    tree = tree_of()
    for _ in range(5):
        tree.round(1, lambda leaves: [Guess(np.zeros(len(PROGRAMS), np.float32), 0.0) for _ in leaves])
    root = tree.root
    tried = {int(root.numbers[k]): root.children[k] for k in root.children}
    root.stir(np.random.default_rng(1).dirichlet(np.full(len(root.numbers), 0.1)), 0.25)
    assert {int(root.numbers[k]): root.children[k] for k in root.children} == tried
    assert root.visits[:5].tolist() == [1] * 5
    assert root.prior.sum() == pytest.approx(1.0)
    assert (np.diff(root.prior[5:]) <= 0).all()


def test_a_move_keeps_what_is_below_it():
    tree = tree_of()
    for _ in range(30):
        tree.round(1, lambda leaves: [Guess(np.zeros(len(PROGRAMS), np.float32), 0.0) for _ in leaves])
    before = {int(tree.root.numbers[k]): child for k, child in tree.root.children.items()}
    number = tree.move(1.0)
    assert tree.root is before[number]


def test_what_repeats_itself_is_not_tried_unless_nothing_else_is_left():
    tree = tree_of()
    end = PROGRAMS.end
    root = Node(PROGRAMS.start())
    quotient = next(k for k, line in enumerate(PROGRAMS.instructions) if str(line) == "div open close")
    turn = next(k for k, line in enumerate(PROGRAMS.instructions) if str(line) == "neg Reg0")
    root.program = PROGRAMS.start().push(quotient).push(turn)
    root.expand(np.zeros(len(PROGRAMS), np.float32), np.random.default_rng(0))
    keep = np.flatnonzero(np.isin(root.numbers, [turn, end]))
    for name in ("numbers", "prior", "visits", "pending", "q", "reward", "dead"):
        setattr(root, name, getattr(root, name)[keep])
    tree.root = root
    path, leaf = tree._descend()
    assert leaf.program.finished
    root.dead[:] = True
    root.children.clear()
    tree._descend()
    assert root.stuck
    assert path[0][0] is root
