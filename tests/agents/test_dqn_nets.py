"""The nets' own gradient against the automatic one, and the target scale that changes no value."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from alphaloom.agents.dqn_alignment import Member, gradient_to_pool  # noqa: E402
from alphaloom.agents.dqn_nets import Experts  # noqa: E402


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("K", [1, 3])
def test_the_gradient_is_that_of_automatic_differentiation(K, dueling):
    random = np.random.default_rng(0)
    net = Experts(K, 5, 7, dueling=dueling, random=random)
    x = torch.from_numpy(random.standard_normal((K, 11, 5)).astype(np.float32))
    dq = torch.from_numpy(random.standard_normal((K, 11, 2)).astype(np.float32))
    leaf = net.flat.clone().requires_grad_(True)
    twin = net.twin()
    views, at = {}, 0
    for name, shape in net.shapes.items():
        size = int(np.prod(shape))
        views[name] = leaf[at : at + size].view(shape)
        at += size
    hidden = x
    for layer in (1, 2):
        hidden = torch.relu(torch.baddbmm(views[f"b{layer}"], hidden, views[f"w{layer}"]))
    out = torch.baddbmm(views["b3"], hidden, views["w3"])
    if dueling:
        out = out[..., :1] + out[..., 1:] - out[..., 1:].mean(-1, keepdim=True)
    (out * dq).sum().backward()
    passed = twin.forward(x)
    twin.backward(passed, dq)
    assert torch.allclose(passed.q, out, atol=1e-6)
    assert torch.allclose(twin.slope, leaf.grad, atol=1e-5)


@pytest.mark.parametrize("dueling", [False, True])
def test_rescaling_makes_every_expert_say_factor_times_value_plus_shift(dueling):
    random = np.random.default_rng(1)
    net = Experts(2, 4, 6, dueling=dueling, random=random)
    x = torch.from_numpy(random.standard_normal((2, 9, 4)).astype(np.float32))
    before = net.forward(x).q.clone()
    factor, shift = torch.tensor([2.0, 0.5]), torch.tensor([-1.0, 3.0])
    net.rescale(factor, shift)
    assert torch.allclose(net.forward(x).q, before * factor[:, None, None] + shift[:, None, None], atol=1e-5)


def test_the_slope_to_the_pool_is_that_of_the_distance():
    random = np.random.default_rng(2)
    values = torch.from_numpy(random.standard_normal((3, 8)))
    pool = values.clone().reshape(-1)
    mean, spread = 0.2, 1.5

    def distance(part):
        def apart(a, b):
            return (a[:, None] - b[None, :]).abs().mean()

        energy = 2.0 * apart(part, pool) - apart(part, part) - apart(pool, pool)
        return (part.mean() - mean) ** 2 + (part.std(correction=0) - spread) ** 2 + energy

    found = gradient_to_pool(values, mean, spread)
    for k in range(3):
        leaf = values[k].clone().requires_grad_(True)
        distance(leaf).backward()
        assert torch.allclose(found[k].double(), leaf.grad, atol=1e-5)


@pytest.mark.parametrize("dueling", [False, True])
def test_the_stored_net_says_what_the_trained_one_says(dueling):
    random = np.random.default_rng(3)
    net = Experts(3, 5, 8, dueling=dueling, random=random)
    x = random.standard_normal((4, 6, 5)).astype(np.float32)  # 4 rows of 6 assets
    place = np.array([0, 1, 2, 2, 1, 0])
    member = Member(net.arrays(), dueling, 0.5, np.array([1.0, 2.0, 3.0]), np.ones(3), np.zeros((3, 1)))
    said = member.outputs(x, place)
    for i, k in enumerate(place):
        own = net.forward(torch.from_numpy(np.repeat(x[None, :, i], 3, axis=0))).q[k].numpy()
        assert np.allclose(said[:, i], own, atol=1e-6)
    assert np.allclose(member.values(x, place)[:, 1], 0.5 * (said[:, 1] + 2.0), atol=1e-6)
    # What is said of a row does not depend on which rows are asked with it.
    assert np.array_equal(member.outputs(x[2:3], place), said[2:3])
