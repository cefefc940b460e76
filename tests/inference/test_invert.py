import math

import pytest
import torch

import vaegan
from vaegan.events import TaskProgress, ignore_event
from vaegan.inference.invert import decode_psnr, invert


@pytest.fixture(scope="module")
def model(gan_run):
    return vaegan.load(gan_run, "cpu")


def test_a_picture_of_the_generator_is_found_again(model):
    pictures = model.sample(3)
    told = []
    found = invert(model, pictures, torch.zeros(3, model.latent_dim), 60, told.append)
    before = decode_psnr(model, pictures, torch.zeros(3, model.latent_dim))
    assert (decode_psnr(model, pictures, found) > before + 3).all()
    assert all(isinstance(event, TaskProgress) for event in told)
    assert [event.done for event in told] == list(range(1, 62)) and told[-1].total == 61


def test_what_is_best_already_stays(model):
    start = model.latents([1, 2])
    assert torch.equal(invert(model, model.decode(start), start, 3, ignore_event), start)


def test_latents_of_a_uniform_prior_stay_in_their_cube(prepared, tmp_path):
    run = vaegan.train_gan(
        prepared, tmp_path / "gan", steps=1, preset="tiny", latent_dim=8, batch_size=8, prior="uniform"
    )
    model = vaegan.load(run, "cpu")
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    found = invert(model, white, torch.zeros(1, 8), 120, ignore_event)
    assert found.abs().max() <= math.sqrt(3) + 1e-6
    assert decode_psnr(model, white, found) > decode_psnr(model, white, torch.zeros(1, 8))
