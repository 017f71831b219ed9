"""The network that guides Alpha2: instructions in, a policy over the next one and the reward still to come out.

Source: Alpha2, arXiv:2406.16505, after AlphaDev. Torch is loaded with this module; import it where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alphaloom.mining.alpha2_settings import NetSettings
from alphaloom.mining.alpha2_tree import Guess
from alphaloom.mining.programs import Program, Programs

__all__ = ["AlphaNet", "Guide", "Lesson", "two_hot"]

BINS, REACH = 30, 0.2


class Lesson(NamedTuple):
    """A batch to learn from.

    Shape: `inputs` (B, L) instruction numbers, -1 for none; `legal` (B, A); `policy` (B, A); `value`, `finish` (B,).
    """

    inputs: NDArray[np.int64]
    legal: NDArray[np.bool_]
    policy: NDArray[np.float32]
    value: NDArray[np.float32]
    finish: NDArray[np.float32]


def two_hot(values: Tensor) -> Tensor:
    """Each value as weights on the two nearest of 30 bins between -0.2 and 0.2.   Shape: (B,) -> (B, 30)."""
    place = (values.clamp(-REACH, REACH) + REACH) * ((BINS - 1) / (2 * REACH))
    low = place.floor().clamp(0, BINS - 2)
    out = torch.zeros((len(values), BINS), dtype=values.dtype)
    out.scatter_(1, low.long()[:, None], (1.0 - (place - low))[:, None])
    return out.scatter_add_(1, low.long()[:, None] + 1, (place - low)[:, None])


class Attention(nn.Module):
    """Every instruction looks at every other one.   Shape: (B, L, D) -> (B, L, D)."""

    def __init__(self, spec: NetSettings) -> None:
        super().__init__()
        self.heads = spec.heads
        self.norm = nn.LayerNorm(spec.width)
        self.three = nn.Linear(spec.width, 3 * spec.key)
        self.out = nn.Linear(spec.key, spec.width)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """`known` (B, L) says which places hold an instruction."""
        B, L, _ = x.shape
        parts = self.three(self.norm(x)).view(B, L, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], attn_mask=known[:, None, None, :]
        )
        seen: Tensor = x + self.out(mixed.transpose(1, 2).reshape(B, L, -1))
        return seen


class Residual(nn.Module):
    """Two layers beside a straight way.   Shape: (B, D) -> (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width), nn.Linear(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, D) -> (B, D)."""
        out: Tensor = x + self.inner(x)
        return out


class AlphaNet(nn.Module):
    """Embedding, self-attention, residual blocks and three heads.

    Shape: (B, L) instruction numbers with -1 for none -> policy (B, A), value (B, 30), finish (B, 30).
    """

    codes: Tensor
    places: Tensor

    def __init__(self, programs: Programs, spec: NetSettings) -> None:
        super().__init__()
        codes = torch.from_numpy(programs.codes)
        self.register_buffer("codes", torch.cat((codes, torch.zeros(1, 4, dtype=torch.int64))), persistent=False)
        self.register_buffer("places", _sinusoids(programs.max_length + 1, spec.width), persistent=False)
        # The sum of four tables is a linear layer on the joined one-hot codes.
        self.tables = nn.ModuleList(nn.Embedding(int(codes[:, k].max()) + 1, spec.width) for k in range(4))
        self.embed = nn.Sequential(nn.LayerNorm(spec.width), nn.ReLU(), nn.Linear(spec.width, spec.width))
        self.attention = nn.ModuleList(Attention(spec) for _ in range(spec.layers))
        self.joint = nn.Sequential(nn.Linear(2 * spec.width, spec.width), nn.LayerNorm(spec.width), nn.ReLU())
        self.trunk = nn.Sequential(*(Residual(spec.width) for _ in range(spec.blocks)))
        self.policy = _head(spec.width, len(programs))
        self.value, self.finish = _head(spec.width, BINS), _head(spec.width, BINS)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shape: (B, L) -> (B, A), (B, 30), (B, 30)."""
        known = inputs >= 0
        codes = self.codes[inputs]
        x = self.embed(sum(table(codes[..., k]) for k, table in enumerate(self.tables)))
        x = x + self.places[: inputs.shape[1]]
        for layer in self.attention:
            x = layer(x, known)
        count = known.sum(dim=1)
        mean = (x * known[..., None]).sum(dim=1) / count[:, None]
        last = x[torch.arange(len(x)), count - 1]
        y = self.trunk(self.joint(torch.cat((mean, last), dim=1)))
        return self.policy(y), self.value(y), self.finish(y)


