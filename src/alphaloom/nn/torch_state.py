"""Torch's global state for the time of some work: threads and seed, and what others had set comes back after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["torch_state", "torch_threads"]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads inside, as before outside: how a product is cut among threads shows in its last digits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def torch_state(seed: int, *, threads: int, device: Any = "cpu") -> Iterator[None]:
    """A seed and so many threads inside; random states, of the device's too, and threads as before outside."""
    import torch

    place = torch.device(device)
    cards: list[Any] = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=cards), torch_threads(threads):
        torch.manual_seed(seed)
        yield
