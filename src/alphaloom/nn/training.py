"""How a net is trained; the loop itself is imported when a training starts, and torch with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from alphaloom.errors import DataError

if TYPE_CHECKING:
    from alphaloom.nn.fitted import FittedNet
    from alphaloom.nn.samples import Samples
    from alphaloom.nn.specs import NetSpec

__all__ = ["Judge", "LossName", "Progress", "Training", "fit_net"]

Progress = Callable[[str, int, int], None]
Judge = Literal["loss", "ic"]
LossName = Literal[
    "mse",
    "huber",
    "ic",
    "rank_ic",
    "listwise",
    "adj_mse",
    "adj_mse_half",
    "adj_mse_logistic",
    "bce",
    "cross_entropy",
]


@dataclass(frozen=True)
class Training:
    """How a net is trained: AdamW on batches of whole dates, stopped when held-out dates stop improving.

    An epoch sees every date once, `dates_per_batch` at a time in shuffled order. After each epoch the held samples are
    judged by the "loss" or by the mean correlation a date ("ic"); training ends when that has not improved for
    `patience` epochs, and the best weights are kept. With `patience` 0, or no held samples, all epochs run and the
    last weights are kept. `clip` bounds the length of the gradient, 0 does not. `amp` computes in bfloat16 where that
    is safe. `device` is "cpu" or "cuda"; on a processor the same seed and `threads` give the same bytes in any process.
    A checkpoint is written after each epoch, and within one after every `checkpoint_every` batches if that is above 0.
    """

    epochs: int = 40
    patience: int = 5
    lr: float = 5e-4
    weight_decay: float = 1e-5
    clip: float = 1.0
    dates_per_batch: int = 8
    loss: LossName = "mse"
    judge: Judge = "loss"
    amp: bool = False
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    checkpoint_every: int = 0

    def __post_init__(self) -> None:
        counts = {"epochs": 1, "patience": 0, "dates_per_batch": 1, "threads": 1, "seed": 0, "checkpoint_every": 0}
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise DataError(f"a count is at least {least}", found=getattr(self, name), where=f"Training.{name}")
        for name in ("lr", "weight_decay", "clip"):
            value = getattr(self, name)
            if not 0.0 <= value < float("inf") or (name == "lr" and value == 0.0):
                raise DataError("a rate is finite and not negative", found=value, where=f"Training.{name}")
        if self.loss not in get_args(LossName):
            known = ", ".join(get_args(LossName))
            raise DataError("a loss has a known name", found=self.loss, where="Training.loss", fix=f"one of: {known}")
        if self.judge not in get_args(Judge):
            raise DataError("held samples are judged by loss or ic", found=self.judge, where="Training.judge")
        if self.device.split(":")[0] not in ("cpu", "cuda"):
            raise DataError("a device is cpu or cuda", found=self.device, where="Training.device")


def fit_net(
    spec: NetSpec,
    data: Samples,
    training: Training,
    *,
    outputs: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> FittedNet:
    """Train a net on samples.

    `outputs` is the width of the last layer, by default the columns of y; for `cross_entropy` give classes times
    columns. `checkpoint` is the file that keeps the state of the training: where it exists the training goes on from
    it, and on a processor ends in the bytes of one that was never stopped. `progress` is told (stage, done, total)
    after every batch; an exception from it, or an interrupt, leaves the last checkpoint as it is.
    Raises: DataError for a checkpoint of another training, a missing device or torch; SolveError where nothing can be
    learnt or the loss is not a number.
    """
    try:
        from alphaloom.nn.loop import train_net
    except ModuleNotFoundError as missing:
        if missing.name not in ("torch", "safetensors"):
            raise
        raise DataError(
            "nets need torch and safetensors",
            found=f"no {missing.name}",
            where="alphaloom.nn",
            fix="pip install 'alphaloom[deep]'",
        ) from None
    return train_net(spec, data, training, outputs=outputs, checkpoint=checkpoint, progress=progress)
