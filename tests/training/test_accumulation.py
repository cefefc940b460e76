"""A step in micro-batches is the step of the whole batch: exactly in float64, up to rounding in float32."""

from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.events import WarningMessage
from vaegan.losses.gan import LOSSES
from vaegan.losses.vae import LIKELIHOODS
from vaegan.models.vae import VAE
from vaegan.training import gan_batch
from vaegan.training import gan_trainer as gan_module
from vaegan.training import vae_trainer as vae_module
from vaegan.training.accumulation import (
    GradientAccumulator,
    are_all_finite,
    clip_grad_norm_,
    evenly_spaced_mask,
)
from vaegan.training.batch_rows import split_rows
from vaegan.training.distributed import DistributedContext
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import fork_rng_with_seed

CPU = DeviceContext(torch.device("cpu"), "fp32")
CONFIG = ModelConfig(32, 3, 8, 8)


@pytest.fixture
def float64(monkeypatch):
    """Compute everything in float64, so that rounding explains no difference."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for module in (gan_batch, vae_module):
        monkeypatch.setattr(module, "to_float", lambda images: images.double() / 127.5 - 1)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def images(prepared):
    return open_dataset(prepared).load()[0]


def accumulator_with(num_micro_batches):
    accumulator = GradientAccumulator()
    accumulator.num_micro_batches = num_micro_batches
    return accumulator


def vae_trainer(images, num_micro_batches=1, **options):
    settings = VAESettings(preset="tiny", latent_dim=8, batch_size=12, lr_warmup=0, **options)
    return vae_module.VAETrainer(CONFIG, settings, CPU, images, images, accumulator_with(num_micro_batches))


def gan_trainer(images, num_micro_batches=1, **options):
    settings = GANSettings(preset="tiny", batch_size=12, d_warmup_steps=1, gp_interval=2, **options)
    with fork_rng_with_seed(0, "a VAE"):
        vae = VAE(CONFIG)
    return gan_module.GANTrainer(CONFIG, settings, CPU, vae, accumulator_with(num_micro_batches))


def weights(trainer):
    return {name: tensor for name, tensor in trainer.state_dict().items() if not name.startswith("optimizer")}


def assert_close(tensors, expected):
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-9)


def assert_micro_batches_change_nothing(make_trainer, images, num_micro_batches):
    whole, split = make_trainer(1), make_trainer(num_micro_batches)
    for step in range(4):
        expected, metrics = (trainer.step(images[step : step + 12], step) for trainer in (whole, split))
        assert_close(metrics, expected)
    assert_close(weights(split), weights(whole))


@pytest.mark.parametrize("num_micro_batches", [2, 5, 12])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_vaes_step_does_not_depend_on_micro_batches(float64, images, likelihood, num_micro_batches):
    assert_micro_batches_change_nothing(
        lambda count: vae_trainer(images, count, likelihood=likelihood), images, num_micro_batches
    )


@pytest.mark.parametrize("options", [{"free_bits": 0.15}, {"grad_clip": 50.0}])
def test_free_bits_and_clipping_apply_to_the_whole_batch(float64, images, options):
    plain = vae_trainer(images, kl_warmup=0)
    assert_micro_batches_change_nothing(lambda count: vae_trainer(images, count, kl_warmup=0, **options), images, 5)
    other = vae_trainer(images, kl_warmup=0, **options)
    for trainer in (plain, other):
        for step in range(3):
            trainer.step(images[step : step + 12], step)
    plain_weights, other_weights = weights(plain), weights(other)
    differs = [not torch.equal(tensor, other_weights[name]) for name, tensor in plain_weights.items()]
    assert any(differs), "the option does nothing"


def test_clipping_scales_all_gradients_together():
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    clip_grad_norm_(gradients, 10.0)
    assert [gradient.tolist() for gradient in gradients] == [[3.0, 0.0], [[4.0]]]
    clip_grad_norm_(gradients, 1.0)
    torch.testing.assert_close(torch.cat([gradient.flatten() for gradient in gradients]), torch.tensor([0.6, 0, 0.8]))


@pytest.mark.parametrize("num_micro_batches", [2, 5, 12])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_gans_step_does_not_depend_on_micro_batches(float64, images, loss, num_micro_batches):
    """Including the pairs of the relativistic loss and the gradient penalties."""
    options = {"loss": loss, "augment": "color,translation,cutout"}
    assert_micro_batches_change_nothing(lambda count: gan_trainer(images, count, **options), images, num_micro_batches)


class LimitedMemory:
    """Lets a network run out of memory on more than `max_rows` images at once, and counts how often it does."""

    def __init__(self, network, max_rows):
        self.max_rows, self.failures = max_rows, 0
        network.register_forward_pre_hook(self.check)

    def check(self, network, arguments):
        if len(arguments[0]) > self.max_rows:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize(("max_rows", "num_micro_batches"), [(12, 1), (6, 2), (5, 4), (1, 12)])
def test_out_of_memory_doubles_the_micro_batches_and_warns_once(images, max_rows, num_micro_batches):
    whole, events = vae_trainer(images), []
    limited = vae_trainer(images)
    limited.accumulator.emit = events.append
    memory = LimitedMemory(limited.vae, max_rows)
    for step in range(3):
        whole.step(images[:12], step)
        limited.step(images[:12], step)
    assert limited.accumulator.num_micro_batches == num_micro_batches
    assert [type(event) for event in events] == [WarningMessage] * (num_micro_batches > 1)
    expected = f"out of memory with 12 images at once: every batch is now split into {num_micro_batches} micro-batches"
    assert all(expected in event.text for event in events)
    assert memory.failures == {1: 0, 2: 1, 4: 2, 12: 4}[num_micro_batches]
    expected, actual = weights(whole), weights(limited)
    assert max(float((expected[name] - actual[name]).abs().max()) for name in expected) < 1e-3


@pytest.mark.parametrize("likelihood", ["gaussian", "pyramid"])
def test_out_of_memory_computes_the_statistics_of_the_whole_batch(float64, images, likelihood):
    options = {"likelihood": likelihood, "free_bits": 0.15, "kl_warmup": 0}
    whole, limited = vae_trainer(images, **options), vae_trainer(images, **options)
    LimitedMemory(limited.vae.decoder, 5)
    for step in range(3):
        assert_close(limited.step(images[:12], step), whole.step(images[:12], step))
    assert limited.accumulator.num_micro_batches == 4
    assert_close(weights(limited), weights(whole))


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_out_of_memory_within_a_gans_step_repeats_no_update(float64, images, network):
    """In the generator's step, the discriminator is already updated: it must not be updated twice."""
    whole, limited = gan_trainer(images), gan_trainer(images)
    calls = {"count": 0}

    def fail_at_fourth_call(module, arguments):
        calls["count"] += 1
        if calls["count"] == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    modules = {"discriminator": limited.discriminator.trunk.layers[0], "generator": limited.generator}
    modules[network].register_forward_pre_hook(fail_at_fourth_call)
    for step in range(4):
        whole.step(images[:12], step)
        limited.step(images[:12], step)
    assert limited.accumulator.num_micro_batches == 2
    assert_close(weights(limited), weights(whole))


