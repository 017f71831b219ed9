"""The order in which the torch back end computes a set: parts once, like work together, nothing held long."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alphaloom.factors.analysis import definition
from alphaloom.factors.expr import Expr
from alphaloom.factors.ops import BY_NAME
from alphaloom.factors.options import Options

__all__ = ["Step", "operands", "steps"]


@dataclass(frozen=True)
class Step:
    """Formulas that are computed together, then what may be handed out, then what is needed no more."""

    nodes: tuple[Expr, ...]
    done: tuple[Expr, ...]
    freed: tuple[Expr, ...]


def operands(expr: Expr, options: Options) -> tuple[Expr, ...]:
    """What must be computed before this formula."""
    if expr.op == "number":
        return ()
    if expr.op == "name":
        meaning = definition(str(expr.value), options)
        return () if meaning is None else (meaning,)
    kinds = BY_NAME[expr.op].arguments
    return tuple(arg for arg, kind in zip(expr.args, kinds, strict=True) if kind.kind == "series")


def steps(roots: Sequence[Expr], options: Options, held: int) -> Iterator[Step]:
    """The schedule of a whole set.

    As many formulas are taken together as leave at most `held` values alive at once, one formula at least. Among them
    the parts whose operands exist and that differ in their series alone form one step: a device with a costly start of
    every operation runs them at once. A part is freed after its last use anywhere in the set.
    """
    wanted, uses, seen = set(roots), _use_counts(roots, options), set[Expr]()
    start, size, alive = 0, len(roots) if held else 1, 0
    while start < len(roots):
        size = min(size, len(roots) - start)
        tried = set(seen)
        parts = _new_parts(roots[start : start + size], options, tried)
        # Depth first holds the fewest values.
        batches = _batches(parts, options) if size > 1 else ((part,) for part in parts)
        left = uses.copy()
        made = [_step(batch, wanted, left, options) for batch in batches]
        most, alive_after = _lives(made, alive)
        if most > held and size > 1:
            size = (size + 1) // 2
            continue
        yield from made
        seen, uses, alive = tried, left, alive_after
        start += size
        size = 2 * size if held else 1


def _step(nodes: tuple[Expr, ...], wanted: set[Expr], uses: Counter[Expr], options: Options) -> Step:
    """What may be handed out and freed after these parts; `uses` is counted down."""
    done = tuple(node for node in nodes if node in wanted)
    freed = []
    for read in (*(operand for node in nodes for operand in operands(node, options)), *done):
        uses[read] -= 1
        if not uses[read]:
            freed.append(read)
    return Step(nodes, done, tuple(freed))


def _lives(made: Sequence[Step], alive: int) -> tuple[int, int]:
    """How many values live at once at most, and at the end."""
    most = alive
    for step in made:
        most = max(most, alive + len(step.nodes))
        alive += len(step.nodes) - len(step.freed)
    return most, alive


def _use_counts(roots: Sequence[Expr], options: Options) -> Counter[Expr]:
    """How often each part is read; being asked for counts once."""
    uses: Counter[Expr] = Counter(dict.fromkeys(roots, 1))
    for node in _new_parts(roots, options, set()):
        uses.update(operands(node, options))
    return uses


def _new_parts(roots: Iterable[Expr], options: Options, seen: set[Expr]) -> list[Expr]:
    """Every part that `seen` lacks, operands first; `seen` grows by them."""
    found: list[Expr] = []

    def visit(expr: Expr) -> None:
        if expr not in seen:
            seen.add(expr)
            for operand in operands(expr, options):
                visit(operand)
            found.append(expr)

    for root in roots:
        visit(root)
    return found


def _batches(parts: Sequence[Expr], options: Options) -> Iterator[tuple[Expr, ...]]:
    """Parts in an order that respects their operands: single cells at once, then the largest class of like parts."""
    new = set(parts)
    lacking = {node: new.intersection(operands(node, options)) for node in parts}
    users: dict[Expr, list[Expr]] = {}
    for node in parts:
        for operand in lacking[node]:
            users.setdefault(operand, []).append(node)
    cheap: deque[Expr] = deque()
    classes: dict[tuple[object, ...], list[Expr]] = {}

    def admit(node: Expr) -> None:
        likeness = _likeness(node)
        if likeness is None:
            cheap.append(node)
        else:
            classes.setdefault(likeness, []).append(node)

    for node in parts:
        if not lacking[node]:
            admit(node)
    while cheap or classes:
        batch = [cheap.popleft()] if cheap else classes.pop(max(classes, key=lambda likeness: len(classes[likeness])))
        yield tuple(batch)
        for done in batch:
            for user in users.get(done, ()):
                lacking[user].discard(done)
                if not lacking[user]:
                    admit(user)


def _likeness(node: Expr) -> tuple[object, ...] | None:
    """What parts of one step have in common; None for single cells, where a step of many gains nothing."""
    if node.op not in BY_NAME or BY_NAME[node.op].family == "elementwise":
        return None
    kinds = BY_NAME[node.op].arguments
    fixed = (arg.value for arg, kind in zip(node.args, kinds, strict=True) if kind.kind != "series")
    return (node.op, *fixed)
