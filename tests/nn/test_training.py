from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from alphaloom.errors import DataError, SolveError
from alphaloom.nn import FactorTransformer, FittedNet, Mlp, Recurrent, Samples, Training, fit_net

QUICK = Training(epochs=6, lr=5e-3, dates_per_batch=4)
SMALL = Mlp((16, 8))


def same(a: FittedNet, b: FittedNet) -> bool:
    return (
        a.state.keys() == b.state.keys()
        and all(a.state[k].tobytes() == b.state[k].tobytes() for k in a.state)
        and a.history == b.history
        and a.best == b.best
    )


def ic(net: FittedNet, samples: Samples) -> float:
    return net.history["held_ic"][net.best]


@pytest.mark.parametrize("loss", ["mse", "huber", "ic", "rank_ic", "listwise", "adj_mse", "adj_mse_half"])
def test_every_loss_finds_what_is_planted(planted, loss):
    net = fit_net(SMALL, planted(), replace(QUICK, loss=loss, epochs=10))
    assert ic(net, planted()) > 0.35
    assert len(net.history["loss"]) == len(net.history["held_loss"]) >= net.best + 1


def test_attention_finds_it_too_and_nothing_in_noise(planted):
    spec = FactorTransformer(8, 2, 1)
    assert ic(fit_net(spec, planted(), replace(QUICK, epochs=10)), planted()) > 0.35
    noise = fit_net(spec, planted(strength=0.0, seed=3), QUICK)
    assert abs(ic(noise, planted())) < 0.15


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_memory_finds_what_was_said_two_bars_ago(cell):
    rng = np.random.default_rng(0)
    T, N = 60, 25
    grid = rng.normal(size=(T, N, 3)).astype(np.float32)
    date, column = (part.ravel() for part in np.indices((T, N)))
    y = np.zeros((T, N, 2))
    y[2:, :, 0] = grid[:-2, :, 1]
    y[..., 1] = -grid[..., 0]
    y = (y + 0.5 * rng.normal(size=y.shape)).reshape(-1, 2)
    y[rng.random(y.shape) < 0.2] = np.nan
    samples = Samples(grid, y, date, column=column, length=4, fit=(date >= 2) & (date < 45), held=date >= 48)
    net = fit_net(Recurrent(cell, 16, 1, 0.0), samples, replace(QUICK, epochs=40, lr=0.02, patience=10))
    said = net.predict_windows(grid, date, column, length=4)
    for k in range(2):
        known = np.isfinite(y[:, k]) & (date >= 48)
        assert np.corrcoef(said[known, k], y[known, k])[0, 1] > 0.6


def test_early_stopping_keeps_the_best_weights_and_patience_ends_it(planted):
    samples = planted(strength=0.0)
    net = fit_net(SMALL, samples, replace(QUICK, epochs=60, patience=3, lr=0.02))
    held = net.history["held_loss"]
    assert net.best == int(np.argmin(held))
    assert len(held) == net.best + 4 < 60
    # The kept weights are those of the best epoch: a training of just so many epochs ends with the same.
    short = fit_net(SMALL, samples, replace(QUICK, epochs=net.best + 1, patience=0, lr=0.02))
    assert all((short.state[k] == net.state[k]).all() for k in net.state)
    by_ic = fit_net(SMALL, samples, replace(QUICK, epochs=20, patience=3, judge="ic"))
    assert by_ic.best == int(np.argmax(by_ic.history["held_ic"]))


def test_held_and_unused_samples_teach_nothing(planted):
    one = planted()
    free = ~one.masks[0]
    x, y = one.x.copy(), one.y.copy()
    x[free], y[free] = 7.0, -9.0
    other = Samples(x, y, one.date, fit=one.masks[0], held=one.masks[1])
    training = replace(QUICK, patience=0)
    a, b = fit_net(SMALL, one, training), fit_net(SMALL, other, training)
    assert all((a.state[k] == b.state[k]).all() for k in a.state)


