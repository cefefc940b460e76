import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vaegan.errors import VaeganError
from vaegan.training.optim import (
    MATCH_ADAM_RMS,
    ClippedAdam,
    Muon,
    is_matrix,
    load_optimizer_state_dict,
    make_optimizer,
    newton_schulz_orthogonalize,
    optimizer_state_dict,
)

BETAS = (0.9, 0.99)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(), nn.Flatten(), nn.Linear(8 * 16, 6), nn.Linear(6, 1))


def train(model, optimizer, steps, first=0):
    for step in range(first, first + steps):
        pictures = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=True)
        loss = (model(pictures) - pictures.mean((1, 2, 3))[:, None]).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 24), columns=st.integers(1, 96), seed=st.integers(0, 99), size=st.sampled_from([1e-6, 1, 1e6])
)
def test_an_orthogonalised_matrix_keeps_its_directions_and_levels_their_sizes(rows, columns, seed, size):
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * size
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    levelled = left.T @ newton_schulz_orthogonalize(matrix) @ right.T
    known = sizes > 0.05 * sizes.norm()  # five steps bring a share of 1/20 up
    assert levelled.diagonal()[known].min() > 0.6 and levelled.diagonal().max() < 1.25
    assert (levelled - levelled.diagonal().diag()).abs().max() < 1e-2


def test_nothing_is_orthogonalised_to_nothing():
    assert newton_schulz_orthogonalize(torch.zeros(3, 9)).equal(torch.zeros(3, 9))


@pytest.mark.parametrize("momentum", [0.0, 0.95])
def test_muon_learns_and_its_matrices_move_by_the_rate(momentum):
    model = network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = Muon(model, 1e-2, BETAS, momentum)
    start = train(model, optimizer, 1)
    for parameter, was in zip(model.parameters(), before, strict=True):
        moved = parameter.detach() - was
        if is_matrix(parameter):
            sides = moved.flatten(1).shape
            singular = torch.linalg.svdvals(moved.flatten(1)) / (1e-2 * MATCH_ADAM_RMS * max(sides) ** 0.5)
            assert 0.5 < singular.max() < 1.25
        else:
            assert moved.abs().max() == pytest.approx(1e-2, rel=1e-3)  # Adam's first step
    assert train(model, optimizer, 60, first=1) < 0.2 * start


@pytest.mark.parametrize("name", ["muon", "adam"])
def test_training_goes_on_to_the_bit_from_named_tensors(name):
    whole, part = network(), network()
    optimizer = make_optimizer(name, whole, 1e-2, BETAS, 0.95)
    train(whole, optimizer, 6)
    train(part, before := make_optimizer(name, part, 1e-2, BETAS, 0.95), 3)
    tensors = {key: value.clone() for key, value in optimizer_state_dict(before, part).items()}
    after = make_optimizer(name, part, 1e-2, BETAS, 0.95)
    load_optimizer_state_dict(after, part, tensors)
    train(part, after, 3, first=3)
    for mine, wanted in zip(part.parameters(), whole.parameters(), strict=True):
        assert mine.equal(wanted)


@pytest.mark.parametrize(("name", "lost"), [("muon", "momentum.3.weight"), ("adam", "exp_avg.3.weight")])
def test_a_state_that_does_not_fit_is_refused(name, lost):
    model = network()
    optimizer = make_optimizer(name, model, 1e-2, BETAS, 0.95)
    train(model, optimizer, 1)
    tensors = optimizer_state_dict(optimizer, model)
    with pytest.raises(VaeganError, match=r"3\.weight is missing or does not fit"):
        load_optimizer_state_dict(optimizer, model, {key: value for key, value in tensors.items() if key != lost})
    other = "adam" if name == "muon" else "muon"
    with pytest.raises(VaeganError, match="is missing or does not fit"):
        load_optimizer_state_dict(make_optimizer(other, model, 1e-2, BETAS, 0.95), model, tensors)


def moved(update_clip, sizes, betas=(0.0, 0.99)):
    """Updates, in units of the rate, by gradients of one direction and these sizes; and what was said to come."""
    weights = [nn.Parameter(torch.zeros(4, 5)), nn.Parameter(torch.zeros(7))]
    optimizer = ClippedAdam(weights, 1e-3, betas, update_clip)
    draws = torch.Generator().manual_seed(0)
    shapes, updates, said = [torch.randn(weight.shape, generator=draws) for weight in weights], [], []
    for size in sizes:
        before = [weight.detach().clone() for weight in weights]
        for weight, shape in zip(weights, shapes, strict=True):
            weight.grad = size * shape
        said.append(optimizer.next_update_rms())
        optimizer.step()
        pairs = zip(weights, before, strict=True)
        updates.append(torch.cat([(weight.detach() - was).flatten() for weight, was in pairs]) / 1e-3)
        assert optimizer.param_groups[0]["lr"] == 1e-3
    return updates, said


@pytest.mark.parametrize("last", [0.1, 1.0, 30.0])
def test_an_updates_size_is_known_before_it_is_taken(last):
    updates, said = moved(0.0, [1.0, 2.0, 0.5, 1.5, last])
    assert said == pytest.approx([float(update.square().mean().sqrt()) for update in updates], rel=1e-3)


def test_an_update_that_would_be_too_long_is_shortened_and_others_are_not_changed():
    sizes = [1.0] + [0.3] * 40 + [20.0]
    free, clipped = moved(0.0, sizes)[0], moved(0.7, sizes)[0]
    assert free[-1].square().mean().sqrt() > 5
    assert clipped[-1].square().mean().sqrt() == pytest.approx(0.7, rel=1e-3)
    assert torch.allclose(clipped[-1] / clipped[-1].norm(), free[-1] / free[-1].norm(), atol=1e-3)
    assert free[5].square().mean().sqrt() < 0.7 and torch.allclose(clipped[5], free[5], atol=1e-3)


def test_without_gradients_nothing_is_divided_by_zero():
    weight = nn.Parameter(torch.ones(3))
    optimizer = ClippedAdam([weight], 1e-3, (0.0, 0.99), 0.7)
    for _ in range(2):
        weight.grad = torch.zeros(3)
        optimizer.step()
    assert weight.equal(torch.ones(3))
