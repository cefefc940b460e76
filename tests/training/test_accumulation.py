"""A batch that is worked through in parts gives the step of the whole: exactly in float64, to rounding in float32."""

from unittest import mock

import pytest
import torch

from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.events import WarningMessage
from vaegan.losses.gan import LOSSES
from vaegan.losses.vae import LIKELIHOODS
from vaegan.models.vae import VAE
from vaegan.training import gan_trainer as gan_module
from vaegan.training import vae_trainer as vae_module
from vaegan.training.accumulation import GradientAccumulator, are_all_finite, clip_grad_norm_
from vaegan.training.distributed import DistributedContext
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import fork_rng_with_seed

CPU = DeviceContext(torch.device("cpu"), "fp32")
CONFIG = ModelConfig(32, 3, 8, 8)


@pytest.fixture
def double(monkeypatch):
    """Everything in float64, so that what is left of a difference is no rounding."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for module in (gan_module, vae_module):
        monkeypatch.setattr(module, "to_float", lambda pictures: pictures.double() / 127.5 - 1)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def pictures(prepared):
    return open_dataset(prepared).load()[0]


def vae_trainer(pictures, parts, **options):
    shares = GradientAccumulator()
    shares.num_micro_batches = parts
    settings = VAESettings(preset="tiny", latent_dim=8, batch_size=12, lr_warmup=0, **options)
    return vae_module.VAETrainer(CONFIG, settings, CPU, pictures, pictures, shares)


def gan_trainer(pictures, parts, **options):
    shares = GradientAccumulator()
    shares.num_micro_batches = parts
    settings = GANSettings(preset="tiny", batch_size=12, d_warmup_steps=1, gp_interval=2, **options)
    with fork_rng_with_seed(0, "a VAE"):
        started = VAE(CONFIG)
    return gan_module.GANTrainer(CONFIG, settings, CPU, started, shares)


def weights(trainer):
    return {name: tensor for name, tensor in trainer.state_dict().items() if not name.startswith("optimizer")}


def assert_parts_change_nothing(make, pictures, parts):
    whole, split = make(1), make(parts)
    for step in range(4):
        one, other = (trainer.step(pictures[step : step + 12], step) for trainer in (whole, split))
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-9, atol=1e-9)
    mine, theirs = weights(whole), weights(split)
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("parts", [2, 5, 12])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_vaes_step_does_not_depend_on_the_parts(double, pictures, likelihood, parts):
    assert_parts_change_nothing(lambda n: vae_trainer(pictures, n, likelihood=likelihood), pictures, parts)


@pytest.mark.parametrize("options", [{"free_bits": 0.15}, {"grad_clip": 50.0}])
def test_free_bits_and_clipping_are_of_the_whole_batch(double, pictures, options):
    plain = vae_trainer(pictures, 1, kl_warmup=0)
    assert_parts_change_nothing(lambda n: vae_trainer(pictures, n, kl_warmup=0, **options), pictures, 5)
    other = vae_trainer(pictures, 1, kl_warmup=0, **options)
    for trainer in (plain, other):
        for step in range(3):
            trainer.step(pictures[step : step + 12], step)
    mine, theirs = weights(plain), weights(other)
    assert any(not torch.equal(mine[name], theirs[name]) for name in mine), "the option does nothing"


def test_clipping_shortens_all_gradients_together():
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    clip_grad_norm_(gradients, 10.0)
    assert [gradient.tolist() for gradient in gradients] == [[3.0, 0.0], [[4.0]]]
    clip_grad_norm_(gradients, 1.0)
    torch.testing.assert_close(torch.cat([gradient.flatten() for gradient in gradients]), torch.tensor([0.6, 0, 0.8]))


@pytest.mark.parametrize("parts", [2, 5, 12])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_gans_step_does_not_depend_on_the_parts(double, pictures, loss, parts):
    """Pairs of the relativistic loss and gradient penalties included."""
    options = {"loss": loss, "augment": "color,translation,cutout"}
    assert_parts_change_nothing(lambda n: gan_trainer(pictures, n, **options), pictures, parts)


class Memory:
    """A device on which a network can work on so many pictures at once."""

    def __init__(self, network, room):
        self.room, self.failures = room, 0
        network.register_forward_pre_hook(self.check)

    def check(self, network, arguments):
        if len(arguments[0]) > self.room:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize(("room", "parts"), [(12, 1), (6, 2), (5, 4), (1, 12)])
def test_out_of_memory_halves_the_parts_and_says_so_once(pictures, room, parts):
    whole, told = vae_trainer(pictures, 1), []
    short = vae_trainer(pictures, 1)
    short.accumulator.emit = told.append
    memory = Memory(short.vae, room)
    for step in range(3):
        whole.step(pictures[:12], step)
        short.step(pictures[:12], step)
    assert short.accumulator.num_micro_batches == parts
    assert [type(event) for event in told] == [WarningMessage] * (parts > 1)
    assert all(
        f"12 pictures at once do not fit the memory: every batch is now worked through in {parts} parts" in event.text
        for event in told
    )
    assert memory.failures == {1: 0, 2: 1, 4: 2, 12: 4}[parts]
    mine, theirs = weights(whole), weights(short)
    assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) < 1e-3


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_out_of_memory_amid_a_gans_step_loses_nothing_of_it(double, pictures, network):
    """In the generator's update the discriminator's is already done: it must not be done twice."""
    whole, short = gan_trainer(pictures, 1), gan_trainer(pictures, 1)
    calls = {"count": 0}

    def fails_late(module, arguments):
        calls["count"] += 1
        if calls["count"] == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    getattr(short, network).register_forward_pre_hook(fails_late)
    for step in range(4):
        whole.step(pictures[:12], step)
        short.step(pictures[:12], step)
    assert short.accumulator.num_micro_batches == 2
    mine, theirs = weights(whole), weights(short)
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-9, atol=1e-9)


def test_one_picture_that_does_not_fit_and_other_errors_are_raised(pictures):
    trainer = vae_trainer(pictures, 1)
    Memory(trainer.vae, 0)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.step(pictures[:12], 0)
    assert trainer.accumulator.num_micro_batches == 12
    with (
        mock.patch.object(trainer, "_recon_loss_and_kl", side_effect=RuntimeError("a bug")),
        pytest.raises(RuntimeError, match="bug"),
    ):
        trainer.step(pictures[:12], 0)


def test_shares_of_ranks_cover_the_batch_once():
    for size in (1, 2, 3, 5):
        worlds = [DistributedContext(rank, size) for rank in range(size)]
        rows = [row for world in worlds for row in range(13)[world.local_slice(13)]]
        assert rows == list(range(13))
        assert [len(GradientAccumulator(world, 13).local_rows(torch.arange(13))) for world in worlds] == [
            len(range(13)[world.local_slice(13)]) for world in worlds
        ]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_number_among_many_is_found(bad):
    tensors = [torch.ones(3), torch.ones(5, 5)]
    assert are_all_finite(tensors)
    tensors[1][3, 2] = bad
    assert not are_all_finite(tensors)
