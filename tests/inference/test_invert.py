import math

import pytest
import torch

import vaegan
from vaegan.events import TaskProgress, ignore_event
from vaegan.inference.invert import decode_psnr, invert


@pytest.fixture(scope="module")
def model(gan_run):
    return vaegan.load(gan_run, "cpu")


def test_inversion_finds_images_of_the_generator(model):
    images = model.sample(3)
    initial_latents = torch.zeros(3, model.latent_dim)
    events = []
    latents = invert(model, images, initial_latents, 60, events.append)
    assert (decode_psnr(model, images, latents) > decode_psnr(model, images, initial_latents) + 3).all()
    assert all(isinstance(event, TaskProgress) for event in events)
    assert [event.done for event in events] == list(range(1, 62)) and events[-1].total == 61


def test_latents_that_are_best_already_stay(model):
    latents = model.latents_from_seeds([1, 2])
    assert torch.equal(invert(model, model.decode(latents), latents, 3, ignore_event), latents)


def test_latents_of_a_uniform_prior_stay_in_its_cube(prepared, tmp_path):
    run = vaegan.train_gan(
        prepared, tmp_path / "gan", steps=1, preset="tiny", latent_dim=8, batch_size=8, prior="uniform"
    )
    model = vaegan.load(run, "cpu")
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    latents = invert(model, white, torch.zeros(1, 8), 120, ignore_event)
    assert latents.abs().max() <= math.sqrt(3) + 1e-6
    assert decode_psnr(model, white, latents) > decode_psnr(model, white, torch.zeros(1, 8))
