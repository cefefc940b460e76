"""A model with classes in Python: sampling, decoding, reconstruction, interpolation, and what is refused."""

import pytest
import torch

import vaegan
from colored import COLORS
from vaegan.errors import UsageError, VaeganError


@pytest.fixture(scope="module", params=["vae", "gan"])
def model(request):
    return vaegan.load(request.getfixturevalue(f"cond_{request.param}_run"), "cpu")


def colors_of(images):
    """The class whose color channel is brightest in each image."""
    return [list(COLORS)[index] for index in images.float().mean((2, 3)).argmax(1).tolist()]


def agreement(images, names):
    """The fraction of images that have the color of their class."""
    return sum(map(str.__eq__, colors_of(images), names)) / len(names)


def test_samples_of_a_class_have_its_color(model):
    assert set(model.classes) == set(COLORS)
    for name in model.classes:
        assert agreement(model.sample(32, class_=name), [name] * 32) > 0.8  # by chance 0.33


def test_without_a_class_seeds_have_the_classes_in_their_frequencies(model):
    names = model.classes_from_seeds(range(600))
    assert {name: names.count(name) / 600 for name in COLORS} == pytest.approx(
        {name: count / sum(COLORS.values()) for name, count in COLORS.items()}, abs=0.08
    )
    assert agreement(model.sample(32, seed=5), model.classes_from_seeds(range(5, 37))) > 0.8


def test_an_image_depends_on_its_seed_and_class_only(model):
    assert torch.equal(model.sample(9, class_="red")[7], model.sample(1, seed=7, class_="red")[0])
    names = ["red", "blue", "red"]
    mixed = model.decode(model.latents_from_seeds([1, 2, 3], class_=names), names)
    for row, name in enumerate(names):
        assert torch.equal(mixed[row], model.for_class(name).sample(1, seed=row + 1)[0])


def test_latents_are_reencoded_with_their_class(model):
    latents = model.latents_from_seeds([1, 2], class_="red")
    assert torch.equal(model.reencode(latents, 1, "red"), model.latents_from_seeds([1, 2], class_="red", reencode=1))
    assert torch.equal(
        model.sample(2, 1, class_="red", reencode=1), model.decode(model.reencode(latents, 1, "red"), "red")
    )
    assert not torch.equal(model.reencode(latents, 1, "blue"), model.reencode(latents, 1, "red"))


def test_an_image_is_reconstructed_with_the_class_that_fits_best(model):
    images = torch.stack([torch.full((3, 32, 32), 30, dtype=torch.uint8)] * 3)
    for row in range(3):
        images[row, row] = 210
    latents, best = model.encode(images), model.best_classes(images, model.encode(images))
    errors = torch.stack(
        [(model.decode(latents, name).float() - images.float()).square().mean((1, 2, 3)) for name in model.classes]
    )
    assert best == [model.classes[index] for index in errors.argmin(0)]
    assert torch.equal(model.reconstruct(images), model.decode(latents, best))
    assert torch.equal(model.reconstruct(images, class_="blue"), model.decode(latents, "blue"))


def test_an_interpolation_goes_from_class_to_class(model):
    frames = model.interpolate([3, 3], frames=5, class_=["red", "blue"])
    assert torch.equal(frames[0], model.sample(1, seed=3, class_="red")[0])
    assert torch.equal(frames[-1], model.sample(1, seed=3, class_="blue")[0])
    latents = model.latents_from_seeds([3, 3], class_=["red", "blue"])
    assert torch.equal(model.interpolate(latents, frames=5, class_=["red", "blue"]), frames)
    red, _, blue = frames[1:4].float().mean((2, 3)).unbind(1)
    assert red[0] > red[2] and blue[0] < blue[2]


def test_what_is_wrong_with_a_class_is_said(model, vae_run, tmp_path):
    latents = torch.zeros(2, model.latent_dim)
    with pytest.raises(UsageError, match=r"expected one of blue, green, red, the values of color; did you mean green"):
        model.sample(2, class_="gren")
    with pytest.raises(UsageError, match=r"is conditional: give --class NAME, one of blue, green, red"):
        model.decode(latents)
    with pytest.raises(UsageError, match=r"classes of 3 images for 2"):
        model.decode(latents, ["red"] * 3)
    with pytest.raises(UsageError, match=r"has the class red only"):
        model.for_class("red").for_class("blue")
    with pytest.raises(UsageError, match=r"--class red: .* is unconditional"):
        vaegan.load(vae_run, "cpu").sample(2, class_="red")
    with pytest.raises(VaeganError, match=r"save the model of all classes"):
        model.for_class("red").save(tmp_path / "red.safetensors")
    model.save(tmp_path / "all.safetensors")
    same = vaegan.load(tmp_path / "all.safetensors", "cpu")
    assert torch.equal(same.sample(2, class_="red"), model.sample(2, class_="red"))
    with pytest.raises(UsageError, match=r"chooses within a class"):
        model.sample(2, where={"glasses": True})
    assert "classes blue, green, red" in repr(model) and "class red" in repr(model.for_class("red"))
