"""Dense skip connections between the latents and features of 16x16 pixels."""

import pytest
import torch

from vaegan.config.model_config import IMAGE_SIZES, PRESETS, ModelConfig
from vaegan.config.options import build_settings
from vaegan.errors import VaeganError
from vaegan.models.dense_skips import LatentMap, SkipFeatures
from vaegan.models.vae import VAE, Decoder, Encoder


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@torch.no_grad()
def test_a_map_is_added_to_the_first_channels_with_weights_for_each_place():
    latent_map, features, latents = LatentMap(6, 2), torch.randn(4, 5, 16, 16), torch.randn(4, 6)
    assert torch.equal(latent_map.add_to(features, latents), features), "it starts at 0"
    latent_map.weight.normal_(), latent_map.bias.normal_()
    added = latent_map.add_to(features, latents) - features
    assert torch.equal(added[:, 2:], torch.zeros(4, 3, 16, 16))
    weight, bias = latent_map.weight.view(16, 16, 2, 6), latent_map.bias.view(16, 16, 2)
    for row, column, channel in ((0, 0, 0), (3, 11, 1), (15, 2, 0)):
        expected = latents @ weight[row, column, channel] + bias[row, column, channel]
        torch.testing.assert_close(added[:, channel, row, column], expected, atol=1e-5, rtol=1e-5)


def test_a_map_keeps_the_dtype_and_the_layout_of_the_features():
    features = torch.randn(4, 5, 16, 16).bfloat16().contiguous(memory_format=torch.channels_last)
    sums = LatentMap(6, 2).add_to(features, torch.randn(4, 6))
    assert sums.dtype == torch.bfloat16 and sums.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_the_encoder_takes_linear_functions_of_the_features_of_16x16_pixels():
    levels, skip_features = [torch.randn(2, 3, size, size) for size in (32, 16, 8, 4)], SkipFeatures(3, 2)
    expected = torch.einsum("oi,biyx->boyx", skip_features.weight[:, :, 0, 0], levels[1])
    torch.testing.assert_close(skip_features.of_levels(levels), expected.flatten(1))


@pytest.mark.parametrize("size", IMAGE_SIZES)
@torch.no_grad()
def test_at_any_size_images_change_where_a_place_of_the_map_does_and_nowhere_far(size):
    config = ModelConfig(size, 3, 6, 16, num_color_layers=4, modulation_dim=5, skip_channels=4)
    decoder, latents = Decoder(config).eval(), torch.randn(3, 6)
    before = decoder(latents)
    decoder.latent_map.bias.view(16, 16, 4)[2, 12] = 1
    change = (decoder(latents) - before).abs().amax((0, 1))
    pixels = size // 16
    assert change[2 * pixels : 3 * pixels, 12 * pixels : 13 * pixels].max() > 1e-3
    assert change[8 * pixels :].max() == 0 and change[:, : 6 * pixels].max() == 0


@pytest.mark.parametrize("size", IMAGE_SIZES)
@torch.no_grad()
def test_at_any_size_the_mean_and_the_variance_depend_on_skip_features(size):
    encoder, images = Encoder(ModelConfig(size, 3, 6, 16, skip_channels=4)).eval(), torch.rand(3, 3, size, size)
    before = encoder(images)
    for head in (encoder.mean_head, encoder.log_var_head):
        head.weight[:, encoder.trunk.num_features :] = 0
    after = encoder(images)
    assert not torch.allclose(before.mean, after.mean) and not torch.allclose(before.log_var, after.log_var)
    plain = Encoder(ModelConfig(size, 3, 6, 16)).eval()
    state = {name: value for name, value in encoder.state_dict().items() if not name.startswith("skip_features.")}
    for name in ("mean_head.weight", "log_var_head.weight"):
        state[name] = state[name][:, : encoder.trunk.num_features]
    plain.load_state_dict(state)
    torch.testing.assert_close(plain(images).mean, after.mean, atol=1e-5, rtol=1e-5)


def test_every_weight_learns():
    vae, images = VAE(ModelConfig(32, 3, 6, 8, skip_channels=3)), torch.rand(4, 3, 32, 32)
    before = {name: parameter.clone() for name, parameter in vae.named_parameters()}
    decoded, posterior = vae(images, torch.randn(4, 6))
    ((decoded - images).square().sum() + posterior.log_var.square().sum()).backward()
    torch.optim.SGD(vae.parameters(), 1e-4).step()
    assert all((parameter != before[name]).any() for name, parameter in vae.named_parameters())
    changed = vae.encoder.mean_head.weight != before["encoder.mean_head.weight"]
    assert changed[:, vae.encoder.trunk.num_features :].any()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_the_networks_of_all_presets_have_them(preset, size):
    config = PRESETS[preset].model_config(size, 1)
    assert config.skip_channels > 0 and config.to_json()["skip_channels"] == config.skip_channels
    assert "skip_channels" not in ModelConfig().to_json()
    with torch.device("meta"):
        assert Decoder(config).latent_map is not None


@pytest.mark.parametrize(("size", "most"), [(32, 8), (64, 16), (128, 32), (256, 64)])
def test_more_skip_channels_than_there_are_channels_are_refused(size, most):
    with torch.device("meta"):
        Encoder(ModelConfig(size, 3, 6, 8, skip_channels=most)), Decoder(ModelConfig(size, 3, 6, 8, skip_channels=most))
    message = f"a model with {most + 1} skip channels cannot be built: .* there are at most {most}"
    with pytest.raises(VaeganError, match=message):
        ModelConfig(size, 3, 6, 8, skip_channels=most + 1)


@pytest.mark.parametrize("value", [-1, 513, 1.5, "a"])
def test_impossible_numbers_of_skip_channels_are_refused(value):
    with pytest.raises(VaeganError, match="--skip-channels"):
        build_settings(ModelConfig, {"skip_channels": value})
