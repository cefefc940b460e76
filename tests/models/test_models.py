import pytest
import torch
from torch.nn import functional as F

from vaegan.config.model_config import IMAGE_SIZES, ModelConfig, channel_widths
from vaegan.errors import VaeganError
from vaegan.models.discriminator import Discriminator, Generator, minibatch_stddev
from vaegan.models.layers import (
    BILINEAR_FILTER,
    BOX_FILTER,
    FilteredUpsampleConv,
    activate,
    interleave_phases,
)
from vaegan.models.vae import VAE, Decoder, Posterior


@pytest.mark.parametrize("size", IMAGE_SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_at_every_size(size, channels):
    config = ModelConfig(size, channels, 5, 4)
    images = torch.rand(2, channels, size, size) * 2 - 1
    decoded, posterior = VAE(config)(images, torch.zeros(2, 5))
    assert decoded.shape == images.shape and decoded.abs().max() <= 1
    assert posterior.mean.shape == posterior.log_var.shape == (2, 5)
    assert Discriminator(config)(images).shape == (2,)


def test_minibatch_stddev_is_per_group_and_left_over_rows_get_that_of_the_last_group():
    features = torch.randn(10, 48)
    stddev = minibatch_stddev(features)
    for rows, group in ((slice(0, 4), slice(0, 4)), (slice(4, 8), slice(4, 8)), (slice(8, 10), slice(6, 10))):
        expected = features[group].std(0, correction=0).mean()
        torch.testing.assert_close(stddev[rows], expected.expand(rows.stop - rows.start))
    assert minibatch_stddev(features[:3]).unique().numel() == 1 and minibatch_stddev(features[:0]).shape == (0,)
    assert minibatch_stddev(features[:1].expand(8, -1).bfloat16()).max() < 1e-3


def test_discriminator_with_minibatch_std_sees_repeated_samples():
    discriminator = Discriminator(ModelConfig(32, 3, 5, 4), minibatch_std=True)
    images = torch.rand(8, 3, 32, 32) * 2 - 1
    repeated = discriminator(images[:1].expand(8, -1, -1, -1))
    assert not torch.allclose(discriminator(images)[0], repeated[0])
    both = torch.cat([images[:6], images[:1].expand(6, -1, -1, -1)])
    separate = torch.cat([discriminator(images[:6]), discriminator(both[6:])])
    torch.testing.assert_close(discriminator(both, num_chunks=2), separate)  # groups do not cross chunks
    plain = Discriminator(ModelConfig(32, 3, 5, 4))
    torch.testing.assert_close(plain(images)[:1], plain(images[:1]))


@pytest.mark.parametrize("wrong", [{"size": 48}, {"size": 512}, {"channels": 2}])
def test_invalid_configs_are_refused(wrong):
    with pytest.raises(VaeganError, match="cannot be built"):
        ModelConfig(**wrong)


def test_channel_widths_double_up_to_eight_times():
    assert channel_widths(32, 64) == [32, 64, 128, 256]
    assert channel_widths(16, 256) == [16, 32, 64, 128, 128, 128]


@pytest.mark.parametrize(("taps", "mode"), [(BOX_FILTER, "nearest"), (BILINEAR_FILTER, "bilinear")])
def test_filtered_upsample_conv_equals_upsampling_then_convolution(taps, mode):
    layer, x = FilteredUpsampleConv(3, 5, taps), torch.randn(2, 3, 6, 6)
    kernel = layer.weight.flip(2, 3).transpose(0, 1)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode=mode), kernel, layer.bias, padding=1)
    # at the edges the layer interpolates with zeros, but `interpolate` repeats the outermost pixels
    edge = 0 if mode == "nearest" else 2
    inner = (..., slice(edge, 12 - edge), slice(edge, 12 - edge))
    torch.testing.assert_close(layer(x)[inner], expected[inner], atol=1e-5, rtol=1e-5)
    assert layer(x).shape == expected.shape


@pytest.mark.parametrize("taps", [BOX_FILTER, BILINEAR_FILTER])
def test_filtered_upsample_conv_has_no_checkerboard_on_constant_input(taps):
    inner = FilteredUpsampleConv(4, 6, taps)(torch.ones(1, 4, 8, 8))[..., 2:-2, 2:-2]
    torch.testing.assert_close(inner, inner[..., :1, :1].expand_as(inner))


