"""The plan of a factor set: what is computed in which order, and how much memory that takes.

Work alternates between two kinds of phases. A column phase runs over tiles of a few columns and all rows, so that
every window of the phase is worked on while its tile is in the processor's cache; a row phase compares the assets of
one day. How many row operations stand between a value and the data says which phase it belongs to; within that,
everything is done as late as possible, so that little has to be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alphaloom.factors.expr import Expr
from alphaloom.factors.library import FactorSet
from alphaloom.factors.lowering import Graph, Node
from alphaloom.factors.options import PLAIN, Options

__all__ = ["Full", "Phase", "Plan", "Step", "plan", "plan_exprs"]

WIDTH = 16
# Formulas planned together: more share more, fewer keep less at a time.
BATCH = 24


@dataclass(frozen=True)
class Full:
    """A whole (T, N) array: one of the results, or one of the buffers that are used again and again."""

    kind: str
    index: int


@dataclass(frozen=True)
class Step:
    """One operation: in a column phase on the tile's registers, in a row phase on whole arrays.

    `source` and `target` are the whole arrays that "gather" reads and "spread" fills.
    """

    op: str
    literals: tuple[float | str, ...]
    inputs: tuple[int, ...] = ()
    output: int = -1
    sources: tuple[Full, ...] = ()
    target: Full | None = None
    place: str = "tile"


@dataclass(frozen=True)
class Phase:
    """The steps of one column phase and of the row phase that follows it."""

    columns: tuple[Step, ...]
    rows: tuple[Step, ...]


@dataclass(frozen=True)
class Plan:
    """What is computed in which order.

    `registers` tiles for each thread, `buffers` whole arrays beside the results; `results[k]` is the array of factor
    k. `peak_bytes` is what the run will hold at most, the results included, the panel not.
    """

    phases: tuple[Phase, ...]
    registers: int
    buffers: int
    results: tuple[int, ...]
    distinct: int
    shape: tuple[int, int]
    width: int
    threads: int
    lookback: int
    options: Options
    whole_steps: int

    @property
    def operations(self) -> int:
        """How many distinct operations are done, moves not counted."""
        steps = (step for phase in self.phases for step in (*phase.columns, *phase.rows))
        return sum(step.op not in ("gather", "field", "spread") for step in steps)

    @property
    def peak_bytes(self) -> int:
        """Bytes that the run holds at most: results, buffers, tiles, and the float64 copies of reference kernels."""
        T, N = self.shape
        grid = T * N * 4
        tiles = self.threads * self.registers * T * self.width * 4
        # A reference kernel holds its inputs, its result and about four steps between them as float64.
        reference = 12 * grid if self.whole_steps else 0
        return (len(self.results) + self.buffers) * grid + tiles + reference


def plan(factors: FactorSet, *, shape: tuple[int, int], threads: int = 1, width: int = WIDTH) -> Plan:
    """The plan of a set for a panel of `shape` (T, N), with `threads` workers on tiles of `width` columns."""
    made = plan_exprs(
        [factor.expr for factor in factors.factors], factors.options, shape=shape, threads=threads, width=width
    )
    return _with_lookback(made, factors.lookback)


def _with_lookback(made: Plan, lookback: int) -> Plan:
    return Plan(**{**vars(made), "lookback": lookback})


def plan_exprs(
    exprs: Sequence[Expr], options: Options = PLAIN, *, shape: tuple[int, int], threads: int = 1, width: int = WIDTH
) -> Plan:
    """The plan of some formulas; its look-back is not computed."""
    graph = Graph(options)
    distinct = list(dict.fromkeys(exprs))
    places: dict[Expr, int] = {}
    for k, expr in enumerate(distinct):
        if k % BATCH == 0:
            graph.begin(k // BATCH)
        places[expr] = graph.add(expr)
    roots = [places[expr] for expr in exprs]
    order = list(dict.fromkeys(roots))
    schedule = _Schedule(graph.nodes, graph.batches, order)
    phases = tuple(schedule.phase(p) for p in range(schedule.count))
    return Plan(
        phases,
        schedule.registers,
        schedule.buffers,
        tuple(order.index(root) for root in roots),
        len(order),
        shape,
        width,
        threads,
        0,
        options,
        sum(step.place == "whole" for phase in phases for step in phase.rows),
    )


class _Schedule:
    """Assigns phases, registers and buffers."""

    def __init__(self, nodes: list[Node], batches: list[int], roots: list[int]) -> None:
        self.batches = batches
        self.nodes, self.roots = nodes, {root: k for k, root in enumerate(roots)}
        self.users: list[list[int]] = [[] for _ in nodes]
        for k in self._reachable(roots):
            for arg in nodes[k].args:
                self.users[arg].append(k)
        self.live = set(self._reachable(roots))
        self.level = self._levels()
        self.count = max(self.level.values(), default=0) + 1
        self.registers, self.buffers = 0, 0
        self.free: list[int] = []
        self.home: dict[int, Full] = {}
        self.pending: dict[int, int] = {}

    def _reachable(self, roots: list[int]) -> list[int]:
        seen: set[int] = set()
        stack = list(roots)
        while stack:
            k = stack.pop()
            if k not in seen:
                seen.add(k)
                stack.extend(self.nodes[k].args)
        return sorted(seen)

    def _levels(self) -> dict[int, int]:
        """The phase of every node: as late as its users allow; a result is made as soon as it can be."""
        early: dict[int, int] = {}
        base = batch = 0
        for k in sorted(self.live):
            node = self.nodes[k]
            if self.batches[k] > batch:
                batch, base = self.batches[k], max(early.values()) + 1
            steps = (early[arg] + (self._crosses(arg) and node.place == "tile") for arg in node.args)
            early[k] = max((base, *steps))
        late: dict[int, int] = {}
        for k in sorted(self.live, reverse=True):
            bounds = [late[u] - (self._crosses(k) and self.nodes[u].place == "tile") for u in self.users[k]]
            late[k] = early[k] if k in self.roots else min(bounds)
        return late

    def _crosses(self, k: int) -> bool:
        return self.nodes[k].place in ("row", "whole")

    def _kept(self, k: int) -> bool:
        """True where a column node's value must leave its tile."""
        if k in self.roots:
            return True
        return any(self._crosses(u) or self.level[u] > self.level[k] for u in self.users[k])

    def phase(self, p: int) -> Phase:
        """The steps of phase p."""
        columns = self._columns(p)
        rows = [k for k in sorted(self.live) if self._crosses(k) and self.level[k] == p]
        steps = []
        for k in rows:
            node = self.nodes[k]
            sources = tuple(self.home[arg] for arg in node.args)
            # A row is read before it is written, so the result may take the place of an operand used up here.
            for arg in dict.fromkeys(node.args):
                self._used(arg, k)
            target = self._place(k)
            steps.append(Step(node.op, node.literals, sources=sources, target=target, place=node.place))
        return Phase(tuple(columns), tuple(steps))

    def _place(self, k: int) -> Full:
        """A whole array for a value."""
        if k in self.roots:
            self.home[k] = Full("result", self.roots[k])
            return self.home[k]
        if not self.free:
            self.free.append(self.buffers)
            self.buffers += 1
        self.home[k] = Full("buffer", self.free.pop())
        return self.home[k]

    def _used(self, k: int, user: int) -> None:
        """Tell that `user` has read the whole array of k; it is freed after the last of those that need it."""
        left = self.pending.setdefault(k, self._readers(k)) - 1
        self.pending[k] = left
        if left == 0 and self.home[k].kind == "buffer":
            self.free.append(self.home[k].index)

    def _readers(self, k: int) -> int:
        """How many times the whole array of a value is read: once by each row operation, once by each later phase."""
        users = set(self.users[k])
        crossing = {u for u in users if self._crosses(u)}
        if self.nodes[k].place == "leaf":
            return len(crossing)
        phases = {self.level[u] for u in users - crossing}
        return len(crossing) + len(phases if self._crosses(k) else phases - {self.level[k]})

    def _columns(self, p: int) -> list[Step]:
        """The column steps of phase p, each result near its operands."""
        inside = {k for k in self.live if self.nodes[k].place in ("tile", "leaf")}
        targets = [k for k in sorted(inside) if self._wanted(k, p)]
        order, loaded = self._ordered(targets, p)
        uses: dict[int, int] = dict.fromkeys(order, 0)
        for k in order:
            if k not in loaded:
                for arg in self.nodes[k].args:
                    uses[arg] += 1
        steps: list[Step] = []
        slots: list[int] = []
        opened = 0
        held: dict[int, int] = {}
        for k in order:
            if not slots:
                slots.append(opened)
                opened += 1
            held[k] = slot = slots.pop()
            steps.append(self._load(k, slot) if k in loaded else self._compute(k, slot, held))
            if k in targets:
                steps.append(Step("spread", (), (slot,), target=self._place(k)))
            if k not in loaded:
                for arg in self.nodes[k].args:
                    uses[arg] -= 1
                    if not uses[arg]:
                        slots.append(held[arg])
            if not uses[k]:
                slots.append(slot)
        self.registers = max(self.registers, opened)
        for k in loaded:
            if self.nodes[k].place != "leaf":
                self._used(k, -1 - p)
        return steps

    def _wanted(self, k: int, p: int) -> bool:
        if self.nodes[k].place == "leaf":
            first = min((self.level[u] for u in self.users[k] if self._crosses(u)), default=None)
            return (first == p) if k not in self.roots else self.level[k] == p
        return self.level[k] == p and self._kept(k)

    def _ordered(self, targets: list[int], p: int) -> tuple[list[int], set[int]]:
        """Operands before users, and what must be loaded: leaves and values of earlier phases."""
        order: list[int] = []
        loaded: set[int] = set()
        seen: set[int] = set()
        for target in targets:
            stack = [(target, False)]
            while stack:
                k, ready = stack.pop()
                if ready:
                    order.append(k)
                    continue
                if k in seen:
                    continue
                seen.add(k)
                node = self.nodes[k]
                if node.place == "leaf" or self._crosses(k) or self.level[k] < p:
                    loaded.add(k)
                    order.append(k)
                    continue
                stack.append((k, True))
                stack.extend((arg, False) for arg in reversed(node.args))
        return order, loaded

    def _load(self, k: int, slot: int) -> Step:
        node = self.nodes[k]
        if node.place == "leaf":
            return Step(node.op, node.literals, (), slot)
        return Step("gather", (), (), slot, sources=(self.home[k],))

    def _compute(self, k: int, slot: int, held: dict[int, int]) -> Step:
        node = self.nodes[k]
        return Step(node.op, node.literals, tuple(held[arg] for arg in node.args), slot)
