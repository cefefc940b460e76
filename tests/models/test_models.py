import pytest
import torch
from torch.nn import functional as F

from vaegan.config.model_config import IMAGE_SIZES, UPSAMPLING_MODES, ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.discriminator import Discriminator, Generator, minibatch_stddev
from vaegan.models.layers import BILINEAR_FILTER, BOX_FILTER, FilteredUpsampleConv, channel_widths
from vaegan.models.vae import VAE, Decoder, Posterior


@pytest.mark.parametrize("size", IMAGE_SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_at_every_size(size, channels):
    config = ModelConfig(size, channels, 5, 4)
    pictures = torch.rand(2, channels, size, size) * 2 - 1
    decoded, posterior = VAE(config)(pictures, torch.zeros(2, 5))
    assert decoded.shape == pictures.shape and decoded.abs().max() <= 1
    assert posterior.mean.shape == posterior.log_var.shape == (2, 5)
    assert Discriminator(config)(pictures).shape == (2,)


def test_deviation_is_of_groups_and_the_rest_is_told_that_of_the_last_rows():
    features = torch.randn(10, 48)
    told = minibatch_stddev(features)
    for rows, group in ((slice(0, 4), slice(0, 4)), (slice(4, 8), slice(4, 8)), (slice(8, 10), slice(6, 10))):
        expected = features[group].std(0, correction=0).mean()
        torch.testing.assert_close(told[rows], expected.expand(rows.stop - rows.start))
    assert minibatch_stddev(features[:3]).unique().numel() == 1 and minibatch_stddev(features[:0]).shape == (0,)
    assert minibatch_stddev(features[:1].expand(8, -1).bfloat16()).max() < 1e-3


def test_a_discriminator_that_is_told_it_sees_that_samples_repeat():
    discriminator = Discriminator(ModelConfig(32, 3, 5, 4), minibatch_std=True)
    pictures = torch.rand(8, 3, 32, 32) * 2 - 1
    alone = discriminator(pictures[:1].expand(8, -1, -1, -1))
    assert not torch.allclose(discriminator(pictures)[0], alone[0])
    same = torch.cat([pictures[:6], pictures[:1].expand(6, -1, -1, -1)])  # groups do not go from one to the other
    apart = torch.cat([discriminator(pictures[:6]), discriminator(same[6:])])
    torch.testing.assert_close(discriminator(same, num_chunks=2), apart)
    plain = Discriminator(ModelConfig(32, 3, 5, 4))
    torch.testing.assert_close(plain(pictures)[:1], plain(pictures[:1]))


@pytest.mark.parametrize("wrong", [{"size": 48}, {"size": 512}, {"channels": 2}])
def test_what_cannot_be_built_is_refused(wrong):
    with pytest.raises(VaeganError, match="cannot be built"):
        ModelConfig(**wrong)


def test_pyramid_doubles_up_to_eight_times():
    assert channel_widths(32, 64) == [32, 64, 128, 256]
    assert channel_widths(16, 256) == [16, 32, 64, 128, 128, 128]


@pytest.mark.parametrize(("taps", "mode"), [(BOX_FILTER, "nearest"), (BILINEAR_FILTER, "bilinear")])
def test_up_is_an_enlargement_then_a_convolution(taps, mode):
    layer, x = FilteredUpsampleConv(3, 5, taps), torch.randn(2, 3, 6, 6)
    kernel = layer.weight.flip(2, 3).transpose(0, 1)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode=mode), kernel, layer.bias, padding=1)
    edge = 0 if mode == "nearest" else 2  # beyond the edge we see zeros, and interpolate the outermost pixels
    inner = (..., slice(edge, 12 - edge), slice(edge, 12 - edge))
    torch.testing.assert_close(layer(x)[inner], expected[inner], atol=1e-5, rtol=1e-5)
    assert layer(x).shape == expected.shape


@pytest.mark.parametrize("taps", [BOX_FILTER, BILINEAR_FILTER])
def test_up_makes_no_weave_of_flat_input(taps):
    inner = FilteredUpsampleConv(4, 6, taps)(torch.ones(1, 4, 8, 8))[..., 2:-2, 2:-2]
    torch.testing.assert_close(inner, inner[..., :1, :1].expand_as(inner))


@pytest.mark.parametrize("taps", [BOX_FILTER, BILINEAR_FILTER])
def test_up_is_the_transposed_convolution_by_its_kernel_fixed_or_not(taps):
    layer, x = FilteredUpsampleConv(4, 6, taps).to(memory_format=torch.channels_last), torch.randn(2, 4, 5, 5)
    torch.nn.init.normal_(layer.bias)
    expected = F.conv_transpose2d(x, layer.filtered_kernel(), layer.bias, stride=2, padding=len(taps) // 2)
    for drawn in (layer(x), layer.to_frozen()(x)):
        torch.testing.assert_close(drawn, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("upsampling", UPSAMPLING_MODES)
def test_every_upsampling_draws_pictures_of_its_size(upsampling):
    decoder = Decoder(ModelConfig(32, 1, 4, 4, upsampling=upsampling))
    drawn = decoder(torch.randn(2, 4))
    assert drawn.shape == (2, 1, 32, 32)
    assert len(decoder.layers) == 3 + (upsampling == "refined")


def test_a_refined_decoder_bends_what_it_enlarged_before_it_draws():
    decoder, seen = Decoder(ModelConfig(32, 3, 4, 4)), {}
    decoder.layers[-2].register_forward_hook(lambda layer, given, made: seen.update(enlarged=made))
    decoder.layers[-1].register_forward_hook(lambda layer, given, made: seen.update(bent=given[0], drawn=made))
    pictures = decoder(torch.randn(2, 4))
    assert torch.equal(seen["bent"], F.leaky_relu(seen["upscaled"], 0.2))
    assert torch.equal(pictures, torch.tanh(seen["drawn"]))


def test_an_untrained_network_keeps_the_size_of_its_signal():
    torch.manual_seed(0)
    config = ModelConfig(64, 3, 32, 16)
    with torch.no_grad():
        assert 0.2 < float(Decoder(config)(torch.randn(64, 32)).std()) < 1.0
        assert 0.1 < float(VAE(config).encoder(torch.randn(64, 3, 64, 64)).mean.std()) < 10


def test_the_generator_is_the_decoder():
    assert Generator is Decoder


def test_reparameterisation_draws_what_torch_distributions_draws():
    mean, log_var, noise = torch.randn(7, 4), torch.randn(7, 4), torch.randn(7, 4)
    ours = Posterior(mean, log_var).sample(noise)
    normal = torch.distributions.Normal(mean, (log_var / 2).exp())
    torch.testing.assert_close(ours, normal.icdf(torch.distributions.Normal(0, 1).cdf(noise)), atol=2e-4, rtol=1e-3)
    mean.requires_grad_()
    Posterior(mean, log_var).sample(noise).sum().backward()
    assert torch.equal(mean.grad, torch.ones_like(mean))


def test_mixed_posterior_has_the_covariance_it_says():
    torch.manual_seed(1)
    mix, log_var = torch.tensor([[2.0, 0.0], [1.0, 0.5]]), torch.tensor([0.0, 1.0])
    drawn = Posterior(torch.zeros(200_000, 2), log_var.expand(200_000, 2), mix).sample(torch.randn(200_000, 2))
    expected = mix @ log_var.exp().diag() @ mix.T
    torch.testing.assert_close(torch.cov(drawn.T), expected, atol=0.05, rtol=0.02)