@pytest.mark.parametrize("taps", [BOX_FILTER, BILINEAR_FILTER])
def test_filtered_upsample_conv_equals_transposed_convolution_frozen_or_not(taps):
    layer, x = FilteredUpsampleConv(4, 6, taps).to(memory_format=torch.channels_last), torch.randn(2, 4, 5, 5)
    torch.nn.init.normal_(layer.bias)
    expected = F.conv_transpose2d(x, layer.filtered_kernel(), layer.bias, stride=2, padding=len(taps) // 2)
    for output in (layer(x), layer.to_frozen()(x)):
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


def test_decoder_upsamples_three_times_to_size_32():
    decoder = Decoder(ModelConfig(32, 1, 4, 4))
    assert decoder(torch.randn(2, 4)).shape == (2, 1, 32, 32)
    assert len(decoder.layers) == 3 + 1


def test_decoder_ends_with_nonlinearity_and_convolution_after_upsampling():
    decoder, seen = Decoder(ModelConfig(32, 3, 4, 4)), {}
    decoder.layers[-2].register_forward_hook(lambda layer, inputs, output: seen.update(upsampled=output))
    decoder.layers[-1].register_forward_hook(lambda layer, inputs, output: seen.update(input=inputs[0], output=output))
    images = decoder(torch.randn(2, 4))
    assert torch.equal(seen["input"], F.leaky_relu(seen["upsampled"], 0.2))
    assert torch.equal(images, torch.tanh(seen["output"]))


def test_initialization_keeps_the_scale_of_the_signal():
    torch.manual_seed(0)
    config = ModelConfig(64, 3, 32, 16)
    with torch.no_grad():
        assert 0.2 < float(Decoder(config)(torch.randn(64, 32)).std()) < 1.0
        assert 0.1 < float(VAE(config).encoder(torch.randn(64, 3, 64, 64)).mean.std()) < 10


def test_the_generator_is_the_decoder():
    assert Generator is Decoder


def test_reparameterization_agrees_with_torch_distributions():
    mean, log_var, noise = torch.randn(7, 4), torch.randn(7, 4), torch.randn(7, 4)
    samples = Posterior(mean, log_var).sample(noise)
    normal = torch.distributions.Normal(mean, (log_var / 2).exp())
    torch.testing.assert_close(samples, normal.icdf(torch.distributions.Normal(0, 1).cdf(noise)), atol=2e-4, rtol=1e-3)
    mean.requires_grad_()
    Posterior(mean, log_var).sample(noise).sum().backward()
    assert torch.equal(mean.grad, torch.ones_like(mean))


def test_posterior_with_cov_factor_has_the_stated_covariance():
    torch.manual_seed(1)
    cov_factor, log_var = torch.tensor([[2.0, 0.0], [1.0, 0.5]]), torch.tensor([0.0, 1.0])
    samples = Posterior(torch.zeros(200_000, 2), log_var.expand(200_000, 2), cov_factor).sample(torch.randn(200_000, 2))
    expected = cov_factor @ log_var.exp().diag() @ cov_factor.T
    torch.testing.assert_close(torch.cov(samples.T), expected, atol=0.05, rtol=0.02)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_interleaving_phases_is_a_pixel_shuffle_of_reordered_channels(memory_format):
    x = torch.randn(2, 12, 4, 6).contiguous(memory_format=memory_format).requires_grad_()
    reordered = x.unflatten(1, (4, 3)).transpose(1, 2).flatten(1, 2)
    output, expected = interleave_phases(x), F.pixel_shuffle(reordered, 2)
    assert torch.equal(output, expected) and output.is_contiguous(memory_format=torch.channels_last)
    factors = torch.randn_like(output)
    gradients = [torch.autograd.grad((images * factors).sum(), x)[0] for images in (output, expected)]
    assert torch.equal(*gradients)


def test_activation_changes_a_tensor_in_place_but_no_view():
    base = torch.tensor([[-1.0, 2.0]])
    assert torch.equal(activate(base[:, :1]), torch.tensor([[-0.2]])) and base[0, 0] == -1
    assert activate(base) is base and torch.equal(base, torch.tensor([[-0.2, 2.0]]))
