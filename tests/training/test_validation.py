"""Validation metrics of a VAE, and the quick evaluation during training."""

import json
import math

import pytest
import torch
from torch.distributions import Laplace, Normal

from vaegan.cli import main
from vaegan.config.model_config import ModelConfig
from vaegan.losses.vae import LIKELIHOODS
from vaegan.models.vae import VAE
from vaegan.training.precision import DeviceContext
from vaegan.training.validation import (
    MIN_IMAGES_PER_EVALUATION,
    QuickEvaluator,
    compute_bits_per_dim,
    evaluation_interval,
    validate_vae,
)

CPU = torch.device("cpu")


def random_images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 255, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def test_losses_are_logged_per_image_and_per_dimension(vae_run):
    lines = [json.loads(line) for line in (vae_run / "metrics.jsonl").read_text().splitlines()]
    (line,) = [line for line in lines if "recon_loss" in line]
    for name in ("recon_loss", "kl"):
        assert line[f"{name}_nats_per_dim"] == pytest.approx(line[name] / 3072, rel=1e-4)
        assert line[f"{name}_bits_per_dim"] == pytest.approx(line[name] / 3072 / math.log(2), rel=1e-4)
    validation = [line for line in lines if "val_psnr" in line][-1]
    assert validation["kl_per_dim_min"] <= validation["kl_per_dim_median"] <= validation["kl_per_dim_max"]
    assert 0 < validation["agg_posterior_var_min"] <= validation["agg_posterior_var_max"]
    assert {"val_ssim", "val_bits_per_dim", "train_psnr", "agg_posterior_mean_absmax"} <= validation.keys()


def test_bits_per_dim_of_a_uniform_guess_is_eight():
    """A model with density 1/2 on [-1, 1], which has 255 steps, needs log2(255) bits per value."""
    assert compute_bits_per_dim(100 * math.log(2), "gaussian", 100) == pytest.approx(math.log2(255))
    assert compute_bits_per_dim(1.0, "bernoulli", 100) is None


@pytest.mark.parametrize("name", ["squared", "gaussian", "laplace"])
def test_bits_per_dim_are_those_of_the_density(name):
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.rand(4, 3, 8, 8, generator=generator) * 2 - 1 for _ in range(2))
    nats = float(LIKELIHOODS[name](real, fake).mean())
    variance = {"squared": 0.5, "gaussian": float((real - fake).square().mean())}.get(name, 0.0)
    density = Normal(fake, math.sqrt(variance)) if variance else Laplace(fake, 0.5)
    expected = float(-density.log_prob(real).mean()) / math.log(2) + math.log2(127.5)
    assert compute_bits_per_dim(nats, name, 192) == pytest.approx(expected, rel=1e-5)


def test_validation_is_deterministic_and_works_without_validation_images():
    torch.manual_seed(0)
    vae, device_ctx = VAE(ModelConfig(32, 1, 4, 8)).eval(), DeviceContext(torch.device("cpu"), "fp32")
    images = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8)
    metrics = [validate_vae(vae, images[:9], images[9:], "squared", device_ctx, 3) for _ in range(2)]
    assert metrics[0] == metrics[1]
    assert all(math.isfinite(value) for value in metrics[0].values())
    train_only = validate_vae(vae, images[:0], images[9:], "squared", device_ctx, 3)
    assert train_only == {name: value for name, value in metrics[0].items() if not name.startswith("val_")}


def test_samples_like_the_dataset_score_better():
    evaluator = QuickEvaluator(random_images(64, 0), random_images(64, 1), CPU)
    good, bad = evaluator.evaluate(random_images(64, 2)), evaluator.evaluate(random_images(64, 2) // 4)
    assert good["kid"] < bad["kid"]
    assert good["kid"] == pytest.approx(sum(good[f"kid_{level}"] for level in ("fine", "middle", "coarse")) / 3)
    assert good["kid_stderr"] > 0


def test_the_best_kid_is_saved_and_loaded():
    evaluator = QuickEvaluator(random_images(8, 0), random_images(8, 1), CPU)
    assert evaluator.update_best(0.5, 3)
    assert not evaluator.update_best(0.6, 4) and not evaluator.update_best(float("nan"), 5)
    loaded = QuickEvaluator(random_images(8, 0), random_images(8, 1), CPU)
    loaded.load_state_dict(evaluator.state_dict())
    assert (loaded.best_kid, loaded.best_step) == (0.5, 3)
    assert not loaded.update_best(0.5, 6) and loaded.update_best(0.4, 6)
    loaded.load_state_dict({})
    assert loaded.best_step < 0 and loaded.update_best(1e9, 1)


def test_too_few_validation_images_disable_it():
    assert not QuickEvaluator(random_images(64, 0), random_images(7, 1), CPU).is_enabled


def test_evaluations_are_rare():
    assert evaluation_interval(1_000, 32, 100, False) == MIN_IMAGES_PER_EVALUATION // 32
    assert evaluation_interval(100_000, 32, 100, False) == 2_000
    assert evaluation_interval(1_000, 32, 300, True) == 600


def test_metrics_best_weights_and_seconds_are_written(prepared, here):
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--log-every", "1", "-q")
    arguments = ("train-gan", str(prepared), "--run", "gan", "--evaluate-every", "2", *tiny)
    assert main([*arguments, "--steps", "3"]) == 0
    assert main([*arguments, "--steps", "6"]) == 0
    lines = [json.loads(line) for line in (here / "gan" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "kid" in line] == [0, 2, 3, 4, 6]
    seconds = [line["train_seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    assert (here / "gan" / "best.safetensors").is_file()


def test_a_run_past_its_best_warns_at_its_end(prepared, here, monkeypatch, capsys):
    kids = iter((9.0, 3.0, 1.0, 2.0, 2.0))
    evaluate = QuickEvaluator.evaluate
    monkeypatch.setattr(
        QuickEvaluator,
        "evaluate",
        lambda self, samples: evaluate(self, samples) | {"kid": next(kids), "kid_stderr": 0.1},
    )
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--log-every", "1", "--evaluate-every", "1")
    # coverage of so few images jumps, and a rollback would evaluate again
    arguments = ("train-gan", str(prepared), "--run", "gan", "--on-collapse", "ignore", *tiny)
    assert main([*arguments, "--steps", "2"]) == 0
    assert "were closer" not in capsys.readouterr().err
    assert main([*arguments, "--steps", "4"]) == 0  # earlier evaluations count
    messages = " ".join(capsys.readouterr().err.split())
    assert "KID was best after 16 images (1) and is now worse (2): --best uses the weights from then" in messages


def test_it_can_be_turned_off(prepared, here):
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--steps", "2", "-q")
    assert main(["train-gan", str(prepared), "--run", "gan", "--evaluate-every", "0", *tiny]) == 0
    assert "kid" not in (here / "gan" / "metrics.jsonl").read_text()
    assert not (here / "gan" / "best.safetensors").exists()
