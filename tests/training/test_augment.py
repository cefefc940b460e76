"""Augmentations of training images, and of what the discriminator sees."""

import pytest
import torch

from vaegan.errors import UsageError
from vaegan.training.augment import (
    AUGMENTATIONS,
    augment,
    color_jitter,
    cutout,
    parse_augmentations,
    random_affine_and_color,
    random_hflip,
    translate,
)


def smooth_images(count=6, channels=3, size=32):
    x = torch.linspace(-1, 1, size)
    waves = [torch.sin(2 * x[:, None] + k) * torch.cos(3 * x[None] - k) for k in range(count * channels)]
    return 0.8 * torch.stack(waves).view(count, channels, size, size)


def neutral_rand(channels=3):
    return torch.full((6, 4 + 2 * channels), 0.5)


def test_neutral_random_numbers_or_no_strength_change_nothing():
    images = smooth_images()
    torch.testing.assert_close(random_affine_and_color(images, neutral_rand(), 0.1), images, atol=1e-6, rtol=0)
    torch.testing.assert_close(random_affine_and_color(images, torch.rand(6, 10), 0.0), images, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_shifted_by_its_own_random_numbers_with_reflected_edges(channels):
    images, rand = smooth_images(channels=channels), neutral_rand(channels)
    rand[2, 2] = 1.0  # 0.125 of 32 pixels: four to the left
    shifted = random_affine_and_color(images, rand, 0.125)
    torch.testing.assert_close(shifted[2, :, :, :-4], images[2, :, :, 4:], atol=1e-5, rtol=0)
    torch.testing.assert_close(shifted[2, :, :, -4:], images[2, :, :, -4:].flip(-1), atol=1e-5, rtol=0)
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(shifted[others], images[others], atol=1e-6, rtol=0)


def test_zoom_keeps_the_aspect_ratio_and_stretch_keeps_the_area():
    disc = (torch.linspace(-1, 1, 64).square()[:, None] + torch.linspace(-1, 1, 64).square()[None] < 0.25) * 2.0 - 1
    images, rand = disc.expand(6, 1, 64, 64), neutral_rand(1)
    rand[0, 0], rand[1, 0], rand[2, 1] = 1.0, 0.0, 1.0
    areas = (random_affine_and_color(images, rand, 0.2) > 0).sum((1, 2, 3)) / (disc > 0).sum()
    assert areas[0] == pytest.approx(1 / 1.2**2, rel=0.05)
    assert areas[1] == pytest.approx(1 / 0.8**2, rel=0.05)
    assert areas[2] == pytest.approx(1, rel=0.05)
    stretched = random_affine_and_color(images, rand, 0.2)[2, 0] > 0
    assert stretched.any(0).sum() < (disc > 0).any(0).sum() < stretched.any(1).sum()


def test_color_changes_by_channel_and_stays_in_range():
    images, rand = smooth_images(), neutral_rand()
    rand[0, 5], rand[1, 9] = 1.0, 1.0
    recolored = random_affine_and_color(images, rand, 0.1)
    torch.testing.assert_close(recolored[0, 1], 1.1 * images[0, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(recolored[1, 2], images[1, 2] + 0.1, atol=1e-5, rtol=0)
    torch.testing.assert_close(recolored[0, [0, 2]], images[0, [0, 2]], atol=1e-5, rtol=0)
    extreme = random_affine_and_color(images.sign(), torch.ones(6, 10), 0.5)
    assert float(extreme.max()) == 1.0 and float(extreme.min()) >= -1.0


def test_images_with_a_random_number_below_a_half_are_mirrored():
    images = smooth_images()
    mirrored = random_hflip(images, torch.tensor([0.0, 0.49, 0.5, 0.9, 0.2, 1.0]))
    for index, is_mirrored in enumerate([True, True, False, False, True, False]):
        assert torch.equal(mirrored[index], images[index].flip(-1) if is_mirrored else images[index])


def test_translation_moves_and_fills_with_zero():
    images = torch.zeros(1, 1, 16, 16)
    images[0, 0, 5, 6] = 1
    rand = torch.tensor([[0.999, 0.0, 0.0, 0.0]])  # two rows up, two columns to the right
    shifted = translate(images, rand)
    assert shifted[0, 0].nonzero().tolist() == [[3, 8]]
    assert translate(torch.ones(1, 3, 16, 16), rand).sum() == 3 * 14 * 14


def test_translation_by_a_random_number_of_a_half_does_nothing():
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(translate(images, torch.full((4, 4), 0.5)), images)


def test_cutout_blanks_a_square_of_half_the_side():
    images = cutout(torch.ones(1, 1, 16, 16), torch.full((1, 4), 0.5))
    assert images.sum() == 256 - 64 and not images[0, 0, 4:12, 4:12].any()


def test_color_jitter_does_nothing_at_a_half_and_brightens_above():
    images = torch.randn(2, 3, 4, 4)
    rand = torch.full((2, 4), 0.5)
    torch.testing.assert_close(color_jitter(images, rand), images)
    rand[:, 0] = 1.0
    torch.testing.assert_close(color_jitter(images, rand), images + 0.5)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_flow_through_every_augmentation(name):
    images = torch.randn(3, 3, 16, 16, requires_grad=True)
    augmented = augment(images, torch.rand(3, 4), parse_augmentations(name))
    assert augmented.shape == images.shape
    augmented.sum().backward()
    assert images.grad.abs().sum() > 0


def test_each_augmentation_is_applied_with_the_given_probability():
    images, augmentations = torch.randn(4, 3, 16, 16), parse_augmentations("color,cutout")
    rand = torch.rand(4, 10)
    rand[:, 8] = torch.tensor([0.1, 0.1, 0.9, 0.9])  # whether colors change
    rand[:, 9] = torch.tensor([0.1, 0.9, 0.1, 0.9])  # whether a square is cut out
    augmented = augment(images, rand, augmentations, 0.5)
    assert torch.equal(augmented[3], images[3])
    torch.testing.assert_close(augmented[0], augment(images[:1], rand[:1], augmentations)[0])
    torch.testing.assert_close(augmented[1], color_jitter(images[1:2], rand[1:2, :4])[0])
    torch.testing.assert_close(augmented[2], cutout(images[2:3], rand[2:3, 4:8])[0])
    assert torch.equal(augment(images, rand, augmentations, 0.0), images)


def test_augmentation_names_are_parsed_and_refused():
    assert parse_augmentations("none") == [] and parse_augmentations("") == []
    assert parse_augmentations("color, cutout") == [AUGMENTATIONS["color"], AUGMENTATIONS["cutout"]]
    with pytest.raises(UsageError, match=r"--augment blur.*color,translation,cutout"):
        parse_augmentations("color,blur")
