"""Local deviation and band powers, by hand and on patterns of one frequency."""

import pytest
import torch

from vaegan.metrics.texture import BAND_NAMES, QUANTILES, band_powers, local_deviation


def stripes(period, amplitude=100, size=64):
    """One gray image of vertical cosine stripes."""
    phase = 2 * torch.pi * torch.arange(size) / period
    row = (128 + amplitude * phase.cos()).round().to(torch.uint8)
    return row.expand(1, 3, size, size)


def test_flat_images_have_no_deviation():
    flat = torch.tensor([200, 10, 90], dtype=torch.uint8)[:, None, None].expand(4, 3, 16, 16)
    result = local_deviation(flat)
    assert result.luminance == (0.0,) * len(QUANTILES)
    assert max(result.chroma) < 1e-4


def test_deviation_by_hand():
    # a column of 90 in every third: each 3x3 window holds three pixels of 90 and six of 0
    image = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    image[..., ::3] = 90
    result = local_deviation(image)
    expected = (90**2 * (1 / 3) * (2 / 3)) ** 0.5
    assert result.luminance == pytest.approx((expected,) * 3, rel=1e-5)
    assert result.chroma == (0.0,) * 3


def test_colored_noise_raises_chroma_and_gray_noise_does_not():
    generator = torch.Generator().manual_seed(0)
    gray = torch.randint(100, 120, (8, 1, 32, 32), generator=generator).to(torch.uint8)
    colored = torch.randint(100, 120, (8, 3, 32, 32), generator=generator).to(torch.uint8)
    assert local_deviation(gray.expand(-1, 3, -1, -1)).chroma[2] < 1e-4
    assert local_deviation(colored).chroma[2] > 2


def test_quantiles_rise_with_the_share_of_busy_windows():
    image = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
    image[..., 40:] = torch.randint(0, 255, (1, 3, 64, 24), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    low, quarter, half = local_deviation(image).luminance
    assert (low, quarter, half) == (0.0, 0.0, 0.0)
    assert local_deviation(image.flip(-1)[..., :44]).luminance[2] > 10


@pytest.mark.parametrize(("period", "band"), [(4, "low"), (64 / 22, "middle"), (64 / 29, "high")])
def test_stripes_have_power_in_their_own_band(period, band):
    powers = dict(zip(BAND_NAMES, band_powers(stripes(period)), strict=True))
    others = [power for name, power in powers.items() if name != band]
    assert powers[band] > 100 * max(others)


def test_power_goes_with_the_square_of_the_amplitude():
    strong, weak = band_powers(stripes(4, 100))[0], band_powers(stripes(4, 50))[0]
    assert strong / weak == pytest.approx(4, rel=0.02)
