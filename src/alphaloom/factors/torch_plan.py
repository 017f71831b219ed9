"""The order in which the torch back end computes a set: parts once, like work together, nothing held long."""

from __future__ import annotations

from collections import Counter
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

    Formulas are taken in groups of at most `held` parts, one formula at least. Inside a group the parts whose operands
    exist and that differ in their series alone form one step: a device with a costly start of every operation runs
    them at once. A part is freed after its last use anywhere in the set.
    """
    uses = _use_counts(roots, options)
    wanted = set(roots)
    for group in _groups(roots, options, held):
        for nodes in _batches(group, options):
            freed = []
            for node in nodes:
                for operand in operands(node, options):
                    uses[operand] -= 1
                    if not uses[operand]:
                        freed.append(operand)
            done = tuple(node for node in nodes if node in wanted)
            for node in done:
                uses[node] -= 1
                if not uses[node]:
                    freed.append(node)
            yield Step(nodes, done, tuple(freed))


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


def _groups(roots: Sequence[Expr], options: Options, held: int) -> Iterator[list[list[Expr]]]:
    """Groups of formulas, each formula as the parts that it adds, operands first."""
    seen: set[Expr] = set()
    group: list[list[Expr]] = []
    for root in roots:
        parts = _new_parts([root], options, seen)
        if group and sum(map(len, group)) + len(parts) > held:
            yield group
            group = []
        group.append(parts)
    if group:
        yield group


def _batches(group: list[list[Expr]], options: Options) -> Iterator[tuple[Expr, ...]]:
    if len(group) == 1:
        # Depth first holds the fewest values.
        yield from ((node,) for node in group[0])
        return
    waiting = [node for parts in group for node in parts]
    missing = set(waiting)
    while waiting:
        ready = [node for node in waiting if missing.isdisjoint(operands(node, options))]
        cheap = [node for node in ready if _likeness(node) is None]
        batch = (cheap[0],) if cheap else _largest(ready)
        yield batch
        missing.difference_update(batch)
        waiting = [node for node in waiting if node in missing]


def _likeness(node: Expr) -> tuple[object, ...] | None:
    """What parts of one step have in common; None for single cells, where a step of many gains nothing."""
    if node.op not in BY_NAME or BY_NAME[node.op].family == "elementwise":
        return None
    kinds = BY_NAME[node.op].arguments
    fixed = (arg.value for arg, kind in zip(node.args, kinds, strict=True) if kind.kind != "series")
    return (node.op, *fixed)


def _largest(ready: list[Expr]) -> tuple[Expr, ...]:
    classes: dict[tuple[object, ...], list[Expr]] = {}
    for node in ready:
        classes.setdefault(_likeness(node) or (), []).append(node)
    return tuple(max(classes.values(), key=lambda nodes: len(nodes)))
