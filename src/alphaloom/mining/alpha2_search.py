"""Alpha2's search: play a game in a tree, keep what it found, teach the network, go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloom.errors import GrammarError
from alphaloom.factors import Expr
from alphaloom.mining.alpha2_archive import Archive
from alphaloom.mining.alpha2_network import Guide
from alphaloom.mining.alpha2_replay import Game, Replay, Search, replayed
from alphaloom.mining.alpha2_tree import Guess, Node, Tree
from alphaloom.mining.elites import Elites
from alphaloom.mining.identity import root_form
from alphaloom.mining.pool import Alpha
from alphaloom.mining.programs import Program, Programs
from alphaloom.mining.session import Session

if TYPE_CHECKING:
    from alphaloom.mining.alpha2 import Alpha2

__all__ = ["Player"]

# So many games without a new formula mean that the grammar is exhausted.
_IDLE = 20
# So many unlike formulas are the beginnings of steps.
_ELITES = 40
# After so many steps the pool is offered so many of the best formulas that steps begin from.
_OFFER_EVERY, _OFFERED = 200, 5
# The chance that a random program ends where it may.
_END = 0.5


class Player:
    """One search: the archive, the network and the games, from the session's checkpoint if it has one."""

    def __init__(self, miner: Alpha2, session: Session) -> None:
        self.miner, self.session = miner, session
        self.rules = miner.rules(session.budget.evaluations)
        self.programs = Programs(session.grammar, miner.length)
        self.guide = Guide(self.programs, miner.network, session.seed)
        self.replay = Replay(self.programs, miner.replay)
        state = session.restored()
        self.archive = Archive(
            session,
            size=miner.archive,
            least_ic=miner.least_ic,
            most_alike=miner.most_alike,
            signed=miner.signed,
            heard=self._heard if miner.refine else None,
        )
        self.elites = Elites(session, _ELITES, self._runs)
        self._judged: dict[Expr, None] = {}
        self._stepped: dict[Expr, tuple[int, ...]] = {}
        self._owed, self._unoffered = 0.0, 0
        # A game that judged hardly anything new is followed by one without the network.
        self._plain = False
        self.done = False
        if state is not None:
            self.archive.recall(state["archive"])
            self.replay.recall(state)
            self.elites.recall(state)
            self.guide.recall({name: state[name] for name in state if "." in name}, int(state["steps"]))
            self.done, self._plain = bool(state["done"]), bool(state["plain"])

    def run(self) -> None:
        """Search until the budget is gone."""
        idle, games, session = 0, 0, self.session
        while not session.spent and idle < _IDLE:
            before = session.evaluations
            self.done = False
            game = self._game()
            taken = self._keep(game)
            # A policy taught by games that found nothing repeats them, and those games find nothing again.
            if game is not None and (taken or self.miner.signed):
                self.replay.add(game)
                self._teach()
            fresh = session.evaluations - before
            self._plain = not self.miner.signed and fresh < self.rules.simulations // 4
            idle = 0 if fresh else idle + 1
            games += 1
            if games % self.miner.keep_every == 0 and not session.spent:
                session.checkpoint(self._memory())
        if not self.done:
            self.done = True
            for alpha in self.archive.top(session.pool.capacity):
                session.offer(alpha)
            session.note()
            session.checkpoint(self._memory())
        session.finds = tuple(self.archive.top(len(self.archive)))

    def _memory(self) -> dict[str, Any]:
        memory = {"archive": self.archive.memory(), "steps": self.guide.steps, "done": self.done, "plain": self._plain}
        return {**memory, **self.elites.memory(), **self.replay.memory(), **self.guide.memory()}

    def _keep(self, game: Game | None) -> int:
        """Take what the game found into the archive, and offer that to the pool; how many formulas."""
        result = [] if game is None or game.forms[-1] is None else [game.forms[-1]]
        taken = self.archive.admit(result, 1)
        if self.miner.harvest:
            taken += self.archive.admit(self._judged, self.miner.harvest)
        for alpha in [*taken, *self._learnt_steps()]:
            self.session.offer(alpha)
        return len(taken)

    def _learnt_steps(self) -> list[Alpha]:
        """Take the best steps of a game's time into the archive; each is a game that the network may learn from."""
        taken = self.archive.admit(self._stepped, self.miner.harvest or 0)
        for alpha in taken:
            numbers = self._stepped[alpha.expr]
            states = replayed(self.programs, self.programs.max_length, numbers)
            forms = tuple(root_form(state.registers[0].expr) if state.sound else None for state in states)
            lines = tuple(Search(at, np.array([number]), np.ones(1, np.int64)) for at, number in enumerate(numbers))
            self.replay.add(Game(states, forms, lines))
        return taken

    def _heard(self, expr: Expr, alpha: Alpha) -> None:
        """A formula was judged that may be a beginning."""
        self.elites.note(alpha, self.session.grammar.encode(expr))

    def _runs(self, expr: Expr) -> bool:
        """True for a formula that has a program."""
        try:
            return bool(self.programs.encode(expr))
        except GrammarError:
            return False

    def _refine(self, evaluations: int) -> None:
        """Judge as many steps from what was found as the share asks for beside so many evaluations of the tree."""
        share, batch = self.miner.refine or 0.0, self.rules.batch
        self._owed += evaluations * share / max(1.0 - share, 1e-9)
        while self._owed >= batch and not (self.archive.exhausted or self.session.spent):
            steps = [step for _ in range(batch) if (step := self.elites.step()) is not None]
            self._owed -= len(steps)
            exprs = list(dict.fromkeys(step.expr for step in steps))
            for expr, form in zip(exprs, self.archive.judge(exprs), strict=True):
                self._stepped[form] = self.programs.encode(expr)
            if not exprs:
                break
            self._unoffered += len(exprs)
            if self._unoffered >= _OFFER_EVERY and not self.archive.exhausted:
                # A game and the steps of its time may be long: the pool hears of the best before it ends.
                self._unoffered = 0
                for form in self.elites.best(_OFFERED):
                    self.session.offer(self.session.filled(self.session.known[form]))

    def _game(self) -> Game | None:
        """Play one game; None where the budget ended it."""
        self._judged, self._stepped, self._owed, self._unoffered = {}, {}, 0.0, 0
        longest = self.programs.max_length
        if not self.miner.signed:
            longest = int(self.session.rng.integers(self.programs.shortest, longest + 1))
        root = Node(self.programs.start(longest))
        tree = Tree(root, self.rules, self.session.rng)
        states, forms, searches = [root.program], [root.form], []
        while not tree.root.program.finished:
            tree.begin(None if tree.root.expanded else self._ask([tree.root])[0])
            node = tree.root
            if len(node.numbers) == 1:
                tree.step(0)
            else:
                while node.total < self.rules.simulations:
                    before = self.session.evaluations
                    tree.round(self.rules.simulations - node.total, self._look)
                    self._refine(self.session.evaluations - before)
                    if self.archive.exhausted or self.session.spent:
                        return None
                tried = node.visits > 0
                searches.append(Search(len(states) - 1, node.numbers[tried], node.visits[tried]))
                tree.move(self.miner.temperature(self.guide.steps))
            states.append(tree.root.program)
            forms.append(tree.root.form)
        self.session.counts["games"] += 1
        return Game(tuple(states), tuple(forms), tuple(searches))

    def _look(self, leaves: list[Node]) -> list[Guess]:
        """What a batch of states is worth, and what the network says of them."""
        sound = [leaf for leaf in leaves if leaf.program.sound]
        found = self.archive.judge([leaf.program.registers[0].expr for leaf in sound])
        for leaf, form in zip(sound, found, strict=True):
            leaf.form, leaf.worth = form, self.archive.worth(form)
            leaf.useless = self.archive.useless(form)
            self._judged[form] = None
        if self._guided:
            return self._ask(leaves)
        flat = np.zeros(len(self.programs), np.float32)
        return [Guess(flat, value) for value in self._finished(leaves)]

    @property
    def _guided(self) -> bool:
        """True where the network says what states are worth, and not one program that is finished at random."""
        return self.miner.signed or (self.guide.taught and not self._plain)

    def _finished(self, leaves: list[Node]) -> list[float]:
        """What one random way to the end of each program brings."""
        ends = [_played_out(leaf.program, self.session.rng) for leaf in leaves]
        exprs = [end.result for end in ends if end.result is not None]
        found = iter(self.archive.judge(exprs))
        values: list[float] = []
        for leaf, end in zip(leaves, ends, strict=True):
            form = None if end.result is None else next(found)
            if form is not None:
                self._judged[form] = None
            # Where a program may end it need not go on to what is worse.
            values.append(max(0.0, (0.0 if form is None else self.archive.worth(form)) - leaf.worth))
        return values

    def _ask(self, leaves: list[Node]) -> list[Guess]:
        if self._plain:
            flat = np.zeros(len(self.programs), np.float32)
            return [Guess(flat, 0.0) for _ in leaves]
        return self.guide.ask([leaf.program for leaf in leaves])

    def _teach(self) -> None:
        if len(self.replay.games) < self.miner.start_games:
            return
        for _ in range(self.miner.lessons):
            self.guide.learn(self.replay.lesson(self.guide, self.archive, self.session.rng))


def _played_out(program: Program, random: np.random.Generator) -> Program:
    """The program finished at random: it ends half of the times that it may, and operators are equally likely."""
    codes = program.programs.codes[:, 0]
    while not program.finished:
        legal = np.flatnonzero(program.legal())
        if not len(legal):
            break
        if legal[-1] == program.programs.end and (len(legal) == 1 or random.random() < _END):
            return program.push(int(legal[-1]))
        lines = legal[legal != program.programs.end]
        kinds = np.unique(codes[lines])
        alike = lines[codes[lines] == kinds[int(random.integers(len(kinds)))]]
        program = program.push(int(alike[int(random.integers(len(alike)))]))
    return program
