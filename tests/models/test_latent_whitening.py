from itertools import pairwise

import pytest
import torch

from vaegan.config.model_config import IMAGE_SIZES, ModelConfig
from vaegan.models.latent_whitening import aggregated_moments, whiten_latents
from vaegan.models.vae import VAE
from vaegan.utils.images import to_float


def crooked_vae(latent_dim=6):
    """A VAE whose aggregated posterior is far from N(0, I): shifted, stretched and correlated."""
    torch.manual_seed(3)
    vae = VAE(ModelConfig(32, 3, latent_dim, 8)).eval()
    with torch.no_grad():
        vae.encoder.mean_head.weight.mul_(torch.linspace(0.2, 3, latent_dim)[:, None])
        vae.encoder.mean_head.bias.copy_(torch.linspace(-2, 2, latent_dim))
        vae.encoder.log_var_head.bias.copy_(torch.linspace(-3, 0.5, latent_dim))
    return vae


PIXELS = torch.randint(256, (300, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
PICTURES = to_float(PIXELS)


def test_moments_match_the_samples_they_describe():
    torch.manual_seed(0)
    means, log_vars = torch.randn(40, 3) @ torch.randn(3, 3), torch.randn(40, 3)
    moments = aggregated_moments(means, log_vars)
    rows = torch.randint(0, 40, (400_000,))
    drawn = means[rows] + (log_vars[rows] / 2).exp() * torch.randn(400_000, 3)
    torch.testing.assert_close(moments.mean.float(), drawn.mean(0), atol=0.02, rtol=0.02)
    torch.testing.assert_close(moments.covariance.float(), torch.cov(drawn.T), atol=0.06, rtol=0.02)


def test_folding_changes_no_reconstruction():
    vae = crooked_vae()
    with torch.no_grad():
        before, after = vae.reconstruct(PICTURES), whiten_latents(vae, [PIXELS]).reconstruct(PICTURES)
    assert (before - after).abs().max() < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_folding_changes_no_reconstruction_at_any_size(size, channels):
    """In the scale of a trained decoder, whose pictures use the whole range of tanh."""
    torch.manual_seed(size + channels)
    vae = VAE(ModelConfig(size, channels, 12, 8)).eval()
    with torch.no_grad():
        vae.encoder.mean_head.weight.mul_(torch.logspace(-1.5, 0.5, 12)[:, None])  # variances over four decades
        vae.encoder.mean_head.bias.copy_(torch.linspace(-3, 3, 12))
        vae.encoder.log_var_head.bias.copy_(torch.linspace(-6, 0.5, 12))
        vae.decoder.proj_in.weight.mul_(3)
    pixels = torch.randint(256, (40, channels, size, size), generator=torch.Generator().manual_seed(1)).byte()
    pictures, folded = to_float(pixels), whiten_latents(vae, [pixels])
    with torch.no_grad():
        before, after = vae.reconstruct(pictures), folded.reconstruct(pictures)
    assert before.std() > 0.1, "a flat picture proves nothing"
    assert (before - after).abs().max() < 1e-4
    posterior = folded.encoder(pictures)
    torch.testing.assert_close(posterior.mean.mean(0), torch.zeros(12), atol=2e-3, rtol=0)


@pytest.mark.parametrize("mirror", [False, True])
def test_after_folding_the_aggregated_posterior_is_standard(mirror):
    """Over what the decoder was taught with: mirror images too, if it was."""
    folded = whiten_latents(crooked_vae(), [PIXELS[:200], PIXELS[200:]], mirror=mirror)
    pictures = torch.cat([PICTURES, PICTURES.flip(3)]) if mirror else PICTURES
    posterior = folded.encoder(pictures)
    variances = posterior.log_var.exp()
    noise = torch.einsum("ij,nj,kj->ik", posterior.cov_factor, variances, posterior.cov_factor) / len(pictures)
    covariance = torch.cov(posterior.mean.T, correction=0) + noise
    torch.testing.assert_close(posterior.mean.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(covariance, torch.eye(6), atol=2e-3, rtol=0)


def test_axes_come_sorted_by_how_much_the_picture_moves():
    folded = whiten_latents(crooked_vae(), [PIXELS])
    torch.manual_seed(5)
    z = torch.randn(64, 6)
    moved = []
    with torch.no_grad():
        for axis in range(6):
            step = torch.zeros(6)
            step[axis] = 0.05
            moved.append(float((folded.decoder(z + step) - folded.decoder(z - step)).square().sum()))
    assert moved[0] > moved[-1] * 1.5
    assert sum(a >= b * 0.9 for a, b in pairwise(moved)) >= 4


def test_folding_twice_is_folding_once():
    once = whiten_latents(crooked_vae(), [PIXELS])
    twice = whiten_latents(once, [PIXELS])
    with torch.no_grad():
        torch.testing.assert_close(once.reconstruct(PICTURES), twice.reconstruct(PICTURES), atol=1e-4, rtol=0)
    assert not torch.equal(once.encoder.cov_factor, torch.eye(6))
