"""Images as mixtures of color layers."""

import pytest
import torch
import torch.nn.functional as F

from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.models.color_layers import ColorLayers, interpolation_matrix
from vaegan.models.vae import Decoder


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(("size", "new_size"), [(16, 64), (16, 16), (4, 256)])
def test_the_matrix_interpolates_as_torch_does(size, new_size):
    layers, matrix = torch.randn(2, 3, size, size), interpolation_matrix(size, new_size)
    expected = F.interpolate(layers, size=(new_size, new_size), mode="bilinear")
    torch.testing.assert_close(matrix @ layers @ matrix.T, expected)
    torch.testing.assert_close(matrix.sum(1), torch.ones(new_size))


def test_a_layer_of_weight_one_is_drawn_alone_and_unmoved_by_noise():
    color_layers, features = ColorLayers(5, 3, 4), torch.randn(2, 5, 16, 16)
    logits = torch.full((2, 4, 32, 32), -20.0)
    logits[:, 1, :, :16], logits[:, 3, :, 16:] = 20, 20
    images = color_layers(features, logits + torch.randn_like(logits))
    layers = torch.tanh(color_layers.conv(features)).unflatten(1, (3, 4))
    layers = F.interpolate(layers.flatten(1, 2), size=(32, 32), mode="bilinear").unflatten(1, (3, 4))
    assert images.shape == (2, 3, 32, 32)
    torch.testing.assert_close(images[:, :, :, :16], layers[:, :, 1, :, :16])
    torch.testing.assert_close(images[:, :, :, 16:], layers[:, :, 3, :, 16:])


def test_equal_logits_draw_the_mean_of_the_layers():
    color_layers, features = ColorLayers(5, 1, 4), torch.randn(2, 5, 16, 16)
    images = color_layers(features, torch.zeros(2, 4, 16, 16))
    torch.testing.assert_close(images, torch.tanh(color_layers.conv(features)).mean(1, keepdim=True))


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_decoders_of_every_size_mix_layers_of_16x16_pixels(size, preset):
    config, sizes = PRESETS[preset].model_config(size, 3), []
    decoder = Decoder(config)
    assert decoder.color_layers.num_layers == config.num_color_layers > 0
    decoder.color_layers.conv.register_forward_hook(lambda layer, inputs, output: sizes.append(output.shape))
    images = decoder(torch.randn(2, config.latent_dim))
    assert images.shape == (2, 3, size, size) and images.abs().max() < 1
    assert sizes == [(2, 3 * config.num_color_layers, 16, 16)]


def test_colors_keep_float32_precision_under_autocast():
    decoder = Decoder(ModelConfig(32, 3, 4, 16, num_color_layers=4))
    with torch.autocast("cpu", torch.bfloat16):
        images = decoder(torch.randn(2, 4))
    assert images.dtype == torch.float32 and not torch.equal(images, images.bfloat16().float())


def test_without_color_layers_a_model_draws_colors_by_itself_as_older_ones_do():
    decoder = Decoder(ModelConfig(32, 3, 4, 16))
    assert decoder.color_layers is None and not [name for name in decoder.state_dict() if "color" in name]
    assert "num_color_layers" not in ModelConfig(32, 3, 4, 16).to_json()
