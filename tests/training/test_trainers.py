"""Single steps of both trainers."""

import copy
import json
import math
from pathlib import Path
from unittest import mock

import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from vaegan.checkpoint import load_tensors
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.events import Note, TrainingStarted
from vaegan.inference.model import load
from vaegan.losses.gan import LOSSES
from vaegan.training.augment import random_affine_and_color
from vaegan.training.duration import MinutesPlanner
from vaegan.training.gan_batch import GANBatch
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import StepRandom, derive_seed
from vaegan.training.train import train_gan, train_vae
from vaegan.training.vae_trainer import VAETrainer
from vaegan.utils.images import from_pil, make_grid, to_float

CPU = DeviceContext(torch.device("cpu"), "fp32")
CONFIG = ModelConfig(32, 3, 8, 8)


@pytest.fixture(scope="module")
def train_val(prepared):
    return open_dataset(prepared).load()


@pytest.fixture(scope="module")
def images(train_val):
    return train_val[0]


def vae_trainer(train_val, device_ctx=CPU, config=CONFIG, **options):
    settings = VAESettings(preset="tiny", latent_dim=8, batch_size=16, **options)
    return VAETrainer(config, settings, device_ctx, *train_val)


def trained_vae(train_val, steps=3):
    trainer = vae_trainer(train_val)
    for step in range(steps):
        trainer.step(train_val[0][:16], step)
    return trainer.inference_model()


def test_the_reconstruction_target_is_the_augmented_image(train_val, images):
    trainer, targets, inputs = vae_trainer(train_val, train_augment=0.2, mirror=False, seed=4), [], []
    loss = trainer.likelihood_loss
    trainer.likelihood_loss = lambda real, decoded, stat: targets.append(real.clone()) or loss(real, decoded, stat)
    trainer.vae.encoder.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0].clone()))
    trainer.step(images[:16], 7)
    rand = StepRandom(4, 7, torch.device("cpu")).uniform("jitter", 16, 10)
    expected = random_affine_and_color(to_float(images[:16]), rand, 0.2)
    assert torch.equal(targets[0], expected) and torch.equal(inputs[0], expected)
    assert (expected - to_float(images[:16])).abs().mean() > 0.05


@pytest.mark.parametrize("likelihood", ["squared", "gaussian", "laplace", "bernoulli"])
def test_a_vae_learns_to_reconstruct(train_val, images, likelihood):
    trainer = vae_trainer(train_val, likelihood=likelihood, lr=3e-3, lr_warmup=0, kl_warmup=0)
    before = trainer.validate()["val_psnr"]
    for step in range(80):
        metrics = trainer.step(images[:16], step)
    assert trainer.validate()["val_psnr"] > before + 2
    assert all(value.isfinite() for value in metrics.values())


def test_latent_whitening_for_inference_does_not_change_training(train_val, images):
    trainer = vae_trainer(train_val)
    trainer.step(images[:16], 0)
    before = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    trainer.inference_model()
    trainer.preview_grid()
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.state_dict().items())


def test_a_huge_beta_collapses_the_posterior(train_val, images):
    trainer = vae_trainer(train_val, beta=1000.0, lr=3e-3, lr_warmup=0, kl_warmup=0)
    for step in range(60):
        kl = trainer.step(images[:16], step)["kl"]
    assert kl < 1.0


def test_free_bits_keep_dimensions_active_that_a_large_beta_would_collapse(train_val, images):
    """With --free-bits, the KL of a dimension may stay at its free bits, which have no gradient."""
    kl = {}
    for free_bits in (0.0, 0.5):
        options = {"lr": 3e-3, "lr_warmup": 0, "kl_warmup": 0, "train_augment": 0.0}
        trainer = vae_trainer(train_val, beta=1000.0, free_bits=free_bits, **options)
        last = [float(trainer.step(images[:16], step)["kl"]) for step in range(80)][-20:]
        kl[free_bits] = sum(last) / len(last)
    free_nats = 8 * 0.5 * math.log(2)
    assert 2 * kl[0.0] < 0.25 * free_nats < kl[0.5] < 1.5 * free_nats


