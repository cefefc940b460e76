import math

import pytest
import torch

from vaegan.metrics.image_quality import psnr, ssim


def test_psnr_of_a_known_error():
    assert psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.2)).item() == pytest.approx(20.0, abs=1e-4)


def ssim_by_hand(one, other):
    """Wang et al. 2004, eq. 13, window by window in loops."""
    line = [math.exp(-((place - 5) ** 2) / (2 * 1.5**2)) for place in range(11)]
    weights = torch.tensor([[a * b for b in line] for a in line], dtype=torch.float64)
    weights /= weights.sum()
    values = []
    for row in range(one.shape[0] - 10):
        for column in range(one.shape[1] - 10):
            x, y = (part[row : row + 11, column : column + 11].double() for part in (one, other))
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
            both = (weights * (x - mean_x) * (y - mean_y)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append(
                (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
            )
    return float(torch.stack(values).mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_the_papers_on_8_bit_values(channels):
    generator = torch.Generator().manual_seed(channels)
    real = torch.randint(0, 256, (2, channels, 14, 14), generator=generator)
    made = (real + torch.randint(-60, 60, real.shape, generator=generator)).clamp(0, 255)
    found = ssim(*(pictures / 127.5 - 1 for pictures in (real, made)))
    for index in range(2):
        by_hand = [ssim_by_hand(real[index, c], made[index, c]) for c in range(channels)]
        assert found[index].item() == pytest.approx(sum(by_hand) / channels, abs=1e-5)


def test_ssim_is_one_only_for_the_same():
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert ssim(picture, picture).item() == pytest.approx(1)
    assert ssim(picture, -picture).item() < 0
    assert ssim(picture, picture * 0.5).item() < 0.9
