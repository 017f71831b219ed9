"""Torch kernels that look at one cell at a time; the engine turns every non-finite result into NaN at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from alphaloom.factors.torch_blocks import Each, Setting, spoiled

__all__ = ["EACH"]


def _known(x: Tensor, *sources: Tensor) -> Tensor:
    """X, NaN where a source is: adding nothing times NaN is one vectorised pass."""
    for source in sources:
        x = torch.add(x, source, alpha=0)
    return x


def _truth(answer: Tensor, *sources: Tensor) -> Tensor:
    return _known(answer.to(sources[0].dtype), *sources)


def _compared(setting: Setting, answer: Tensor, x: Tensor, y: Tensor) -> Tensor:
    if setting.options.nan_compare == "false":
        return (answer & (x == x) & (y == y)).to(x.dtype)
    return _truth(answer, x, y)


def _power(x: Tensor, y: Tensor) -> Tensor:
    """X to the power y by logarithms in float64.

    The library's own power has other last bits at the ends of an array than inside it, so a slice would differ from
    the whole. Where the exponent is one number, the usual ones are plain products.
    """
    usual = _USUAL_POWERS.get(float(y)) if y.ndim == 0 else None
    if usual is not None:
        return usual(x)
    exponent, base = y.double(), x.double()
    # Of known numbers only 0 * log(0) is not a number here, and 0 to the power 0 is 1.
    size = torch.nan_to_num_(exponent * torch.log(base.abs()), nan=0.0, posinf=math.inf, neginf=-math.inf).exp_()
    negative = base < 0.0
    flipped = negative & (torch.remainder(exponent, 2.0) == 1.0)
    size.mul_(1.0 - 2.0 * flipped.to(size.dtype))
    return _known(spoiled(size, negative & (exponent != torch.floor(exponent))), base, exponent).to(x.dtype)


_USUAL_POWERS: dict[float, Callable[[Tensor], Tensor]] = {
    0.5: torch.sqrt,
    1.0: torch.clone,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
}


def _sign(x: Tensor) -> Tensor:
    return _known(torch.sign(x), x)


def _where(c: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _known(torch.where(c != 0, x, y), c)


EACH: dict[str, Each] = {
    "logical_or": Each(lambda _, a, b: _truth((a != 0) | (b != 0), a, b), bounded=True),
    "logical_and": Each(lambda _, a, b: _truth((a != 0) & (b != 0), a, b), bounded=True),
    "logical_not": Each(lambda _, a: _truth(a == 0, a), bounded=True),
    "less": Each(lambda s, x, y: _compared(s, x < y, x, y), bounded=True),
    "less_equal": Each(lambda s, x, y: _compared(s, x <= y, x, y), bounded=True),
    "greater": Each(lambda s, x, y: _compared(s, x > y, x, y), bounded=True),
    "greater_equal": Each(lambda s, x, y: _compared(s, x >= y, x, y), bounded=True),
    "equal": Each(lambda s, x, y: _compared(s, x == y, x, y), bounded=True),
    "not_equal": Each(lambda s, x, y: _compared(s, x != y, x, y), bounded=True),
    "add": Each(lambda _, x, y: x + y),
    "sub": Each(lambda _, x, y: x - y),
    "mul": Each(lambda _, x, y: x * y),
    "div": Each(lambda _, x, y: x / y),
    "neg": Each(lambda _, x: -x, bounded=True),
    "power": Each(lambda _, x, y: _power(x, y)),
    "signed_power": Each(lambda _, x, y: torch.sign(x) * _power(x.abs(), y)),
    "abs": Each(lambda _, x: x.abs(), bounded=True),
    "sign": Each(lambda _, x: _sign(x), bounded=True),
    "log": Each(lambda _, x: torch.log(x)),
    "log1p": Each(lambda _, x: torch.log1p(x)),
    "exp": Each(lambda _, x: torch.exp(x)),
    "sqrt": Each(lambda _, x: torch.sqrt(x)),
    "tanh": Each(lambda _, x: torch.tanh(x), bounded=True),
    "normcdf": Each(lambda _, x: torch.special.ndtr(x), bounded=True),
    "minimum": Each(lambda _, x, y: torch.minimum(x, y), bounded=True),
    "maximum": Each(lambda _, x, y: torch.maximum(x, y), bounded=True),
    "clip": Each(lambda _, x, low, high: torch.clamp(x, low, high), bounded=True),
    "where": Each(lambda _, c, x, y: _where(c, x, y), bounded=True),
    "isnan": Each(lambda _, x: torch.isnan(x).to(x.dtype), bounded=True),
    "fillna": Each(lambda _, x, value: torch.nan_to_num(x, nan=value)),
}