def test_dimensions_below_the_free_bits_of_the_batch_have_no_gradient(train_val, images):
    free = vae_trainer(train_val, free_bits=64.0, kl_warmup=0, beta=1e6)
    no_kl = vae_trainer(train_val, beta=0.0)
    for trainer in (free, no_kl):
        trainer.step(images[:16], 0)
    for parameter, expected in zip(free.vae.parameters(), no_kl.vae.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected)


def test_mirror_is_an_option(train_val, images):
    trainers = (vae_trainer(train_val, mirror=mirror) for mirror in (True, False))
    losses = [trainer.step(images[:16], 0)["recon_loss"] for trainer in trainers]
    assert losses[0] != losses[1]


def test_the_generator_starts_as_the_decoder_to_the_bit(train_val):
    vae = trained_vae(train_val)
    trainer = GANTrainer(CONFIG, GANSettings(preset="tiny", latent_dim=8), CPU, vae)
    latents = torch.randn(40, 8)
    with torch.no_grad():
        assert torch.equal(trainer.generator(latents), vae.decoder(latents))
        assert torch.equal(trainer.ema.model(latents), vae.decoder(latents))
    assert trainer.decoder_difference == 0


@pytest.mark.parametrize("from_encoder", [True, False])
def test_the_discriminator_starts_from_the_encoder_unless_turned_off(train_val, from_encoder):
    vae = trained_vae(train_val)
    trainer = GANTrainer(CONFIG, GANSettings(preset="tiny", init_d_from_encoder=from_encoder), CPU, vae)
    settings = GANSettings(preset="tiny", minibatch_std=True, d_recon_weight=5.0)
    scratch = GANTrainer(CONFIG, settings, CPU, None).discriminator.state_dict()
    for name, tensor in trainer.discriminator.state_dict().items():
        expected = vae.encoder.state_dict()[name] if from_encoder and name.startswith("trunk") else scratch[name]
        assert torch.equal(tensor, expected), name


def test_the_gans_preview_at_step_0_shows_the_samples_of_the_vae(prepared, vae_run, tmp_path):
    events = []
    run = train_gan(prepared, tmp_path / "gan", from_vae=vae_run, steps=1, batch_size=8, on_event=events.append)
    report = next(event.text for event in events if isinstance(event, Note) and "The generator starts as" in event.text)
    assert "with the same images, and the discriminator as its encoder" in report
    preview = from_pil(Image.open(run / "previews" / "step-0000000.png"))
    assert torch.equal(preview, make_grid(load(vae_run, "cpu").sample(64), columns=8))


def test_only_the_discriminator_trains_during_its_warmup(train_val, images):
    settings = GANSettings(preset="tiny", d_warmup_steps=2, batch_size=16)
    trainer = GANTrainer(CONFIG, settings, CPU, trained_vae(train_val))
    for step in range(3):
        before = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
        metrics = trainer.step(images[:16], step)
        has_changed = {
            network: any(
                not torch.equal(tensor, before[name])
                for name, tensor in trainer.state_dict().items()
                if name.startswith(network + ".") and name in before
            )
            for network in ("generator", "discriminator")
        }
        assert has_changed == {"generator": step == 2, "discriminator": True}
        assert ("loss_g" in metrics) == (step == 2)


