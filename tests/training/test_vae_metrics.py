"""Metrics of a VAE: units, bits per dimension, and validation."""

import json
import math

import pytest
import torch
from torch.distributions import Normal
from vaegan.training.vae_metrics import compute_bits_per_dim, validate_vae

from vaegan.config.model_config import ModelConfig
from vaegan.losses.vae import LIKELIHOODS
from vaegan.models.vae import VAE
from vaegan.training.precision import DeviceContext


def test_losses_are_logged_per_image_and_per_dimension(vae_run):
    lines = [json.loads(line) for line in (vae_run / "metrics.jsonl").read_text().splitlines()]
    (line,) = [line for line in lines if "recon_loss" in line]
    for name in ("recon_loss", "kl"):
        assert line[f"{name}_nats_per_dim"] == pytest.approx(line[name] / 3072, rel=1e-4)
        assert line[f"{name}_bits_per_dim"] == pytest.approx(line[name] / 3072 / math.log(2), rel=1e-4)
    measured = [line for line in lines if "val_psnr" in line][-1]
    assert measured["kl_per_dim_min"] <= measured["kl_per_dim_median"] <= measured["kl_per_dim_max"]
    assert 0 < measured["agg_posterior_var_min"] <= measured["agg_posterior_var_max"]
    assert {"val_ssim", "val_bits_per_dim", "train_psnr", "agg_posterior_mean_absmax"} <= measured.keys()


def test_bits_per_dim_of_a_uniform_guess_is_eight():
    """A model that gives each of 255 steps the density 1/2 on [-1, 1] needs log2(255) bits a value."""
    assert compute_bits_per_dim(100 * math.log(2), "gaussian", 100) == pytest.approx(math.log2(255))
    assert compute_bits_per_dim(1.0, "bernoulli", 100) is None


@pytest.mark.parametrize("name", ["squared", "gaussian", "laplace"])
def test_bits_per_dim_are_those_of_the_density(name):
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.rand(4, 3, 8, 8, generator=generator) * 2 - 1 for _ in range(2))
    nats = float(LIKELIHOODS[name](real, fake).mean())
    variance = {"squared": 0.5, "gaussian": float((real - fake).square().mean())}.get(name, 0.0)
    density = Normal(fake, math.sqrt(variance)) if variance else torch.distributions.Laplace(fake, 0.5)
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
