from itertools import pairwise

import pytest
import torch

from vaegan.config.model_config import IMAGE_SIZES, ModelConfig
from vaegan.models.latent_whitening import aggregated_moments, whiten_latents
from vaegan.models.vae import VAE
from vaegan.utils.images import to_float


def make_unwhitened_vae(latent_dim=6, **model):
    """A VAE whose aggregated posterior is far from N(0, I): shifted, stretched and correlated."""
    torch.manual_seed(3)
    vae = VAE(ModelConfig(32, 3, latent_dim, 8, **model)).eval()
    with torch.no_grad():
        if vae.decoder.modulation is not None:
            vae.decoder.modulation.proj_out.weight.normal_(std=0.1)
        if vae.decoder.latent_map is not None:
            vae.decoder.latent_map.weight.normal_(std=0.1)
        vae.encoder.mean_head.weight.mul_(torch.linspace(0.2, 3, latent_dim)[:, None])
        vae.encoder.mean_head.bias.copy_(torch.linspace(-2, 2, latent_dim))
        vae.encoder.log_var_head.bias.copy_(torch.linspace(-3, 0.5, latent_dim))
    return vae


UINT8_IMAGES = torch.randint(256, (300, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
IMAGES = to_float(UINT8_IMAGES)


def test_moments_match_those_of_posterior_samples():
    torch.manual_seed(0)
    means, log_vars = torch.randn(40, 3) @ torch.randn(3, 3), torch.randn(40, 3)
    moments = aggregated_moments(means, log_vars)
    rows = torch.randint(0, 40, (400_000,))
    samples = means[rows] + (log_vars[rows] / 2).exp() * torch.randn(400_000, 3)
    torch.testing.assert_close(moments.mean.float(), samples.mean(0), atol=0.02, rtol=0.02)
    torch.testing.assert_close(moments.covariance.float(), torch.cov(samples.T), atol=0.06, rtol=0.02)


@pytest.mark.parametrize(
    "model",
    [{}, {"modulation_dim": 5}, {"skip_channels": 4}, {"modulation_dim": 5, "num_color_layers": 4, "skip_channels": 4}],
)
def test_whitening_does_not_change_reconstructions(model):
    vae = make_unwhitened_vae(**model)
    with torch.no_grad():
        before, after = vae.reconstruct(IMAGES), whiten_latents(vae, [UINT8_IMAGES]).reconstruct(IMAGES)
    assert (before - after).abs().max() < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_whitening_does_not_change_reconstructions_at_any_size(size, channels):
    """The decoder is scaled like a trained one, whose images use the whole range of tanh."""
    torch.manual_seed(size + channels)
    vae = VAE(ModelConfig(size, channels, 12, 8)).eval()
    with torch.no_grad():
        vae.encoder.mean_head.weight.mul_(torch.logspace(-1.5, 0.5, 12)[:, None])  # variances over four decades
        vae.encoder.mean_head.bias.copy_(torch.linspace(-3, 3, 12))
        vae.encoder.log_var_head.bias.copy_(torch.linspace(-6, 0.5, 12))
        vae.decoder.proj_in.weight.mul_(3)
    uint8_images = torch.randint(256, (40, channels, size, size), generator=torch.Generator().manual_seed(1)).byte()
    images, whitened = to_float(uint8_images), whiten_latents(vae, [uint8_images])
    with torch.no_grad():
        before, after = vae.reconstruct(images), whitened.reconstruct(images)
    assert before.std() > 0.1, "a constant image would prove nothing"
    assert (before - after).abs().max() < 1e-4
    posterior = whitened.encoder(images)
    torch.testing.assert_close(posterior.mean.mean(0), torch.zeros(12), atol=2e-3, rtol=0)


@pytest.mark.parametrize("mirror", [False, True])
def test_whitened_aggregated_posterior_has_mean_0_and_covariance_i(mirror):
    """Over the images that the VAE was trained on, with mirror images if those were used."""
    whitened = whiten_latents(make_unwhitened_vae(), [UINT8_IMAGES[:200], UINT8_IMAGES[200:]], mirror=mirror)
    images = torch.cat([IMAGES, IMAGES.flip(3)]) if mirror else IMAGES
    posterior = whitened.encoder(images)
    variances = posterior.log_var.exp()
    noise = torch.einsum("ij,nj,kj->ik", posterior.cov_factor, variances, posterior.cov_factor) / len(images)
    covariance = torch.cov(posterior.mean.T, correction=0) + noise
    torch.testing.assert_close(posterior.mean.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(covariance, torch.eye(6), atol=2e-3, rtol=0)


def test_axes_are_sorted_by_how_much_the_image_changes():
    whitened = whiten_latents(make_unwhitened_vae(), [UINT8_IMAGES])
    torch.manual_seed(5)
    z = torch.randn(64, 6)
    changes = []
    with torch.no_grad():
        for axis in range(6):
            step = torch.zeros(6)
            step[axis] = 0.05
            changes.append(float((whitened.decoder(z + step) - whitened.decoder(z - step)).square().sum()))
    assert changes[0] > changes[-1] * 1.5
    assert sum(a >= b * 0.9 for a, b in pairwise(changes)) >= 4


def test_whitening_twice_equals_whitening_once():
    once = whiten_latents(make_unwhitened_vae(), [UINT8_IMAGES])
    twice = whiten_latents(once, [UINT8_IMAGES])
    with torch.no_grad():
        torch.testing.assert_close(once.reconstruct(IMAGES), twice.reconstruct(IMAGES), atol=1e-4, rtol=0)
    assert not torch.equal(once.encoder.cov_factor, torch.eye(6))