@pytest.mark.parametrize(("from_encoder", "steps"), [(True, 50), (False, 200)])
def test_a_discriminator_from_the_encoder_has_a_shorter_warmup(train_val, images, from_encoder, steps):
    settings = GANSettings(preset="tiny", batch_size=8, init_d_from_encoder=from_encoder)
    trainer = GANTrainer(CONFIG, settings, CPU, trained_vae(train_val))
    trains_generator = {step: "loss_g" in trainer.step(images[:8], step) for step in (0, steps - 1, steps)}
    assert trains_generator == {0: False, steps - 1: False, steps: True}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_every_loss_trains_from_scratch(images, loss, gamma):
    settings = GANSettings(preset="tiny", latent_dim=8, loss=loss, gamma=gamma, gp_interval=2, prior="uniform")
    trainer = GANTrainer(ModelConfig(32, 3, 8, 8, "uniform"), settings, CPU, None)
    metrics = {}
    for step in range(4):
        metrics |= trainer.step(images[:16], step)
    assert all(value.isfinite() for value in metrics.values())
    assert ("r1_penalty" in metrics) == (gamma > 0)
    assert trainer.preview_grid().shape[0] == 3


def test_lazy_penalties_are_weighted_by_their_interval(images):
    """The gradient of a step with penalties is that of loss + gp_interval * gamma / 2 * (R1 + R2)."""
    settings = GANSettings(preset="tiny", latent_dim=8, gamma=0.7, gp_interval=3, mirror=False)
    trainer = GANTrainer(CONFIG, settings, CPU, None)
    real, fake = to_float(images[:8]), torch.rand(8, 3, 32, 32) * 2 - 1
    both = torch.cat([real, fake]).requires_grad_()
    logits = trainer.discriminator(both)
    (gradient,) = torch.autograd.grad(logits.sum(), both, create_graph=True)
    norms = gradient.square().sum((1, 2, 3))
    expected = F.softplus(logits[8:] - logits[:8]).mean() + 3 * 0.7 / 2 * (norms[:8].mean() + norms[8:].mean())
    expected_gradients = torch.autograd.grad(expected, list(trainer.discriminator.parameters()))
    no_rows, no_classes = torch.zeros(8, 0), torch.zeros(0, 0)
    is_recon = torch.zeros(8, dtype=torch.bool)
    batch = GANBatch(real, real, no_rows, no_rows, is_recon, no_rows, real[:0], no_classes)
    loss, metrics = trainer.objective.discriminator_loss(batch, fake, 0.7)
    loss.backward()
    torch.testing.assert_close(metrics["r1_penalty"], norms[:8].mean())
    for parameter, gradient in zip(trainer.discriminator.parameters(), expected_gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-4)
    assert ["r1_penalty" in trainer.step(images[:8], step) for step in range(4)] == [True, False, False, True]


def test_random_numbers_depend_on_seed_step_and_purpose_only():
    numbers = [StepRandom(seed, step, CPU.device).normal(purpose, 4) for seed, step, purpose in
               ((0, 5, "a"), (0, 5, "a"), (1, 5, "a"), (0, 6, "a"), (0, 5, "b"))]  # fmt: skip
    assert torch.equal(numbers[0], numbers[1])
    assert all(not torch.equal(numbers[0], other) for other in numbers[2:])
    assert 0 <= derive_seed(0, "x") < 2**63


def test_bf16_trains_and_keeps_fp32_weights(train_val, images):
    trainer = vae_trainer(train_val, DeviceContext(torch.device("cpu"), "bf16"))
    metrics = trainer.step(images[:16], 0)
    assert metrics["recon_loss"].isfinite()
    assert {parameter.dtype for parameter in trainer.vae.parameters()} == {torch.float32}


