"""Optimizers, their saved state, schedules and the moving average of weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vaegan.errors import VaeganError
from vaegan.training.optim import (
    EMA,
    MATCH_ADAM_RMS,
    ClippedAdam,
    Muon,
    inverse_sqrt_decay,
    is_matrix,
    load_optimizer_state_dict,
    make_optimizer,
    newton_schulz_factors,
    optimizer_state_dict,
)

BETAS = (0.9, 0.99)


def make_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(), nn.Flatten(), nn.Linear(8 * 16, 6), nn.Linear(6, 1))


def train(model, optimizer, steps, first=0):
    for step in range(first, first + steps):
        images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=True)
        loss = (model(images) - images.mean((1, 2, 3))[:, None]).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()


def orthogonalize(matrix):
    """Take one step of Muon with a momentum of 0 and without the learning rate."""
    factors = newton_schulz_factors(torch.stack([matrix @ matrix.T]))
    return factors[0] @ matrix


def orthogonalize_plainly(matrix, a=3.4445, b=-4.7750, c=2.0315):
    """Iterate on the matrix itself, in double precision, as published (Jordan et al. 2024)."""
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def with_singular_values(rows, columns, values):
    generator = torch.Generator().manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(rows, columns, generator=generator), full_matrices=False)
    return u @ torch.diag(values) @ vh


def ill_conditioned_matrices():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(48, 200, generator=generator)
    outer = torch.randn(48, 1, generator=generator) @ torch.randn(1, 200, generator=generator)
    twins = noise.clone()
    twins[1] = twins[0] * (1 + 1e-5)
    half = noise.clone()
    half[24:] = 0
    return {
        "noise": noise,
        "rank 1 and noise": outer + 1e-3 * noise,
        "rank 1 and little noise": outer + 1e-6 * noise,
        "nearly equal rows": twins,
        "rows of zeros": half,
        "columns of zeros": torch.cat([noise, torch.zeros(48, 100)], 1),
        "decaying singular values": with_singular_values(48, 200, torch.logspace(0, -7, 48)),
        "square, nearly singular": with_singular_values(48, 48, torch.logspace(0, -4, 48)),
    }


@pytest.mark.parametrize("name", ill_conditioned_matrices())
def test_the_iteration_on_gram_matrices_is_that_on_the_matrices(name):
    matrix = ill_conditioned_matrices()[name]
    expected = orthogonalize_plainly(matrix)
    assert (orthogonalize(matrix) - expected).norm() < 1e-3 * expected.norm()


def test_matrices_of_one_group_do_not_mix():
    matrices = [torch.randn(6, columns, generator=torch.Generator().manual_seed(columns)) for columns in (6, 9, 40)]
    factors = newton_schulz_factors(torch.stack([matrix @ matrix.T for matrix in matrices]))
    for matrix, factor in zip(matrices, factors, strict=True):
        assert torch.allclose(factor @ matrix, orthogonalize(matrix), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 24), columns=st.integers(1, 96), seed=st.integers(0, 99), scale=st.sampled_from([1e-6, 1, 1e6])
)
def test_an_orthogonalized_matrix_keeps_singular_vectors_and_equalizes_singular_values(rows, columns, seed, scale):
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale
    u, singular_values, vh = torch.linalg.svd(matrix, full_matrices=False)
    result = u.T @ orthogonalize(matrix) @ vh.T
    is_large = singular_values > 0.05 * singular_values.norm()  # five iterations do not bring smaller ones up to 1
    assert result.diagonal()[is_large].min() > 0.6 and result.diagonal().max() < 1.25
    assert (result - result.diagonal().diag()).abs().max() < 1e-2


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e-19])
def test_a_matrix_that_is_almost_zero_is_not_blown_up(scale):
    result = orthogonalize(scale * torch.randn(3, 9, generator=torch.Generator().manual_seed(0)))
    assert result.isfinite().all() and result.norm() < 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "shape", [(8, 3, 4, 4), (64, 3, 4, 4), (3, 8, 3, 3), (2, 1, 1, 1), (5, 1, 2, 2), (6, 10), (10, 6)]
)
def test_muon_moves_a_weight_of_any_layout_along_its_orthogonalized_gradient(layout, shape):
    layout = layout if len(shape) == 4 else torch.contiguous_format
    weight, gradient = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    module = nn.Module()
    module.weight, module.bias = nn.Parameter(weight.clone(memory_format=layout)), nn.Parameter(torch.zeros(1))
    optimizer = Muon(module, 1.0, BETAS, 0.0)
    module.weight.grad = gradient.clone()  # contiguous: a gradient's layout may differ from its weight's
    optimizer.step()
    matrix = gradient.flatten(1)
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    update = orthogonalize_plainly(wide).float() * MATCH_ADAM_RMS * max(matrix.shape) ** 0.5
    update = update if matrix.shape[0] <= matrix.shape[1] else update.T
    assert torch.allclose(module.weight, weight - update.reshape(shape), atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.95])
def test_muon_learns_and_its_updates_have_the_size_of_the_learning_rate(momentum):
    model = make_network()
    initial = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = Muon(model, 1e-2, BETAS, momentum)
    first_loss = train(model, optimizer, 1)
    for parameter, before in zip(model.parameters(), initial, strict=True):
        update = parameter.detach() - before
        if is_matrix(parameter):
            matrix = update.flatten(1)
            singular_values = torch.linalg.svdvals(matrix) / (1e-2 * MATCH_ADAM_RMS * max(matrix.shape) ** 0.5)
            assert 0.5 < singular_values.max() < 1.25
        else:
            assert update.abs().max() == pytest.approx(1e-2, rel=1e-3)  # Adam's first step
    assert train(model, optimizer, 60, first=1) < 0.2 * first_loss


class RecordedPrecision(TorchDispatchMode):
    """Record, for each operation, whether float32 products may round their factors to bfloat16."""

    def __init__(self):
        super().__init__()
        self.settings = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.settings.setdefault(func.overloadpacket.__name__, set()).add(torch.backends.mkldnn.matmul.fp32_precision)
        return func(*args, **(kwargs or {}))


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="needs torch 2.9")
@pytest.mark.parametrize(("precision", "of_long_sides"), [("fp32", None), ("bf16", "bf16")])
def test_only_products_of_long_sides_may_round_to_bf16(precision, of_long_sides):
    model = make_network()
    optimizer = Muon(model, 1e-2, BETAS, 0.9, precision)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    before = torch.backends.mkldnn.matmul.fp32_precision
    with RecordedPrecision() as recorded:
        optimizer.step()
    assert recorded.settings["mm"] == recorded.settings["addmm_"] == {of_long_sides or before}
    assert recorded.settings["bmm"] == recorded.settings["baddbmm"] == {before}


def test_rounding_long_sides_to_bf16_hardly_changes_an_update():
    """As on a CPU with AMX, which this machine may lack."""
    matrix = torch.randn(48, 300, generator=torch.Generator().manual_seed(0))
    rounded = matrix.bfloat16().float()
    factor = newton_schulz_factors((rounded @ rounded.T)[None])[0].bfloat16().float()
    assert torch.cosine_similarity((factor @ rounded).flatten(), orthogonalize(matrix).flatten(), dim=0) > 0.9999


@pytest.mark.parametrize("matrix", ill_conditioned_matrices().values(), ids=ill_conditioned_matrices())
def test_rounding_long_sides_to_bf16_does_not_blow_up_an_update(matrix):
    rounded = matrix.bfloat16().float()
    factor = newton_schulz_factors((rounded @ rounded.T)[None])[0].bfloat16().float()
    assert torch.linalg.matrix_norm(factor @ rounded, 2) < 1.5


@pytest.mark.parametrize("options", [("muon", BETAS, 0.0), ("adam", BETAS, 0.0), ("adam", (0.0, 0.99), 0.7)])
def test_training_resumes_to_the_bit_from_named_tensors(options):
    name, betas, update_clip = options
    expected, resumed = make_network(), make_network()
    optimizer = make_optimizer(name, expected, 1e-2, betas, 0.95, update_clip)
    train(expected, optimizer, 6)
    train(resumed, before := make_optimizer(name, resumed, 1e-2, betas, 0.95, update_clip), 3)
    tensors = {key: value.clone() for key, value in optimizer_state_dict(before, resumed).items()}
    after = make_optimizer(name, resumed, 1e-2, betas, 0.95, update_clip)
    load_optimizer_state_dict(after, resumed, tensors)
    train(resumed, after, 3, first=3)
    for parameter, expected_parameter in zip(resumed.parameters(), expected.parameters(), strict=True):
        assert parameter.equal(expected_parameter)


@pytest.mark.parametrize(("name", "missing"), [("muon", "momentum.3.weight"), ("adam", "exp_avg.3.weight")])
def test_a_state_that_does_not_fit_is_refused(name, missing):
    model = make_network()
    optimizer = make_optimizer(name, model, 1e-2, BETAS, 0.95)
    train(model, optimizer, 1)
    tensors = optimizer_state_dict(optimizer, model)
    with pytest.raises(VaeganError, match=r"3\.weight is missing or does not fit"):
        load_optimizer_state_dict(optimizer, model, {key: value for key, value in tensors.items() if key != missing})
    other = "adam" if name == "muon" else "muon"
    with pytest.raises(VaeganError, match="is missing or does not fit"):
        load_optimizer_state_dict(make_optimizer(other, model, 1e-2, BETAS, 0.95), model, tensors)


def measure_updates(update_clip, scales, betas=(0.0, 0.99)):
    """Return the updates by gradients of one direction, in units of the learning rate."""
    weights = [nn.Parameter(torch.zeros(4, 5)), nn.Parameter(torch.zeros(7))]
    optimizer = ClippedAdam(weights, 1e-3, betas, update_clip)
    generator = torch.Generator().manual_seed(0)
    directions, updates = [torch.randn(weight.shape, generator=generator) for weight in weights], []
    for scale in scales:
        before = [weight.detach().clone() for weight in weights]
        for weight, direction in zip(weights, directions, strict=True):
            weight.grad = scale * direction
        optimizer.step()
        pairs = zip(weights, before, strict=True)
        updates.append(torch.cat([(weight.detach() - previous).flatten() for weight, previous in pairs]) / 1e-3)
        assert optimizer.param_groups[0]["lr"] == 1e-3
    return updates


def clipped_adam_plainly(gradients, betas, update_clip):
    """Return the updates of one weight, in units of the learning rate, by the formulas of both papers."""
    average = square_average = 0.0
    updates = []
    for step, gradient in enumerate(gradients, 1):
        average = betas[0] * average + (1 - betas[0]) * gradient
        square_average = betas[1] * square_average + (1 - betas[1]) * gradient.square()
        root = (square_average / (1 - betas[1] ** step)).sqrt() + 1e-8
        clip_factor = min(1.0, update_clip / float((gradient / root).square().mean().sqrt()))
        updates.append(-clip_factor * average / (1 - betas[0] ** step) / root)
    return updates


@pytest.mark.parametrize("betas", [(0.0, 0.99), (0.9, 0.99)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_clipped_step_follows_the_formulas(betas, layout):
    generator = torch.Generator().manual_seed(0)
    scales = [1.0, 0.2, 8.0, 0.1, 3.0, 0.01]
    gradients = [scale * torch.randn(4 * 3 * 9 + 7, generator=generator) for scale in scales]
    expected = clipped_adam_plainly([gradient.double() for gradient in gradients], betas, 0.7)
    weights = [
        nn.Parameter(torch.zeros(4, 3, 3, 3).contiguous(memory_format=layout)),
        nn.Parameter(torch.zeros(7)),
        nn.Parameter(torch.zeros(5)),  # without gradient, as a frozen layer
    ]
    optimizer = ClippedAdam(weights, 1e-3, betas, 0.7)
    total = torch.zeros(4 * 3 * 9 + 7, dtype=torch.double)
    for gradient, update in zip(gradients, expected, strict=True):
        weights[0].grad, weights[1].grad = gradient[:-7].view(4, 3, 3, 3).clone(), gradient[-7:].clone()
        optimizer.step()
        total += 1e-3 * update
        moved = torch.cat([weight.detach().flatten() for weight in weights[:2]])
        torch.testing.assert_close(moved, total.float(), atol=1e-8, rtol=2e-5)
    assert weights[2].equal(torch.zeros(5)) and weights[2] not in optimizer.state


def test_a_clipped_step_reads_no_value_from_another_device():
    """Reading a value of a GPU waits for all of its work. A tensor on the meta device has no value to read."""
    weights = [nn.Parameter(torch.empty(3, 4, device="meta")), nn.Parameter(torch.empty(2, device="meta"))]
    optimizer = ClippedAdam(weights, 1e-3, (0.5, 0.99), 0.7)
    for _ in range(2):
        for weight in weights:
            weight.grad = torch.empty_like(weight)
        optimizer.step()
    assert [float(optimizer.state[weight]["step"]) for weight in weights] == [2.0, 2.0]


def test_only_an_update_over_the_limit_is_clipped():
    scales = [1.0] + [0.3] * 40 + [20.0]
    free, clipped = measure_updates(0.0, scales), measure_updates(0.7, scales)
    assert free[-1].square().mean().sqrt() > 5
    assert clipped[-1].square().mean().sqrt() == pytest.approx(0.7, rel=1e-3)
    assert torch.allclose(clipped[-1] / clipped[-1].norm(), free[-1] / free[-1].norm(), atol=1e-3)
    assert free[5].square().mean().sqrt() < 0.7 and torch.allclose(clipped[5], free[5], atol=1e-3)


def test_zero_gradients_cause_no_division_by_zero():
    weight = nn.Parameter(torch.ones(3))
    optimizer = ClippedAdam([weight], 1e-3, (0.0, 0.99), 0.7)
    for _ in range(2):
        weight.grad = torch.zeros(3)
        optimizer.step()
    assert weight.equal(torch.ones(3))


def test_the_learning_rate_decays_by_images_not_by_the_length_of_the_run():
    assert [inverse_sqrt_decay(images_seen, 100) for images_seen in (1, 100, 400, 10_000)] == [1, 1, 0.5, 0.1]
    assert inverse_sqrt_decay(10**9, 0) == 1


def test_ema_halves_after_its_halflife():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    ema = EMA(model, halflife=64)
    torch.nn.init.ones_(model.weight)
    for _ in range(8):
        ema.update(model, images_seen=10**6, batch_size=8)
    assert ema.model.weight.item() == pytest.approx(0.5)
    ema = EMA(model, halflife=0)
    torch.nn.init.constant_(model.weight, 5.0)
    ema.update(model, 8, 8)
    assert ema.model.weight.item() == 5.0


def test_ema_carries_buffers():
    model = torch.nn.BatchNorm1d(2)
    ema = EMA(model, 1000)
    model(torch.randn(8, 2) + 4)
    ema.update(model, 8, 8)
    assert torch.equal(ema.model.running_mean, model.running_mean)
