"""The one training loop: whole-date batches, early stopping in time, checkpoints that resume to the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.nn.checkpoint import grouped, moments_of, read_checkpoint, recall_moments, write_checkpoint
from alphaloom.nn.fitted import FittedNet
from alphaloom.nn.losses import LOSSES, correlation_by_date
from alphaloom.nn.modules import said_in_parts
from alphaloom.nn.samples import Samples
from alphaloom.nn.specs import NetSpec
from alphaloom.nn.torch_state import torch_state
from alphaloom.nn.training import Progress, Training

__all__ = ["train_net"]

_HISTORY = ("loss", "held_loss", "held_ic")


@dataclass
class _Course:
    """Where a training stands; together with the tensors all that a resume needs."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    best: int = -1
    score: float | None = None
    done: bool = False
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _HISTORY})


def train_net(
    spec: NetSpec,
    data: Samples,
    training: Training,
    *,
    outputs: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> FittedNet:
    """See `alphaloom.nn.fit_net`."""
    device = _device(training.device)
    dates = data.dates_of(data.masks[0])
    if not dates:
        raise SolveError("a net learns from samples that have labels", found=f"{len(data.y)} samples", where="fit_net")
    with torch_state(training.seed, threads=training.threads, device=device):
        job = _Job(spec, data, training, outputs or data.outputs, device)
        if checkpoint is not None:
            job.name = _fingerprint(job)
            if checkpoint.exists():
                job.restore(checkpoint)
        while not job.course.done:
            _epoch(job, dates, checkpoint, progress)
        if progress is not None:
            total = training.epochs * _batches(dates, training)
            progress("train", total, total)
        return job.fitted()


class _Job:
    """A net, its optimizer and its course."""

    def __init__(self, spec: NetSpec, data: Samples, training: Training, outputs: int, device: torch.device) -> None:
        self.spec, self.data, self.training, self.outputs, self.device = spec, data, training, outputs, device
        self.net = spec.build(data.features, outputs).to(device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=training.lr, weight_decay=training.weight_decay)
        self.kept: dict[str, torch.Tensor] = {}
        self.course = _Course()
        self.name = ""
        weights = data.weights[data.masks[0]]
        self.weight_scale = 1.0 / float(weights.mean(dtype=np.float64) or 1.0)

    def keep(self) -> None:
        self.kept = {name: values.detach().clone() for name, values in self.net.state_dict().items()}

    def fitted(self) -> FittedNet:
        weights = self.kept or self.net.state_dict()
        return FittedNet(
            self.spec,
            self.data.features,
            self.outputs,
            {name: np.array(values.detach().cpu().numpy()) for name, values in weights.items()},
            {name: tuple(values) for name, values in self.course.history.items()},
            self.course.best,
        )

    def save(self, path: Path) -> None:
        tensors = {f"net.{name}": values for name, values in self.net.state_dict().items()}
        tensors |= {f"kept.{name}": values for name, values in self.kept.items()}
        tensors |= {f"optimizer.{name}": values for name, values in moments_of(self.optimizer).items()}
        tensors["chance.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["chance.cuda"] = torch.cuda.get_rng_state(self.device)
        write_checkpoint(path, tensors, {"name": self.name, **asdict(self.course)})

    def restore(self, path: Path) -> None:
        tensors, course = read_checkpoint(path)
        if course.pop("name", None) != self.name:
            raise DataError(
                "a checkpoint goes on with the net, the training and the samples that it was made with",
                found="another training",
                where=str(path),
                fix="delete the file to train from the start, or give another path",
            )
        groups = grouped(tensors, ("net", "kept", "optimizer", "chance"))
        self.net.load_state_dict(groups["net"])
        self.kept = {name: values.to(self.device) for name, values in groups["kept"].items()}
        recall_moments(self.optimizer, groups["optimizer"])
        torch.set_rng_state(groups["chance"]["cpu"])
        if self.device.type == "cuda" and "cuda" in groups["chance"]:
            torch.cuda.set_rng_state(groups["chance"]["cuda"], self.device)
        self.course = _Course(**course)


def _epoch(job: _Job, dates: list[NDArray[np.intp]], path: Path | None, progress: Progress | None) -> None:
    """One pass over the dates from where the course stands, then the judging."""
    training, course = job.training, job.course
    # The order depends on the seed and the epoch alone, so a resume needs no stored order.
    order = np.random.default_rng([training.seed, course.epoch]).permutation(len(dates))
    count = _batches(dates, training)
    job.net.train()
    while course.step < count:
        chosen = np.sort(order[course.step * training.dates_per_batch :][: training.dates_per_batch])
        course.total += _learn(job, [dates[k] for k in chosen])
        course.step += 1
        every = training.checkpoint_every
        if path is not None and every and course.step % every == 0 and course.step < count:
            job.save(path)
        if progress is not None:
            progress("train", course.epoch * count + course.step, training.epochs * count)
    course.history["loss"].append(course.total / count)
    course.epoch, course.step, course.total = course.epoch + 1, 0, 0.0
    _judge(job)
    if path is not None:
        job.save(path)


def _learn(job: _Job, dates: list[NDArray[np.intp]]) -> float:
    """One step of the optimizer on some dates; the loss before it."""
    job.optimizer.zero_grad(set_to_none=True)
    pred, y, weight = _said(job, dates)
    loss = LOSSES[job.training.loss](pred, y, weight, [len(rows) for rows in dates])
    loss.backward()  # type: ignore[no-untyped-call]
    if job.training.clip:
        torch.nn.utils.clip_grad_norm_(job.net.parameters(), job.training.clip)
    value = float(loss.detach())
    if not np.isfinite(value):
        raise SolveError(
            "a loss is a finite number",
            found=f"{value} in epoch {job.course.epoch}, batch {job.course.step}",
            where="fit_net",
            fix="lower lr, set clip, or scale the labels",
        )
    job.optimizer.step()
    return value


def _said(job: _Job, dates: list[NDArray[np.intp]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the net says of the samples of some dates, what it should say, and how much each counts."""
    rows = np.concatenate(dates)
    x = torch.from_numpy(job.data.inputs(rows)).to(job.device)
    with torch.autocast(job.device.type, dtype=torch.bfloat16, enabled=job.training.amp):
        pred = said_in_parts(job.net, x)
    y = torch.from_numpy(job.data.y[rows]).to(job.device)
    weight = torch.from_numpy(job.data.weights[rows] * np.float32(job.weight_scale)).to(job.device)
    return pred.float(), y, weight


def _judge(job: _Job) -> None:
    """Judge the epoch that has ended on the held samples, keep the best weights, and see whether to go on."""
    training, course = job.training, job.course
    held = job.data.dates_of(job.data.masks[1])
    last = course.epoch >= training.epochs
    if not held:
        course.best, course.done = course.epoch - 1, last
        return
    loss, ic = _held(job, held)
    course.history["held_loss"].append(loss)
    course.history["held_ic"].append(ic)
    score = loss if training.judge == "loss" else -ic
    if course.score is None or score < course.score or not training.patience:
        course.score, course.best = score, course.epoch - 1
        job.keep()
    course.done = last or bool(training.patience and course.epoch - 1 - course.best >= training.patience)


@torch.inference_mode()
def _held(job: _Job, dates: list[NDArray[np.intp]]) -> tuple[float, float]:
    """Mean loss and mean correlation of the held dates."""
    job.net.eval()
    losses, correlations = [], []
    step = job.training.dates_per_batch
    for start in range(0, len(dates), step):
        part = dates[start : start + step]
        sizes = [len(rows) for rows in part]
        pred, y, _ = _said(job, part)
        loss = LOSSES[job.training.loss](pred, y, torch.ones(len(y), device=y.device), sizes)
        losses.append(float(loss) * len(part))
        if pred.shape[1] != y.shape[1]:  # classes: the chance of the highest less that of the lowest
            chance = torch.softmax(pred.view(len(y), y.shape[1], -1), dim=-1)
            pred = chance[..., -1] - chance[..., 0]
        correlations += correlation_by_date(pred, y, sizes)
    return sum(losses) / len(dates), float(np.mean(correlations)) if correlations else 0.0


def _batches(dates: list[NDArray[np.intp]], training: Training) -> int:
    return -(-len(dates) // training.dates_per_batch)


def _fingerprint(job: _Job) -> str:
    """What a checkpoint must have been made with; where and how often it is written does not matter."""
    training = replace(job.training, checkpoint_every=0)
    text = repr((job.spec, training, job.outputs, job.data.digest(), torch.__version__))
    return hashlib.sha256(text.encode()).hexdigest()


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DataError("the device is present", found=name, where="Training.device", fix="use device='cpu'")
    return device
