"""Which torch kernel computes which operator of the table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from alphaloom.factors.torch_blocks import Across, Each, Window
from alphaloom.factors.torch_cross import ACROSS
from alphaloom.factors.torch_each import EACH
from alphaloom.factors.torch_moments import MOMENTS
from alphaloom.factors.torch_ordered import ORDERED
from alphaloom.factors.torch_rolling import ROLLING

__all__ = ["KERNELS"]

KERNELS: Mapping[str, Each | Window | Across] = MappingProxyType({**EACH, **ROLLING, **MOMENTS, **ORDERED, **ACROSS})
