import pytest
import torch

from vaegan.errors import UsageError
from vaegan.training.augment import AUGMENTATIONS, augment, color_jitter, cutout, parse_augmentations, translate


def test_translation_moves_and_fills_with_zero():
    picture = torch.zeros(1, 1, 16, 16)
    picture[0, 0, 5, 6] = 1
    chances = torch.tensor([[0.999, 0.0, 0.0, 0.0]])  # down... rows + 2, columns - 2
    moved = translate(picture, chances)
    assert moved[0, 0].nonzero().tolist() == [[3, 8]]
    assert translate(torch.ones(1, 3, 16, 16), chances).sum() == 3 * 14 * 14


def test_translation_by_half_chance_does_nothing():
    pictures = torch.randn(4, 3, 16, 16)
    assert torch.equal(translate(pictures, torch.full((4, 4), 0.5)), pictures)


def test_cutout_blanks_a_square_of_half_the_side():
    cut = cutout(torch.ones(1, 1, 16, 16), torch.full((1, 4), 0.5))
    assert cut.sum() == 256 - 64 and not cut[0, 0, 4:12, 4:12].any()


def test_colour_at_half_chance_does_nothing_and_brightens_above():
    pictures = torch.randn(2, 3, 4, 4)
    chances = torch.full((2, 4), 0.5)
    torch.testing.assert_close(color_jitter(pictures, chances), pictures)
    chances[:, 0] = 1.0
    torch.testing.assert_close(color_jitter(pictures, chances), pictures + 0.5)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_flow_through_every_augmentation(name):
    pictures = torch.randn(3, 3, 16, 16, requires_grad=True)
    made = augment(pictures, torch.rand(3, 4), parse_augmentations(name))
    assert made.shape == pictures.shape
    made.sum().backward()
    assert pictures.grad.abs().sum() > 0


def test_a_share_of_the_pictures_is_changed_and_the_others_are_as_they_were():
    pictures, chosen = torch.randn(4, 3, 16, 16), parse_augmentations("color,cutout")
    chances = torch.rand(4, 10)
    chances[:, 8] = torch.tensor([0.1, 0.1, 0.9, 0.9])  # whether colours change
    chances[:, 9] = torch.tensor([0.1, 0.9, 0.1, 0.9])  # whether a square is cut
    made = augment(pictures, chances, chosen, 0.5)
    assert torch.equal(made[3], pictures[3])
    torch.testing.assert_close(made[0], augment(pictures[:1], chances[:1], chosen)[0])
    torch.testing.assert_close(made[1], color_jitter(pictures[1:2], chances[1:2, :4])[0])
    torch.testing.assert_close(made[2], cutout(pictures[2:3], chances[2:3, 4:8])[0])
    assert torch.equal(augment(pictures, chances, chosen, 0.0), pictures)


def test_policies_are_read_and_refused():
    assert parse_augmentations("none") == [] and parse_augmentations("") == []
    assert parse_augmentations("color, cutout") == [AUGMENTATIONS["color"], AUGMENTATIONS["cutout"]]
    with pytest.raises(UsageError, match=r"--augment blur.*color,translation,cutout"):
        parse_augmentations("color,blur")
