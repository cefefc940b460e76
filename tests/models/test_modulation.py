"""Scales and shifts of the decoder's channels by the latents."""

import pytest
import torch

from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.config.options import build_settings
from vaegan.errors import VaeganError
from vaegan.models.modulation import LayerModulation, Modulation
from vaegan.models.vae import VAE, Decoder


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make_pair(**model):
    """Return a decoder with random modulation, and one without that has the same other weights."""
    decoder = Decoder(ModelConfig(32, 3, 6, 8, modulation_dim=5, **model)).eval()
    plain = Decoder(ModelConfig(32, 3, 6, 8, **model)).eval()
    plain.load_state_dict({k: v for k, v in decoder.state_dict().items() if not k.startswith("modulation.")})
    return decoder, plain


@pytest.mark.parametrize("model", [{}, {"num_color_layers": 4}])
@torch.no_grad()
def test_at_first_modulation_changes_nothing(model):
    decoder, plain = make_pair(**model)
    latents = torch.randn(4, 6)
    torch.testing.assert_close(decoder(latents), plain(latents))
    decoder.modulation.proj_out.weight.normal_()
    assert (decoder(latents) - plain(latents)).abs().max() > 0.1


@torch.no_grad()
def test_channels_are_scaled_and_shifted_alike_at_all_pixels():
    x, scale, shift = torch.randn(2, 3, 4, 4), torch.randn(2, 3), torch.randn(2, 3)
    changed = LayerModulation(scale, shift).apply(x)
    for row in range(2):
        for channel in range(3):
            expected = (1 + scale[row, channel]) * x[row, channel] + shift[row, channel]
            torch.testing.assert_close(changed[row, channel], expected)


@torch.no_grad()
def test_a_network_with_one_hidden_layer_computes_the_parts_in_order():
    modulation = Modulation(6, 5, [3, 2], [4])
    modulation.proj_out.weight.normal_(), modulation.proj_out.bias.normal_()
    latents = torch.randn(7, 6)
    layers, shifts = modulation(latents)
    hidden = torch.nn.functional.leaky_relu(modulation.proj_in(latents), 0.2)
    parts = [part for layer in layers for part in layer] + shifts
    assert [part.shape[1] for part in parts] == [3, 3, 2, 2, 4]
    torch.testing.assert_close(torch.cat(parts, 1), modulation.proj_out(hidden))


@torch.no_grad()
def test_shifts_move_a_whole_layer_of_color():
    decoder, _ = make_pair(num_color_layers=4)
    decoder.modulation.proj_out.bias[-12:] = 5  # tanh(5) is white; the 12 colors come last
    decoder.color_layers.conv.weight.zero_()
    torch.testing.assert_close(decoder(torch.randn(3, 6)), torch.ones(3, 3, 32, 32), atol=1e-3, rtol=0)


@torch.no_grad()
def test_shifts_of_the_logits_choose_a_layer():
    decoder, _ = make_pair(num_color_layers=4)
    decoder.modulation.proj_out.bias[-16 + 2] = 50  # of the 4 logits before the 12 colors, the third
    colors = []
    decoder.color_layers.conv.register_forward_hook(lambda layer, inputs, output: colors.append(output.tanh()))
    images = decoder(torch.randn(3, 6))
    third = torch.nn.functional.interpolate(colors[0].unflatten(1, (3, 4))[:, :, 2], size=32, mode="bilinear")
    torch.testing.assert_close(images, third)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_networks_of_all_presets_have_it(preset):
    config = PRESETS[preset].model_config(32, 1)
    assert config.modulation_dim > 0 and config.to_json()["modulation_dim"] == config.modulation_dim
    assert "modulation_dim" not in ModelConfig().to_json()
    with torch.device("meta"):
        assert Decoder(config).modulation is not None


def test_every_weight_learns():
    vae, images = VAE(ModelConfig(32, 3, 6, 8, num_color_layers=4, modulation_dim=5)), torch.rand(4, 3, 32, 32)
    before = {name: parameter.clone() for name, parameter in vae.decoder.modulation.named_parameters()}
    optimizer = torch.optim.SGD(vae.parameters(), 1e-4)
    for _ in range(2):  # the first layer has no gradient while the last is 0
        optimizer.zero_grad()
        decoded, _ = vae(images, torch.randn(4, 6))
        (decoded - images).square().sum().backward()
        optimizer.step()
    assert all((parameter != before[name]).any() for name, parameter in vae.decoder.modulation.named_parameters())


@torch.no_grad()
def test_a_conditional_decoder_of_one_class_is_modulated_too():
    config = ModelConfig(32, 3, 6, 8, modulation_dim=5, classes=("a", "b"), class_label="kind")
    decoder, latents = Decoder(config).eval(), torch.randn(4, 6)
    decoder.class_embedding.weight.normal_(), decoder.modulation.proj_out.weight.normal_(std=0.2)
    one_class = decoder.for_class(1)(latents)
    torch.testing.assert_close(one_class, decoder(latents, torch.tensor([[0.0, 1.0]]).repeat(4, 1)))
    assert not torch.allclose(one_class, decoder(latents, torch.tensor([[1.0, 0.0]]).repeat(4, 1)))
    decoder.modulation.proj_out.weight.zero_()
    assert not torch.allclose(one_class, decoder.for_class(1)(latents))


@torch.no_grad()
def test_bfloat16_changes_images_by_its_rounding_only():
    decoder, plain = make_pair(num_color_layers=4)
    decoder.modulation.proj_out.weight.normal_(std=0.2)
    latents = torch.randn(16, 6)
    errors = []
    for network in (decoder, plain):
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(latents)
        assert rounded.dtype == torch.float32
        errors.append((rounded - network(latents)).abs().mean())
    assert 0 < errors[0] < 4 * errors[1] < 0.1


@pytest.mark.parametrize("value", [-1, 4097, 1.5, "a"])
def test_impossible_numbers_of_hidden_units_are_refused(value):
    with pytest.raises(VaeganError, match="--modulation-dim"):
        build_settings(ModelConfig, {"modulation_dim": value})