def test_a_sample_without_weight_teaches_nothing_and_the_scale_of_weights_does_not_matter(planted):
    one = planted()
    weight = np.where(np.arange(len(one.y)) % 3 == 0, 0.0, 1.0)
    y = np.where(weight[:, None] == 0, 99.0, one.y)
    parts = {"fit": one.masks[0]}
    training = replace(QUICK, epochs=2)
    a = fit_net(SMALL, Samples(one.x, one.y, one.date, weight=weight, **parts), training)
    b = fit_net(SMALL, Samples(one.x, y, one.date, weight=4 * weight, **parts), training)
    for k in a.state:
        np.testing.assert_allclose(a.state[k], b.state[k], atol=1e-6)


class StopError(Exception):
    pass


@pytest.mark.parametrize("spec", [SMALL, FactorTransformer(8, 2, 1)], ids=["mlp", "transformer"])
@pytest.mark.parametrize("every", [0, 3])
def test_a_training_that_was_interrupted_ends_in_the_same_bytes(planted, tmp_path, spec, every):
    samples, training = planted(20), replace(QUICK, epochs=4, checkpoint_every=every)
    whole = fit_net(spec, samples, training)
    file, stops, seen = tmp_path / "net.safetensors", iter((2, 5, 6, 9, 13)), []

    for stop in (*stops, None):
        count = [0]

        def progress(stage, done, total, stop=stop, count=count):
            count[0] += 1
            seen.append((stage, done, total))
            if count[0] == stop:
                raise StopError

        try:
            net = fit_net(spec, samples, training, checkpoint=file, progress=progress)
        except StopError:
            continue
    assert same(net, whole)
    assert seen[-1] == ("train", 16, 16)
    # A finished training is read, not repeated.
    seen.clear()
    assert same(fit_net(spec, samples, training, checkpoint=file, progress=progress), whole)
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == [file]


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from alphaloom.nn import Mlp, Samples, Training, fit_net
rng = np.random.default_rng(0)
x = rng.normal(size=(3000, 40)).astype(np.float32)
date = np.arange(3000) // 30
y = x[:, 0] + rng.normal(size=3000)
samples = Samples(x, y, date, fit=date < 80, held=date >= 82)
training = Training(epochs=12, patience=0, dates_per_batch=2, checkpoint_every=5, lr=2e-3)
net = fit_net(Mlp((64, 32)), samples, training, checkpoint=Path(sys.argv[1]) if len(sys.argv) > 1 else None)
import hashlib
print(hashlib.sha256(b"".join(net.state[k].tobytes() for k in sorted(net.state))).hexdigest())
"""


def run(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, env=environment)


def killed(file) -> None:
    """Start the training and kill it as soon as it has written a checkpoint."""
    before = file.stat().st_mtime_ns if file.exists() else 0
    job = run(str(file))
    while job.poll() is None and (file.stat().st_mtime_ns if file.exists() else 0) == before:
        time.sleep(0.001)
    job.send_signal(signal.SIGKILL)
    job.communicate()


def test_equal_bytes_in_two_processes_and_after_a_kill(tmp_path):
    whole = run()  # beside the one that is killed
    killed(tmp_path / "net.safetensors")
    expected = whole.communicate()[0]
    assert run(str(tmp_path / "net.safetensors")).communicate()[0] == expected != b""


@pytest.mark.slow
def test_equal_bytes_after_many_kills(tmp_path):
    for _ in range(15):
        killed(tmp_path / "net.safetensors")
    assert run(str(tmp_path / "net.safetensors")).communicate()[0] == run().communicate()[0] != b""


def test_a_checkpoint_of_something_else_is_refused(planted, tmp_path):
    file = tmp_path / "net.safetensors"
    fit_net(SMALL, planted(20), replace(QUICK, epochs=1), checkpoint=file)
    for spec, samples, training in (
        (Mlp((16, 9)), planted(20), replace(QUICK, epochs=1)),
        (SMALL, planted(20, seed=1), replace(QUICK, epochs=1)),
        (SMALL, planted(20), replace(QUICK, epochs=1, seed=1)),
    ):
        with pytest.raises(DataError, match="goes on with the net"):
            fit_net(spec, samples, training, checkpoint=file)
    fit_net(SMALL, planted(20), replace(QUICK, epochs=1, checkpoint_every=2), checkpoint=file)
    for text in (b"", b"no tensors", file.read_bytes()[:100]):
        file.write_bytes(text)
        with pytest.raises(DataError, match="a checkpoint is a safetensors file"):
            fit_net(SMALL, planted(20), replace(QUICK, epochs=1), checkpoint=file)


def test_torch_is_left_as_it_was(planted):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    net = fit_net(SMALL, planted(20), replace(QUICK, epochs=1, threads=2))
    net.predict(np.zeros((3, 6)))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(6)  # nor does a training depend on what it finds
    assert same(net, fit_net(SMALL, planted(20), replace(QUICK, epochs=1, threads=2)))
    assert not same(net, fit_net(SMALL, planted(20), replace(QUICK, epochs=1, threads=2, seed=1)))


@pytest.mark.parametrize(
    "spec", [Mlp(), FactorTransformer(16, 4, 2), Recurrent(hidden=16)], ids=lambda s: type(s).__name__
)
def test_what_is_said_of_a_row_depends_on_no_other_row(spec):
    torch.manual_seed(0)
    state = {name: values.numpy() for name, values in spec.build(9, 2).state_dict().items()}
    net = FittedNet(spec, 9, 2, state, {})
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 5, 9) if isinstance(spec, Recurrent) else (700, 9)).astype(np.float32)
    whole = net.predict(x)
    order = rng.permutation(700)
    np.testing.assert_array_equal(net.predict(x[order]), whole[order])
    for start, stop in ((0, 1), (3, 10), (100, 357), (699, 700)):
        np.testing.assert_array_equal(net.predict(x[start:stop]), whole[start:stop])
    assert net.predict(x[:0]).shape == (0, 2)


def test_a_net_is_stored_and_read_back(planted):
    net = fit_net(SMALL, planted(20), replace(QUICK, epochs=2))
    back = FittedNet.from_state(net.to_state())
    assert same(net, back)
    assert back.spec == SMALL
    np.testing.assert_array_equal(net.predict(planted().x), back.predict(planted().x))
    wrong = {**net.to_state(), "features": 7}
    with pytest.raises(DataError, match="fit their net"):
        FittedNet.from_state(wrong)


def test_half_precision_learns_as_well(planted):
    full, half = (fit_net(SMALL, planted(), replace(QUICK, epochs=10, amp=amp)) for amp in (False, True))
    assert not same(full, half)
    assert ic(half, planted()) == pytest.approx(ic(full, planted()), abs=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is present")
def test_a_missing_card_is_said(planted):
    with pytest.raises(DataError, match="device is present"):
        fit_net(SMALL, planted(20), replace(QUICK, device="cuda"))


@pytest.mark.gpu
def test_a_card_learns_as_well(planted):
    net = fit_net(SMALL, planted(), replace(QUICK, epochs=10, device="cuda", amp=True))
    assert ic(net, planted()) > 0.35


def test_what_cannot_be_learnt_is_said(planted):
    one = planted(20)
    with pytest.raises(SolveError, match="samples that have labels"):
        fit_net(SMALL, Samples(one.x, np.full(len(one.y), np.nan), one.date), QUICK)
    with pytest.raises(SolveError, match="finite number"):
        fit_net(SMALL, Samples(one.x, one.y * 1e25, one.date), replace(QUICK, clip=0.0))


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"loss": "mae"},
        {"judge": "luck"},
        {"device": "tpu"},
        {"threads": 0},
    ],
)
def test_settings_that_no_training_could_use_are_refused(bad):
    with pytest.raises(DataError) as fault:
        Training(**bad)
    assert fault.value.where == f"Training.{next(iter(bad))}"


def test_the_door_opens_without_torch():
    code = "import sys, alphaloom.nn, alphaloom.forecast.neural; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
