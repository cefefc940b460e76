import math

import pytest
import torch

from vaegan.metrics.image_quality import psnr, ssim


def test_psnr_of_a_known_error():
    assert psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.2)).item() == pytest.approx(20.0, abs=1e-4)


def ssim_by_loops(a, b):
    """Compute Wang et al. 2004, eq. 13, window by window."""
    line = torch.tensor([math.exp(-((i - 5) ** 2) / (2 * 1.5**2)) for i in range(11)], dtype=torch.float64)
    weights = line[:, None] * line
    weights /= weights.sum()
    values = []
    for row in range(a.shape[0] - 10):
        for column in range(a.shape[1] - 10):
            x, y = (part[row : row + 11, column : column + 11].double() for part in (a, b))
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
            covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append(
                (2 * mean_x * mean_y + c1)
                * (2 * covariance + c2)
                / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
            )
    return float(torch.stack(values).mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_equals_the_papers_on_8_bit_values(channels):
    generator = torch.Generator().manual_seed(channels)
    real = torch.randint(0, 256, (2, channels, 14, 14), generator=generator)
    decoded = (real + torch.randint(-60, 60, real.shape, generator=generator)).clamp(0, 255)
    values = ssim(*(images / 127.5 - 1 for images in (real, decoded)))
    for index in range(2):
        expected = [ssim_by_loops(real[index, c], decoded[index, c]) for c in range(channels)]
        assert values[index].item() == pytest.approx(sum(expected) / channels, abs=1e-5)


def test_ssim_is_1_only_for_equal_images():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert ssim(image, image).item() == pytest.approx(1)
    assert ssim(image, -image).item() < 0
    assert ssim(image, image * 0.5).item() < 0.9
