"""The torch back end: the same operator table and the same values, on a processor or a graphics card.

It needs the extra `deep`. Whole-array operations replace the compiled loops of the default engine: windows by doubling,
ranks by sorting, days by folding, in blocks that stay within `batch_bytes`. Sums and moments count in float64 whatever
the values are stored in. Equal runs on one device give equal bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from alphaloom.errors import FormulaError
from alphaloom.factors.analysis import definition, fields_of, groups_of
from alphaloom.factors.expr import Expr, nearest
from alphaloom.factors.library import FactorSet
from alphaloom.factors.ops import BY_NAME
from alphaloom.factors.options import PLAIN, Options
from alphaloom.factors.parse import parse
from alphaloom.factors.torch_plan import steps
from alphaloom.panel import Panel
from alphaloom.signal import Features

if TYPE_CHECKING:
    from torch import Tensor

    from alphaloom.factors.torch_blocks import Setting

__all__ = ["evaluate_torch", "evaluate_torch_one"]

# A block of a processor should stay in its cache; a graphics card wants long operations.
_BATCH_BYTES = {"cpu": 8 << 20, "cuda": 1 << 30}


def evaluate_torch(
    factors: FactorSet,
    panel: Panel,
    *,
    device: str = "cpu",
    dtype: DTypeLike = np.float32,
    batch_bytes: int | None = None,
    threads: int | None = None,
) -> Features:
    """The values of every factor on every bar, in the set's order, computed by torch.

    Shape: (T, N, F) of `dtype`, in memory factor by factor; values between operators are kept in `dtype`, too.
    `device` is "cpu", "cuda" or "cuda:1". `batch_bytes` bounds the temporary arrays of a kernel and what is held to
    run like parts of several formulas at once. `threads` is the number of processor threads, restored afterwards.
    Raises: FormulaError for a name that the panel lacks, a device that is absent, or where torch is not installed.
    """
    kind = _checked_dtype(dtype)
    run = _Run(panel, factors.options, device=device, dtype=kind, batch_bytes=batch_bytes)
    roots: dict[Expr, list[int]] = {}
    for k, factor in enumerate(factors.factors):
        roots.setdefault(factor.expr, []).append(k)
    out = np.empty((len(factors.factors), *panel.shape), dtype=kind)
    with _threads(threads), _torch().inference_mode():
        for expr, values in run.results(list(roots)):
            out[roots[expr]] = values
    return Features(panel.times, panel.assets, factors.names, out.transpose(1, 2, 0))


def evaluate_torch_one(
    expr: Expr | str,
    panel: Panel,
    *,
    options: Options = PLAIN,
    device: str = "cpu",
    dtype: DTypeLike = np.float32,
    batch_bytes: int | None = None,
) -> NDArray[Any]:
    """The value of one formula on every bar, computed by torch.

    Shape: (T, N) of `dtype`.   Raises: as `evaluate_torch`; GrammarError for faulty text.
    """
    root = parse(expr, options=options) if isinstance(expr, str) else expr
    run = _Run(panel, options, device=device, dtype=_checked_dtype(dtype), batch_bytes=batch_bytes)
    with _torch().inference_mode():
        (_, values), *_ = run.results([root])
    return values


class _Run:
    """One evaluation: the panel, the conventions, where and how exactly values are kept."""

    def __init__(
        self, panel: Panel, options: Options, *, device: str, dtype: np.dtype[Any], batch_bytes: int | None
    ) -> None:
        torch = _torch()
        self.panel = panel
        self.options = options
        self.device = _checked_device(device)
        self.numpy_dtype = dtype
        self.dtype = torch.float32 if dtype == np.float32 else torch.float64
        self.batch_bytes = _BATCH_BYTES[self.device.type] if batch_bytes is None else int(batch_bytes)
        self.groups: dict[str, Tensor] = {}
        self.outside: Tensor | None = None

    @property
    def setting(self) -> Setting:
        from alphaloom.factors.torch_blocks import Setting

        return Setting(self.options, self.batch_bytes)

    def results(self, roots: Sequence[Expr]) -> Iterator[tuple[Expr, NDArray[Any]]]:
        """Each formula with its values as soon as they exist."""
        for root in roots:
            _check_names(root, self.panel, self.options)
        cell_bytes = max(1, self.panel.shape[0] * self.panel.shape[1] * self.numpy_dtype.itemsize)
        buffers: dict[Expr, Tensor] = {}
        for step in steps(roots, self.options, self.batch_bytes // cell_bytes):
            for node, values in zip(step.nodes, self._values(step.nodes, buffers), strict=True):
                buffers[node] = values
            for root in step.done:
                yield root, self._plain(buffers[root])
            for node in step.freed:
                del buffers[node]

    def _values(self, nodes: Sequence[Expr], buffers: dict[Expr, Tensor]) -> list[Tensor]:
        first = nodes[0]
        if first.op == "number":
            # A number without axes combines with any grid.
            return [_torch().full((), float(first.value or 0.0), dtype=self.dtype, device=self.device)]
        if first.op == "name":
            meaning = definition(str(first.value), self.options)
            return [self._loaded(str(first.value)) if meaning is None else buffers[meaning]]
        if BY_NAME[first.op].family == "elementwise":
            return [self._cells(first, buffers)]
        return self._grids(nodes, buffers)

    def _cells(self, node: Expr, buffers: dict[Expr, Tensor]) -> Tensor:
        from alphaloom.factors.torch_blocks import finite_
        from alphaloom.factors.torch_each import EACH

        pairs = zip(BY_NAME[node.op].arguments, node.args, strict=True)
        given = [buffers[arg] if kind.kind == "series" else float(arg.value or 0.0) for kind, arg in pairs]
        each = EACH[node.op]
        found = each.kernel(self.setting, *given)
        return found if each.bounded else finite_(found)

    def _grids(self, nodes: Sequence[Expr], buffers: dict[Expr, Tensor]) -> list[Tensor]:
        """Window and cross-section operators that differ in their series alone."""
        from alphaloom.factors.torch_blocks import Across, Window, over_columns, over_rows
        from alphaloom.factors.torch_kernels import KERNELS

        operator = BY_NAME[nodes[0].op]
        items = []
        for node in nodes:
            pairs = zip(operator.arguments, node.args, strict=True)
            items.append(tuple(self._argument(kind.kind, arg, buffers) for kind, arg in pairs))
        series = sum(argument.kind == "series" for argument in operator.arguments)
        groups = sum(argument.kind == "group" for argument in operator.arguments)
        kernel = KERNELS[operator.name]
        if isinstance(kernel, Window):
            literals = [float(value) for value in items[0][series + groups :]]
            return over_columns(kernel, items, self.setting, series, operator.reach_rule(tuple(literals)))
        assert isinstance(kernel, Across), operator.name
        return over_rows(kernel, items, self.setting, self._outside(), (series, groups))

    def _argument(self, kind: str, arg: Expr, buffers: dict[Expr, Tensor]) -> Any:
        if kind == "series":
            return buffers[arg].expand(self.panel.shape)
        if kind == "group":
            return self._codes(str(arg.value))
        return int(arg.value or 0) if kind == "window" else float(arg.value or 0.0)

    def _loaded(self, name: str) -> Tensor:
        from alphaloom.factors.torch_blocks import finite_

        source = self.panel.fields[name] if name in self.panel.fields else self.panel.series[name][:, None]
        with np.errstate(over="ignore"):
            values = np.array(source, dtype=self.numpy_dtype)
        return finite_(_torch().from_numpy(values).to(self.device))

    def _codes(self, name: str) -> Tensor:
        if name not in self.groups:
            self.groups[name] = _torch().from_numpy(np.array(self.panel.labels[name])).to(self.device)
        return self.groups[name]

    def _outside(self) -> Tensor:
        """0 for members and NaN for others: the one place where the universe enters."""
        if self.outside is None:
            marks = np.where(self.panel.member, 0.0, np.nan).astype(self.numpy_dtype)
            self.outside = _torch().from_numpy(marks).to(self.device)
        return self.outside

    def _plain(self, values: Tensor) -> NDArray[Any]:
        """The values on the host, with one kind of NaN and one kind of zero."""
        plain = (values.expand(self.panel.shape) + 0.0).nan_to_num_(nan=math.nan)
        host: NDArray[Any] = plain.cpu().numpy()
        return host


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise FormulaError(
            "the torch back end needs torch", found="no module torch", fix='pip install "alphaloom[deep]"'
        ) from None
    return torch


def _checked_device(name: str) -> Any:
    torch = _torch()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    legal = ["cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
    if device is None or (str(device) not in legal and not (str(device) == "cuda" and len(legal) > 1)):
        raise FormulaError(
            "a device must be one that torch can count on in float64",
            found=name,
            where="evaluate_torch(device=...)",
            fix=f"use {' or '.join(legal)}",
        )
    return device


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise FormulaError(
            "factors are stored as float32 or float64", found=str(kind), where="evaluate_torch(dtype=...)"
        )
    return kind


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    torch = _torch()
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_names(expr: Expr, panel: Panel, options: Options) -> None:
    _check(fields_of(expr, options), (*panel.fields, *panel.series), expr, "field")
    _check(groups_of(expr), tuple(panel.labels), expr, "label")


def _check(names: Sequence[str], known: tuple[str, ...], expr: Expr, what: str) -> None:
    for name in names:
        if name not in known:
            raise FormulaError(
                f"a name must be a {what} of the panel", found=name, where=str(expr), fix=nearest(name, known, what)
            )
