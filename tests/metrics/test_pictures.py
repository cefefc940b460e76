import pytest
import torch

from vaegan.metrics.pictures import psnr


def test_psnr_of_a_known_error():
    assert psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.2)).item() == pytest.approx(20.0, abs=1e-4)
