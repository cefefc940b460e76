import math

import pytest
import torch
from torch.nn import functional as F

from vaegan.checkpoint import load_tensors
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.events import Note, TrainingStarted
from vaegan.inference.model import load
from vaegan.losses.gan import LOSSES
from vaegan.training.ema import EMA
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import StepRandom, derive_seed
from vaegan.training.schedules import inverse_sqrt_decay
from vaegan.training.train import train_gan, train_vae
from vaegan.training.train_augment import random_affine_and_color
from vaegan.training.vae_trainer import VAETrainer
from vaegan.utils.images import to_float

CPU = DeviceContext(torch.device("cpu"), "fp32")
CONFIG = ModelConfig(32, 3, 8, 8)


@pytest.fixture(scope="module")
def pictures(prepared):
    return open_dataset(prepared).load()


def vae_trainer(pictures, place=CPU, config=CONFIG, **options):
    settings = VAESettings(preset="tiny", latent_dim=8, batch_size=16, **options)
    return VAETrainer(config, settings, place, *pictures)


def test_a_picture_is_reconstructed_as_it_was_jittered_for_the_encoder(pictures):
    trainer, targets, inputs = vae_trainer(pictures, train_augment=0.2, mirror=False, seed=4), [], []
    of = trainer.likelihood_loss
    trainer.likelihood_loss = lambda real, decoded, mean: targets.append(real.clone()) or of(real, decoded, mean)
    trainer.vae.encoder.register_forward_pre_hook(lambda _, given: inputs.append(given[0].clone()))
    trainer.step(pictures[0][:16], 7)
    chances = StepRandom(4, 7, torch.device("cpu")).uniform("jitter", 16, 10)
    wanted = random_affine_and_color(to_float(pictures[0][:16]), chances, 0.2)
    assert torch.equal(targets[0], wanted) and torch.equal(inputs[0], wanted)
    assert (wanted - to_float(pictures[0][:16])).abs().mean() > 0.05


@pytest.mark.parametrize("likelihood", ["squared", "gaussian", "laplace", "bernoulli"])
def test_a_vae_learns_to_reconstruct(pictures, likelihood):
    trainer = vae_trainer(pictures, likelihood=likelihood, lr=3e-3, lr_warmup=0, kl_warmup=0)
    before = trainer.validate()["val_psnr"]
    for step in range(80):
        metrics = trainer.step(pictures[0][:16], step)
    assert trainer.validate()["val_psnr"] > before + 2
    assert all(value.isfinite() for value in metrics.values())


def test_folding_for_publication_leaves_training_alone(pictures):
    trainer = vae_trainer(pictures)
    trainer.step(pictures[0][:16], 0)
    before = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    trainer.inference_model()
    trainer.preview_grid()
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.state_dict().items())


def test_a_huge_beta_collapses_the_posterior(pictures):
    trainer = vae_trainer(pictures, beta=1000.0, lr=3e-3, lr_warmup=0, kl_warmup=0)
    for step in range(60):
        kl = trainer.step(pictures[0][:16], step)["kl"]
    assert kl < 1.0


def test_free_bits_keep_axes_that_a_large_beta_would_empty(pictures):
    """With --free-bits the KL of an axis may stay at its allowance; the allowance costs no gradient."""
    kl = {}
    for free in (0.0, 0.5):
        options = {"lr": 3e-3, "lr_warmup": 0, "kl_warmup": 0, "train_augment": 0.0}
        trainer = vae_trainer(pictures, beta=1000.0, free_bits=free, **options)
        late = [float(trainer.step(pictures[0][:16], step)["kl"]) for step in range(80)][-20:]
        kl[free] = sum(late) / len(late)
    allowance = 8 * 0.5 * math.log(2)
    assert 2 * kl[0.0] < 0.25 * allowance < kl[0.5] < 1.5 * allowance


