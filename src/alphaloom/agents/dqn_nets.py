"""Small nets of two hidden layers, as many side by side as there are experts, with their gradient by hand.

A gradient step of such nets is a dozen small products; what an automatic gradient adds around each of them would cost
more than the products.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Experts", "Passed", "layer_shapes"]


def layer_shapes(K: int, inputs: int, width: int, *, dueling: bool) -> dict[str, tuple[int, ...]]:
    """The weights of K experts, by name.   Shape: weights (K, in, out), biases (K, 1, out)."""
    outputs = 3 if dueling else 2
    sizes = (inputs, width, width, outputs)
    found: dict[str, tuple[int, ...]] = {}
    for layer, (a, b) in enumerate(pairwise(sizes), start=1):
        found[f"w{layer}"], found[f"b{layer}"] = (K, a, b), (K, 1, b)
    return found


class Passed(NamedTuple):
    """What a pass leaves for the way back."""

    x: torch.Tensor
    one: torch.Tensor
    two: torch.Tensor
    q: torch.Tensor


class Experts:
    """K nets from what is seen to the values of not holding and of holding.

    Shape: x (K, m, D) -> q (K, m, 2).
    With `dueling` the last layer says a level and two advantages whose mean is taken off.
    """

    def __init__(self, K: int, inputs: int, width: int, *, dueling: bool, random: np.random.Generator) -> None:
        self.dueling = dueling
        self.shapes = layer_shapes(K, inputs, width, dueling=dueling)
        self.flat = torch.empty(sum(int(np.prod(shape)) for shape in self.shapes.values()), dtype=torch.float32)
        self.slope = torch.zeros_like(self.flat)
        self.weights, self.slopes = self._views(self.flat), self._views(self.slope)
        for name, view in self.weights.items():
            reach = 1.0 / np.sqrt(self.shapes[f"w{name[1:]}"][1])
            view.copy_(torch.from_numpy(random.uniform(-reach, reach, tuple(view.shape)).astype(np.float32)))

    def _views(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        at, views = 0, {}
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            views[name] = flat[at : at + size].view(shape)
            at += size
        return views

    def twin(self) -> Experts:
        """A net with the same weights, of its own."""
        other = object.__new__(Experts)
        other.dueling, other.shapes = self.dueling, self.shapes
        other.flat, other.slope = self.flat.clone(), torch.zeros_like(self.flat)
        other.weights, other.slopes = other._views(other.flat), other._views(other.slope)
        return other

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights."""
        return {name: np.array(view.numpy()) for name, view in self.weights.items()}

    def put(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Take these weights."""
        for name, view in self.weights.items():
            view.copy_(torch.from_numpy(np.asarray(arrays[name], dtype=np.float32)))

    def forward(self, x: torch.Tensor) -> Passed:
        """Values of both actions, with what the way back needs."""
        w = self.weights
        one = torch.baddbmm(w["b1"], x, w["w1"]).relu_()
        two = torch.baddbmm(w["b2"], one, w["w2"]).relu_()
        out = torch.baddbmm(w["b3"], two, w["w3"])
        if self.dueling:
            level, gain = out[..., :1], out[..., 1:]
            out = level + gain - gain.mean(dim=-1, keepdim=True)
        return Passed(x, one, two, out)

    def backward(self, passed: Passed, dq: torch.Tensor) -> None:
        """The gradient of a loss with respect to all weights, from that with respect to q, into `slope`."""
        w, g = self.weights, self.slopes
        out = torch.cat((dq.sum(-1, keepdim=True), dq - dq.mean(-1, keepdim=True)), dim=-1) if self.dueling else dq
        for layer, below in ((3, passed.two), (2, passed.one), (1, passed.x)):
            torch.bmm(below.transpose(1, 2), out, out=g[f"w{layer}"])
            torch.sum(out, dim=1, keepdim=True, out=g[f"b{layer}"])
            if layer > 1:
                out = torch.bmm(out, w[f"w{layer}"].transpose(1, 2)).mul_(below > 0.0)

    def rescale(self, factor: torch.Tensor, shift: torch.Tensor) -> None:
        """Make every expert say factor * q + shift.   Shape: factor, shift (K,)."""
        by, more = factor[:, None, None], shift[:, None, None]
        self.weights["w3"].mul_(by)
        self.weights["b3"].mul_(by)
        self.weights["b3"][..., : 1 if self.dueling else 2].add_(more)
