"""What a VAE's numbers say, in words; and the numbers themselves."""

import json
import math

import pytest
import torch
from torch.distributions import Normal

from vaegan.cli import main
from vaegan.config.model_config import ModelConfig
from vaegan.losses.vae import LIKELIHOODS
from vaegan.models.vae import VAE
from vaegan.training.precision import DeviceContext
from vaegan.training.validation import compute_bits_per_dim, validate_vae
from vaegan.vae_diagnostics import describe_latent_usage, describe_reconstruction, vae_warnings

HEALTHY = {"active_units": 30.0, "val_kl": 60.0, "val_psnr": 20.0, "train_psnr": 20.5, "val_ssim": 0.7}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"val_kl": 2.0}, "posterior collapse: 30 of 64 latents are used and say 2 nats"),
        ({"active_units": 6.0}, "posterior collapse: 6 of 64 latents are used and say 60 nats"),
        ({"active_units": 7.0}, None),
        ({"train_psnr": 21.4}, None),
        ({"train_psnr": 21.6}, "overfitting: training pictures are reconstructed 1.6 dB better than held-out ones"),
    ],
)
def test_warnings_come_when_they_should(change, words):
    found = vae_warnings(HEALTHY | change, 4.0, 64, 10**6)
    assert len(found) == (words is not None)
    if words:
        assert found[0].startswith(words)
        assert ("--beta (it is 4)" in found[0]) == ("collapse" in words)


def test_nothing_is_said_of_what_was_not_measured():
    assert (vae_warnings({}, 1.0, 64, 0), describe_latent_usage({}, 64), describe_reconstruction({})) == ([], "", "")
    assert "train longer" in vae_warnings({"active_units": 0.0}, 1.0, 64, 100)[0]
    assert vae_warnings({"active_units": 1.0}, 1.0, 1, 10**6) == []


def test_a_collapsed_vae_is_called_so_at_its_end_and_by_info(capsys, prepared, tmp_path):
    options = ["--preset", "tiny", "--latent-dim", "8", "--kl-warmup", "0", "--lr-warmup", "0", "--steps", "60"]
    run = tmp_path / "run"
    assert main(["train-vae", str(prepared), "--run", str(run), "--beta", "1000", *options]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "posterior collapse" in line]
    assert line.startswith("warning: ") and "lower --beta (it is 1000)" in line
    assert main(["info", str(run), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "posterior collapse" in facts["warnings"] and "--beta" in facts["warnings"]
    assert " of 8 active" in facts["latents"] and "SSIM" in facts["held-out pictures"]


def test_losses_are_logged_for_a_picture_and_for_a_dimension(vae_run):
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
    real, made = (torch.rand(4, 3, 8, 8, generator=generator) * 2 - 1 for _ in range(2))
    nats = float(LIKELIHOODS[name](real, made).mean())
    variance = {"squared": 0.5, "gaussian": float((real - made).square().mean())}.get(name, 0.0)
    density = Normal(made, math.sqrt(variance)) if variance else torch.distributions.Laplace(made, 0.5)
    expected = float(-density.log_prob(real).mean()) / math.log(2) + math.log2(127.5)
    assert compute_bits_per_dim(nats, name, 192) == pytest.approx(expected, rel=1e-5)


def test_measuring_is_the_same_twice_and_works_without_held_out_pictures():
    torch.manual_seed(0)
    vae, place = VAE(ModelConfig(32, 1, 4, 8)).eval(), DeviceContext(torch.device("cpu"), "fp32")
    pictures = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8)
    found = [validate_vae(vae, pictures[:9], pictures[9:], "squared", place, 3) for _ in range(2)]
    assert found[0] == found[1]
    assert all(math.isfinite(value) for value in found[0].values())
    without = validate_vae(vae, pictures[:0], pictures[9:], "squared", place, 3)
    assert without == {name: value for name, value in found[0].items() if not name.startswith("val_")}