def _head(width: int, outputs: int) -> nn.Module:
    last = nn.Linear(width, outputs)
    # A network that was never taught has no preference, and expects nothing.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(Residual(width), Residual(width), nn.LayerNorm(width), last)


def _sinusoids(length: int, width: int) -> Tensor:
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(length)[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), dim=2).reshape(length, -1)[:, :width]


def expected(logits: Tensor) -> Tensor:
    """The mean of a distribution over the bins.   Shape: (B, 30) -> (B,)."""
    return logits.softmax(dim=1) @ torch.linspace(-REACH, REACH, BINS)


@dataclass(eq=False)
class Guide:
    """The network that plays, the one that gives targets, and the optimiser.   Raises: nothing; it is seeded."""

    programs: Programs
    spec: NetSettings
    seed: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.net, self.target = AlphaNet(self.programs, self.spec), AlphaNet(self.programs, self.spec)
        self.target.load_state_dict(self.net.state_dict())
        self.net.eval()
        parameters = list(self.net.parameters())
        self._optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(parameters, lr=self.spec.rate)
            if self.spec.optimiser == "adam"
            else torch.optim.SGD(parameters, lr=self.spec.rate, momentum=0.9)
        )

    @property
    def taught(self) -> bool:
        """True once it has learned anything."""
        return self.steps > 0

    def ask(self, programs: Sequence[Program]) -> list[Guess]:
        """What the network says of a batch of states; no preference and no value before it was taught."""
        if not self.taught:
            flat = np.zeros(len(self.programs), np.float32)
            return [Guess(flat, 0.0) for _ in programs]
        with torch.inference_mode():
            policy, value, _ = self.net(torch.from_numpy(inputs_of(programs)))
            logits, values = policy.numpy(), expected(value).numpy()
        return [Guess(logits[k], float(values[k])) for k in range(len(programs))]

    def later(self, inputs: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Value and finish by the target network.   Shape: (B, L) -> (B,), (B,)."""
        with torch.inference_mode():
            _, value, finish = self.target(torch.from_numpy(inputs))
            return expected(value).numpy(), expected(finish).numpy()

    def learn(self, lesson: Lesson) -> float:
        """One step on a batch; the loss before it."""
        policy, value, finish = self.net(torch.from_numpy(lesson.inputs))
        shown = policy.masked_fill(~torch.from_numpy(lesson.legal), -1e9)
        loss = -(torch.from_numpy(lesson.policy) * shown.log_softmax(dim=1)).sum(dim=1).mean()
        for said, wanted in ((value, lesson.value), (finish, lesson.finish)):
            loss = loss - (two_hot(torch.from_numpy(wanted)) * said.log_softmax(dim=1)).sum(dim=1).mean()
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self.steps += 1
        if self.steps % self.spec.sync_every == 0:
            self.target.load_state_dict(self.net.state_dict())
        return float(loss.detach())

    def memory(self) -> dict[str, NDArray[Any]]:
        """All numbers that it holds, by name."""
        found = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        found |= {f"target.{name}": value for name, value in self.target.state_dict().items()}
        for number, slots in self._optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in slots.items()}
        return {name: np.array(value.numpy()) for name, value in found.items()}

    def recall(self, arrays: Mapping[str, NDArray[Any]], steps: int) -> None:
        """Become the guide that held these numbers."""
        parts: dict[str, dict[str, Tensor]] = {"net": {}, "target": {}, "optimiser": {}}
        for name, value in arrays.items():
            part, _, rest = name.partition(".")
            if part in parts:
                parts[part][rest] = torch.from_numpy(np.array(value))
        self.net.load_state_dict(parts["net"])
        self.target.load_state_dict(parts["target"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimiser"].items():
            number, _, slot = name.partition(".")
            state.setdefault(int(number), {})[slot] = tensor
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})
        self.steps = steps


def inputs_of(programs: Sequence[Program]) -> NDArray[np.int64]:
    """The instructions of each program, Start first, -1 after the last.   Shape: (B, L)."""
    longest = 1 + max(len(program.numbers) for program in programs)
    out = np.full((len(programs), longest), -1, np.int64)
    for row, program in zip(out, programs, strict=True):
        row[0] = program.programs.end - 1
        row[1 : 1 + len(program.numbers)] = program.numbers
    return out
