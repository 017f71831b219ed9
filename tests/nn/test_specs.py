from __future__ import annotations

import pytest
import torch

from alphaloom.errors import DataError
from alphaloom.nn import FactorTransformer, Mlp, Recurrent
from alphaloom.nn.modules import said_in_parts
from alphaloom.nn.specs import spec_from_state, spec_state

SPECS = (
    Mlp(),
    Mlp((8,), 0.0),
    FactorTransformer(8, 2, 1),
    FactorTransformer(8, 2, 1, tokens=3),
    Recurrent(hidden=5),
    Recurrent("lstm", 5, 1),
)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_nets_have_the_shapes_that_they_say(spec):
    torch.manual_seed(0)
    net = spec.build(7, 3).eval()
    x = torch.randn(4, 6, 7) if isinstance(spec, Recurrent) else torch.randn(4, 7)
    said = net(x)
    assert said.shape == (4, 3)
    assert torch.allclose(net(x[2:3]), said[2:3], atol=1e-5)
    assert spec_from_state(spec_state(spec)) == spec
    assert hash(spec) == hash(spec_from_state(spec_state(spec)))


def test_the_default_net_of_layers_is_the_published_one():
    widths = [layer.weight.shape for layer in Mlp().build(158, 1) if isinstance(layer, torch.nn.Linear)]
    assert widths == [(256, 158), (128, 256), (1, 128)]
    assert [type(layer).__name__ for layer in Mlp().build(4, 1)].count("GELU") == 2


def test_every_factor_is_a_token_and_sharing_them_needs_fewer():
    whole = FactorTransformer(8, 2, 1).build(10, 1)
    shared = FactorTransformer(8, 2, 1, tokens=4).build(10, 1)
    assert (whole.tokens, whole.group, shared.tokens, shared.group, shared.spare) == (10, 1, 4, 3, 2)
    assert FactorTransformer(8, 2, 1, tokens=50).build(10, 1).tokens == 10
    # A token of one factor: its value times the direction, plus the place, however it is computed.
    x = torch.randn(3, 10)
    grouped = torch.einsum("rkg,kgd->rkd", x.view(3, 10, 1), whole.direction) + whole.place
    assert torch.allclose(torch.addcmul(whole.place, x[..., None], whole.direction[:, 0]), grouped, atol=1e-6)


def test_a_batch_in_parts_has_the_gradient_of_the_whole():
    net = FactorTransformer(8, 2, 2, dropout=0.0).build(10, 1)
    x, slopes = torch.randn(50, 10), []
    for rows in (1000, 7):
        net.rows_at_once = rows
        net.zero_grad()
        said_in_parts(net, x).square().mean().backward()
        slopes.append([part.grad.clone() for part in net.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*slopes, strict=True))
    # With dropout the way back must drop what was dropped on the way there: a step down the slope then helps.
    net = FactorTransformer(8, 2, 2, dropout=0.5).build(10, 1).train()
    net.rows_at_once = 7
    torch.manual_seed(0)
    before = said_in_parts(net, x).square().mean()
    before.backward()
    with torch.no_grad():
        for part in net.parameters():
            part -= 1e-3 * part.grad
        torch.manual_seed(0)
        after = said_in_parts(net, x).square().mean()
        total = sum(float(part.grad.square().sum()) for part in net.parameters())
    assert float(before.detach() - after) == pytest.approx(1e-3 * total, rel=0.1)


def test_a_memory_forgets_no_bar_and_sees_the_last_last():
    torch.manual_seed(1)
    net = Recurrent(hidden=8, layers=1).build(2, 1).eval()
    x = torch.randn(1, 5, 2)
    for back in range(5):
        other = x.clone()
        other[0, back] += 1.0
        assert not torch.equal(net(other), net(x))
    assert not torch.equal(net(x.flip(1)), net(x))


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: Mlp(()), "Mlp.hidden"),
        (lambda: Mlp((8, 0)), "Mlp.hidden"),
        (lambda: Mlp(dropout=1.0), "Mlp.dropout"),
        (lambda: FactorTransformer(10, 4), "FactorTransformer.heads"),
        (lambda: FactorTransformer(tokens=-1), "FactorTransformer.tokens"),
        (lambda: Recurrent("rnn"), "Recurrent.cell"),
        (lambda: Recurrent(layers=0), "Recurrent.layers"),
        (lambda: spec_from_state({"kind": "other"}), "net.kind"),
    ],
)
def test_nets_that_cannot_be_built_are_refused(make, where):
    with pytest.raises(DataError) as fault:
        make()
    assert fault.value.where == where
