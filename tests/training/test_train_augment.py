"""Views of training pictures."""

import pytest
import torch

from vaegan.training.train_augment import random_affine_and_color, random_hflip


def smooth(count=6, channels=3, side=32):
    place = torch.linspace(-1, 1, side)
    waves = [torch.sin(2 * place[:, None] + k) * torch.cos(3 * place[None] - k) for k in range(count * channels)]
    return 0.8 * torch.stack(waves).view(count, channels, side, side)


def middle(channels=3):
    return torch.full((6, 4 + 2 * channels), 0.5)


def test_the_middle_of_all_chances_and_no_amount_leave_pictures_as_they_are():
    pictures = smooth()
    torch.testing.assert_close(random_affine_and_color(pictures, middle(), 0.1), pictures, atol=1e-6, rtol=0)
    torch.testing.assert_close(random_affine_and_color(pictures, torch.rand(6, 10), 0.0), pictures, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_picture_is_shifted_by_its_own_chances_and_the_edge_reflected(channels):
    pictures, chances = smooth(channels=channels), middle(channels)
    chances[2, 2] = 1.0  # 0.125 of 32 pixels: four to the left
    moved = random_affine_and_color(pictures, chances, 0.125)
    torch.testing.assert_close(moved[2, :, :, :-4], pictures[2, :, :, 4:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[2, :, :, -4:], pictures[2, :, :, -4:].flip(-1), atol=1e-5, rtol=0)
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(moved[others], pictures[others], atol=1e-6, rtol=0)


def test_zoom_keeps_the_middle_and_stretch_turns_the_two_sides_against_each_other():
    disc = (torch.linspace(-1, 1, 64).square()[:, None] + torch.linspace(-1, 1, 64).square()[None] < 0.25) * 2.0 - 1
    pictures, chances = disc.expand(6, 1, 64, 64), middle(1)
    chances[0, 0], chances[1, 0], chances[2, 1] = 1.0, 0.0, 1.0
    areas = (random_affine_and_color(pictures, chances, 0.2) > 0).sum((1, 2, 3)) / (disc > 0).sum()
    assert areas[0] == pytest.approx(1 / 1.2**2, rel=0.05)
    assert areas[1] == pytest.approx(1 / 0.8**2, rel=0.05)
    assert areas[2] == pytest.approx(1, rel=0.05)
    stretched = random_affine_and_color(pictures, chances, 0.2)[2, 0] > 0
    assert stretched.any(0).sum() < (disc > 0).any(0).sum() < stretched.any(1).sum()


def test_light_changes_by_channel_and_stays_in_range():
    pictures, chances = smooth(), middle()
    chances[0, 5], chances[1, 9] = 1.0, 1.0
    lit = random_affine_and_color(pictures, chances, 0.1)
    torch.testing.assert_close(lit[0, 1], 1.1 * pictures[0, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(lit[1, 2], pictures[1, 2] + 0.1, atol=1e-5, rtol=0)
    torch.testing.assert_close(lit[0, [0, 2]], pictures[0, [0, 2]], atol=1e-5, rtol=0)
    extreme = random_affine_and_color(pictures.sign(), torch.ones(6, 10), 0.5)
    assert float(extreme.max()) == 1.0 and float(extreme.min()) >= -1.0


def test_pictures_under_a_half_are_mirrored():
    pictures = smooth()
    turned = random_hflip(pictures, torch.tensor([0.0, 0.49, 0.5, 0.9, 0.2, 1.0]))
    for index, flips in enumerate([True, True, False, False, True, False]):
        assert torch.equal(turned[index], pictures[index].flip(-1) if flips else pictures[index])