def test_free_axes_are_those_of_the_batch_and_have_no_gradient(pictures):
    trainer = vae_trainer(pictures, free_bits=64.0, kl_warmup=0, beta=1e6)
    plain = vae_trainer(pictures, beta=0.0)
    for one in (trainer, plain):
        one.step(pictures[0][:16], 0)
    for mine, theirs in zip(trainer.vae.parameters(), plain.vae.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_learning_rate_falls_by_pictures_not_by_the_runs_length():
    assert [inverse_sqrt_decay(images, 100) for images in (1, 100, 400, 10_000)] == [1, 1, 0.5, 0.1]
    assert inverse_sqrt_decay(10**9, 0) == 1


def test_mirror_is_a_flag(pictures):
    one, other = (vae_trainer(pictures, mirror=mirror) for mirror in (True, False))
    losses = [trainer.step(pictures[0][:16], 0)["recon_loss"] for trainer in (one, other)]
    assert losses[0] != losses[1]


def vae_of(pictures, steps=3):
    trainer = vae_trainer(pictures)
    for step in range(steps):
        trainer.step(pictures[0][:16], step)
    return trainer.inference_model()


def test_generator_is_the_decoder_to_the_bit_after_transfer(pictures):
    vae = vae_of(pictures)
    trainer = GANTrainer(CONFIG, GANSettings(preset="tiny", latent_dim=8), CPU, vae)
    latents = torch.randn(40, 8)
    with torch.no_grad():
        assert torch.equal(trainer.generator(latents), vae.decoder(latents))
        assert torch.equal(trainer.ema.model(latents), vae.decoder(latents))
    assert trainer.decoder_transfer.num_tensors == len(vae.decoder.state_dict())
    assert trainer.decoder_transfer.num_values == sum(parameter.numel() for parameter in vae.decoder.parameters())
    assert trainer.decoder_transfer.max_abs_difference == 0


@pytest.mark.parametrize("warm", [True, False])
def test_the_discriminator_starts_from_the_encoder_unless_told_otherwise(pictures, warm):
    vae = vae_of(pictures)
    trainer = GANTrainer(CONFIG, GANSettings(preset="tiny", init_d_from_encoder=warm), CPU, vae)
    cold = GANTrainer(CONFIG, GANSettings(preset="tiny", minibatch_std=True), CPU, None).discriminator.state_dict()
    for name, tensor in trainer.discriminator.state_dict().items():
        wanted = vae.encoder.state_dict()[name] if warm and name.startswith("trunk") else cold[name]
        assert torch.equal(tensor, wanted), name


def test_step_0_preview_of_the_gan_is_the_vae_sampled(prepared, vae_run, tmp_path):
    told = []
    run = train_gan(prepared, tmp_path / "gan", from_vae=vae_run, steps=1, batch_size=8, on_event=told.append)
    report = next(event.text for event in told if isinstance(event, Note) and "Generator started" in event.text)
    assert "10 tensors" in report and "difference of the pictures 0" in report
    from PIL import Image

    from vaegan.utils.images import from_pil, make_grid

    preview = from_pil(Image.open(run / "previews" / "step-0000000.png"))
    assert torch.equal(preview, make_grid(load(vae_run, "cpu").sample(64), columns=8))


def test_during_the_head_start_only_the_discriminator_moves(pictures):
    trainer = GANTrainer(CONFIG, GANSettings(preset="tiny", d_warmup_steps=2, batch_size=16), CPU, vae_of(pictures))
    for step in range(3):
        before = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
        metrics = trainer.step(pictures[0][:16], step)
        moved = {
            part: any(
                not torch.equal(tensor, before[name])
                for name, tensor in trainer.state_dict().items()
                if name.startswith(part + ".") and name in before
            )
            for part in ("generator", "discriminator")
        }
        assert moved == {"generator": step == 2, "discriminator": True}
        assert ("loss_g" in metrics) == (step == 2)


@pytest.mark.parametrize(("warm", "steps"), [(True, 50), (False, 200)])
def test_a_warm_discriminator_needs_a_shorter_head_start(pictures, warm, steps):
    settings = GANSettings(preset="tiny", batch_size=8, init_d_from_encoder=warm)
    trainer = GANTrainer(CONFIG, settings, CPU, vae_of(pictures))
    moves = {step: "loss_g" in trainer.step(pictures[0][:8], step) for step in (0, steps - 1, steps)}
    assert moves == {0: False, steps - 1: False, steps: True}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_every_loss_trains_from_scratch(pictures, loss, gamma):
    settings = GANSettings(preset="tiny", latent_dim=8, loss=loss, gamma=gamma, gp_interval=2, prior="uniform")
    trainer = GANTrainer(ModelConfig(32, 3, 8, 8, "uniform"), settings, CPU, None)
    seen = {}
    for step in range(4):
        seen |= trainer.step(pictures[0][:16], step)
    assert all(value.isfinite() for value in seen.values())
    assert ("r1_penalty" in seen) == (gamma > 0)
    assert trainer.preview_grid().shape[0] == 3


def test_lazy_penalties_weigh_as_much_as_they_are_rare(pictures):
    """One discriminator step on a penalty step is a step on loss + k gamma / 2 (R1 + R2)."""
    settings = GANSettings(preset="tiny", latent_dim=8, gamma=0.7, gp_interval=3, mirror=False)
    trainer = GANTrainer(CONFIG, settings, CPU, None)
    real, fake = to_float(pictures[0][:8]), torch.rand(8, 3, 32, 32) * 2 - 1
    both = torch.cat([real, fake]).requires_grad_()
    logits = trainer.discriminator(both)
    (slope,) = torch.autograd.grad(logits.sum(), both, create_graph=True)
    norms = slope.square().sum((1, 2, 3))
    expected = F.softplus(logits[8:] - logits[:8]).mean() + 3 * 0.7 / 2 * (norms[:8].mean() + norms[8:].mean())
    wanted = torch.autograd.grad(expected, list(trainer.discriminator.parameters()))
    metrics = trainer._discriminator_backward(real, fake, 0.7, 1.0)
    torch.testing.assert_close(metrics["r1_penalty"], norms[:8].mean())
    for parameter, gradient in zip(trainer.discriminator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-4)
    assert ["r1_penalty" in trainer.step(pictures[0][:8], step) for step in range(4)] == [True, False, False, True]


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


def test_randomness_depends_on_seed_step_and_purpose_only():
    draw = [StepRandom(seed, step, CPU.device).normal(name, 4) for seed, step, name in
            ((0, 5, "a"), (0, 5, "a"), (1, 5, "a"), (0, 6, "a"), (0, 5, "b"))]  # fmt: skip
    assert torch.equal(draw[0], draw[1])
    assert all(not torch.equal(draw[0], other) for other in draw[2:])
    assert 0 <= derive_seed(0, "x") < 2**63


def test_bf16_trains_and_keeps_fp32_weights(pictures):
    trainer = vae_trainer(pictures, place=DeviceContext(torch.device("cpu"), "bf16"))
    metrics = trainer.step(pictures[0][:16], 0)
    assert metrics["recon_loss"].isfinite()
    assert {parameter.dtype for parameter in trainer.vae.parameters()} == {torch.float32}


def test_minutes_are_fixed_in_steps_and_recorded(prepared, tmp_path):
    import json

    told = []
    options = {"preset": "tiny", "latent_dim": 8, "batch_size": 8, "on_event": told.append}
    run = train_vae(prepared, tmp_path / "run", minutes=0.1, **options)
    (started,) = (event for event in told if isinstance(event, TrainingStarted))
    plan = json.loads((run / "config.json").read_text())["schedule"]
    assert (
        plan["total_steps"] == started.total_steps >= 1 and plan["images_per_second"] == started.images_per_second > 0
    )
    train_vae(prepared, run, minutes=0.1)  # the same command again: nothing to do
    assert json.loads((run / "config.json").read_text())["schedule"] == plan
    train_vae(prepared, run, minutes=0.101)  # a little more, at the recorded speed
    assert json.loads((run / "config.json").read_text())["schedule"]["total_steps"] == pytest.approx(
        0.101 * 60 * plan["images_per_second"] / 8, abs=1
    )


def test_grey_pictures_train_too(tmp_path):
    config = ModelConfig(32, 1, 4, 8)
    grey = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8)
    trainer = vae_trainer((grey, grey), config=config)
    trainer.step(grey[:8], 0)
    assert trainer.preview_grid().shape[0] == 1
    gan = GANTrainer(config, GANSettings(preset="tiny"), CPU, trainer.inference_model())
    gan.step(grey[:8], 0)
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


def test_the_encoder_is_published_with_the_gan(vae_run, gan_run, prepared):
    pictures, _ = open_dataset(prepared).load()
    one, other = load(vae_run, "cpu"), load(gan_run, "cpu")
    assert torch.equal(one.encode(pictures[:5]), other.encode(pictures[:5]))
    assert "discriminator.head.weight" not in load_tensors(gan_run / "model.safetensors")
