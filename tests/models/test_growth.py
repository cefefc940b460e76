"""Networks grown by a stage do what the old ones do with images of half the size."""

import pytest
import torch
import torch.nn.functional as F

from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.discriminator import Discriminator
from vaegan.models.growth import grow_decoder, grow_discriminator, grow_vae, grown_config
from vaegan.models.vae import VAE

CONFIGS = [
    ModelConfig(32, 3, 8, 16),
    ModelConfig(64, 1, 8, 16),
    ModelConfig(128, 3, 8, 12),
    ModelConfig(64, 3, 8, 16, num_color_layers=4),
    ModelConfig(32, 3, 8, 16, modulation_dim=6),
    ModelConfig(32, 3, 8, 16, skip_channels=5),
    ModelConfig(64, 3, 8, 16, num_color_layers=4, modulation_dim=6, skip_channels=8),
]


def draw(config, count=4):
    """Return random images of twice the model's size."""
    return torch.rand(count, config.channels, 2 * config.size, 2 * config.size) * 2 - 1


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_a_grown_encoder_encodes_an_image_as_the_old_one_does_at_half_the_size(config):
    vae, images = VAE(config).eval(), draw(config)
    vae.encoder.cov_factor.normal_()
    grown = grow_vae(vae, grown_config(config))
    ours, theirs = grown.encoder(images), vae.encoder(F.avg_pool2d(images, 2))
    for name in ("mean", "log_var", "cov_factor"):
        assert torch.allclose(getattr(ours, name), getattr(theirs, name), atol=1e-5)


@pytest.mark.parametrize("minibatch_std", [False, True])
@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_a_grown_discriminator_gives_the_same_logits_but_for_the_statistic_of_the_batch(config, minibatch_std):
    old, images = Discriminator(config, minibatch_std), draw(config)
    if minibatch_std:
        old.head.weight[:, -16:] = 0  # its statistic is taken over new channels too
    grown = grow_discriminator(old, grown_config(config))
    assert torch.allclose(grown(images), old(F.avg_pool2d(images, 2)), atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_a_grown_decoder_draws_about_the_same_images_at_twice_the_side(config):
    vae, latents = VAE(config).eval(), torch.randn(6, 8)
    if vae.decoder.modulation is not None:
        vae.decoder.modulation.proj_out.weight.normal_(std=0.2)  # it starts at 0, which would prove nothing
    if vae.decoder.latent_map is not None:
        vae.decoder.latent_map.weight.normal_(std=0.2)
    small, large = vae.decoder(latents), grow_decoder(vae.decoder, grown_config(config))(latents)
    enlarged = F.interpolate(small, scale_factor=2, mode="bilinear")
    assert large.shape == enlarged.shape
    # a decoder of random weights draws noise, whose finest part depends on the filters of upsampling
    coarse_small, coarse_large = (F.adaptive_avg_pool2d(images, 8).flatten(1) for images in (enlarged, large))
    distance = torch.cdist(coarse_large, coarse_small)
    own = distance.diagonal().clone()
    assert (own < 0.5 * distance.fill_diagonal_(torch.inf).min(1).values).all()


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[-1]])
def test_every_weight_of_grown_networks_can_learn(config):
    grown, images = grow_vae(VAE(config), grown_config(config)).train(), draw(config)
    optimizer = torch.optim.SGD(grown.parameters(), 1e-3)
    before = {name: parameter.clone() for name, parameter in grown.named_parameters()}
    for _ in range(2):  # weights that are 0 let gradients through once they have moved
        optimizer.zero_grad()
        decoded, posterior = grown(images, torch.randn(4, 8))
        ((decoded - images).square().sum() + posterior.log_var.square().sum()).backward()
        optimizer.step()
    assert all((parameter != before[name]).any() for name, parameter in grown.named_parameters())


def test_networks_that_are_too_narrow_do_not_grow():
    with pytest.raises(VaeganError, match="networks of 4 base channels are too narrow to grow: at least 6"):
        grown_config(ModelConfig(32, 3, 8, 4))


def test_color_layers_need_room_in_the_new_stage():
    with pytest.raises(VaeganError, match="networks of 16 base channels are too narrow to grow: at least 32"):
        grown_config(ModelConfig(32, 3, 8, 16, num_color_layers=8))
    for preset in PRESETS.values():
        assert grown_config(preset.model_config(32, 3)).num_color_layers == preset.num_color_layers