def test_one_image_that_does_not_fit_and_other_errors_are_raised(images):
    trainer = vae_trainer(images)
    LimitedMemory(trainer.vae, 0)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.step(images[:12], 0)
    assert trainer.accumulator.num_micro_batches == 12
    with (
        mock.patch.object(trainer, "_backward", side_effect=RuntimeError("a bug")),
        pytest.raises(RuntimeError, match="bug"),
    ):
        trainer.step(images[:12], 0)


def test_the_ranks_cover_the_batch_once():
    for world_size in (1, 2, 3, 5):
        ranks = [DistributedContext(rank, world_size) for rank in range(world_size)]
        rows = [row for rank in ranks for row in range(13)[rank.local_slice(13)]]
        assert rows == list(range(13))
        assert [len(GradientAccumulator(rank, 13).local_rows(torch.arange(13))) for rank in ranks] == [
            len(range(13)[rank.local_slice(13)]) for rank in ranks
        ]


@given(st.integers(1, 300), st.integers(1, 40))
def test_ranks_keep_the_groups_of_the_minibatch_deviation_together(batch_size, world_size):
    slices = [DistributedContext(rank, world_size).local_slice(batch_size) for rank in range(world_size)]
    assert [row for rows in slices for row in range(batch_size)[rows]] == list(range(batch_size))
    if batch_size >= 4 * world_size:
        assert all(rows.start % 4 == 0 for rows in slices)
        assert all(rows.stop - rows.start >= 4 for rows in slices)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 8))
def test_micro_batches_cover_the_rows_once_and_keep_groups_together(num_rows, num_micro_batches, group_size):
    slices = split_rows(num_rows, num_micro_batches, group_size)
    assert [row for rows in slices for row in range(rows.start, rows.stop)] == list(range(num_rows))
    assert len(slices) == min(num_micro_batches, max(1, num_rows // group_size))
    assert all(rows.start % group_size == 0 for rows in slices)


@given(st.floats(0, 1), st.integers(1, 300), st.data())
def test_an_evenly_spaced_mask_has_its_fraction_in_every_stretch(fraction, count, data):
    """So micro-batches and ranks get equal numbers of rows, up to one."""
    mask = evenly_spaced_mask(fraction, count)
    assert len(mask) == count
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    assert abs(int(mask[start:stop].sum()) - fraction * (stop - start)) < 1 + 1e-3


def test_a_fraction_of_whole_rows_is_met_exactly():
    for count in range(1, 130):
        for num_rows in range(count + 1):
            assert evenly_spaced_mask(num_rows / count, count).sum() == num_rows, (num_rows, count)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_non_finite_value_is_found(bad):
    tensors = [torch.ones(3), torch.ones(5, 5)]
    assert are_all_finite(tensors)
    tensors[1][3, 2] = bad
    assert not are_all_finite(tensors)