@pytest.mark.parametrize("num_micro_batches", [1, 2])
def test_weights_that_are_cast_once_change_no_bit(train_val, images, num_micro_batches):
    """A GAN's encoder is cast once, also after the state of another run with another encoder is loaded."""

    def train_gan_from(vae):
        settings = GANSettings(preset="tiny", gp_interval=2, d_warmup_steps=0)
        trainer = GANTrainer(CONFIG, settings, DeviceContext(torch.device("cpu"), "bf16"), vae)
        trainer.accumulator.num_micro_batches = num_micro_batches
        trainer.step(images[:16], 0)
        trainer.load_state_dict(other_state, Path("checkpoint"))
        assert [trainer.step(images[:16], step) is not None for step in range(3)] == [True] * 3
        return trainer.state_dict()

    vae, other_vae = (trained_vae(train_val, steps) for steps in (1, 2))
    settings = GANSettings(preset="tiny", minibatch_std=True)
    other_state = GANTrainer(CONFIG, settings, CPU, other_vae).state_dict()
    state = train_gan_from(copy.deepcopy(vae))
    with mock.patch.object(DeviceContext, "with_cast_weights", lambda self, model: model):
        expected = train_gan_from(copy.deepcopy(vae))
    assert state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in expected)
    assert state["encoder.mean_head.weight"].equal(other_vae.encoder.mean_head.weight)


def test_a_frozen_encoder_is_not_cast_at_each_use(train_val, images):
    casts, cast = [], torch.ops.aten._to_copy.default

    class CastCounter(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is cast and kwargs.get("dtype") == torch.bfloat16:
                casts.append(args[0].shape)
            return function(*args, **(kwargs or {}))

    vae = trained_vae(train_val, 1)
    trainer = GANTrainer(CONFIG, GANSettings(preset="tiny"), DeviceContext(torch.device("cpu"), "bf16"), vae)
    with CastCounter():
        trainer.step(images[:16], 0)
    assert casts and vae.encoder.mean_head.weight.shape not in casts


@mock.patch.object(MinutesPlanner, "correct", lambda *arguments: None)
def test_minutes_are_converted_to_steps_and_recorded(prepared, tmp_path):
    def schedule():
        return json.loads((run / "config.json").read_text())["schedule"]

    events = []
    options = {"preset": "tiny", "latent_dim": 8, "batch_size": 8, "on_event": events.append}
    run = train_vae(prepared, tmp_path / "run", minutes=0.1, **options)
    (started,) = (event for event in events if isinstance(event, TrainingStarted))
    first = schedule()
    assert first["total_steps"] == started.total >= 1
    assert first["images_per_second"] == started.images_per_second > 0
    train_vae(prepared, run, minutes=0.1)  # the same command again: nothing to do
    assert schedule() == first
    train_vae(prepared, run, minutes=0.101)  # a little more, at the recorded speed
    assert schedule()["total_steps"] == pytest.approx(0.101 * 60 * first["images_per_second"] / 8, abs=1)


def test_grayscale_images_train_too(tmp_path):
    config = ModelConfig(32, 1, 4, 8)
    images = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8)
    trainer = vae_trainer((images, images), config=config)
    trainer.step(images[:8], 0)
    assert trainer.preview_grid().shape[0] == 1
    gan = GANTrainer(config, GANSettings(preset="tiny"), CPU, trainer.inference_model())
    gan.step(images[:8], 0)
    trainer.save_weights(tmp_path / "m.safetensors", 1)
    assert load(tmp_path / "m.safetensors", "cpu").sample(2).shape == (2, 1, 32, 32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("cache", ["memory", "mmap"])
def test_both_trainers_run_on_a_gpu(prepared, tmp_path, cache):
    common = {"steps": 4, "device": "cuda", "cache": cache}
    vae = train_vae(prepared, tmp_path / "vae", preset="tiny", latent_dim=8, **common)
    gan = train_gan(prepared, tmp_path / "gan", from_vae=vae, d_warmup_steps=1, **common)
    train_gan(prepared, gan, steps=6)
    assert load(gan, "cuda").sample(3).shape == (3, 3, 32, 32)


def test_the_encoder_is_saved_with_the_gans_weights(vae_run, gan_run, images):
    vae, gan = load(vae_run, "cpu"), load(gan_run, "cpu")
    assert torch.equal(vae.encode(images[:5]), gan.encode(images[:5]))
    assert "discriminator.head.weight" not in load_tensors(gan_run / "model.safetensors")
