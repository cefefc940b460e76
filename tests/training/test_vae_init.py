"""The drift of the GAN's generator from the VAE's decoder."""

import json
from unittest import mock

import pytest
import torch
from pieces import interrupted_after, trainer_of
from PIL import Image

from vaegan.checkpoint import find_weights, load_into_meta_model, load_tensors, read_weights_info, strip_prefix
from vaegan.errors import VaeganError
from vaegan.models.vae import VAE
from vaegan.run_dir import DRIFT_PREVIEW, RunDir
from vaegan.training.train import train_gan
from vaegan.training.vae_init import NUM_SAMPLED, DecoderDrift
from vaegan.utils.images import to_uint8

SIZE = 32
CELL = SIZE + 2


@pytest.fixture(scope="module")
def vae(vae_run):
    with torch.device("meta"):
        vae = VAE(read_weights_info(vae_run).config)
    load_into_meta_model(vae, find_weights(vae_run))
    return vae.eval()


def random_images(count):
    return torch.randint(0, 255, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def drift_from(vae, val_images):
    return DecoderDrift.from_decoder(vae.decoder, vae.encoder, vae.prior, val_images)


def test_the_distance_is_0_at_first_and_about_1_for_images_of_other_latents(vae):
    drift = drift_from(vae, random_images(8))
    assert drift.distance(vae.decoder) == 0.0

    def generator(latents, class_weights):
        return vae.decoder(latents.roll(1, 0))

    assert drift.distance(generator) == pytest.approx(1.0, abs=0.25)


def test_the_grid_has_the_decoders_images_above_the_generators_and_encoded_images_above_both(vae):
    val_images = random_images(9)
    drift = drift_from(vae, val_images)
    grid = drift.preview_grid(lambda latents, _: torch.zeros(len(latents), 3, SIZE, SIZE), val_images)
    first_column = [grid[:, 2 + row * CELL : 2 + row * CELL + SIZE, 2 : 2 + SIZE] for row in range(7)]
    assert grid.shape == (3, 7 * CELL + 2, 8 * CELL + 2)
    for row in (1, 3, 6):
        assert torch.equal(first_column[row], to_uint8(torch.zeros(3, SIZE, SIZE)))
    assert torch.equal(first_column[4], val_images[0])
    decoded = to_uint8(vae.decoder(drift.latents.detach()).detach())
    assert torch.equal(first_column[2], decoded[8]) and torch.equal(first_column[5], decoded[NUM_SAMPLED])


def test_without_validation_images_only_sampled_latents_are_shown(vae):
    drift = drift_from(vae, random_images(7))
    assert len(drift.latents) == NUM_SAMPLED
    assert drift.preview_grid(vae.decoder, random_images(7)).shape[1] == 4 * CELL + 2


def test_it_lasts_through_a_resume_without_the_vae(prepared, vae_run, vae, tmp_path):
    train = trainer_of("gan", prepared, vae_run)
    options = {"steps": 4, "sample_every": 2, "evaluate_every": 0}
    with mock.patch.object(DecoderDrift, "from_decoder", wraps=DecoderDrift.from_decoder) as from_decoder:
        with interrupted_after(3):
            train(tmp_path / "run", **options)
        assert from_decoder.call_count == 1
        train(tmp_path / "run", **options)
        assert from_decoder.call_count == 1
    run = RunDir(tmp_path / "run")
    assert list(run.previews(DRIFT_PREVIEW).values()) == [0, 2, 4] == list(run.previews().values())
    saved = strip_prefix(load_tensors(run.checkpoints()[-1] / "training.safetensors"), "drift_reference")
    decoded = to_uint8(vae.decoder(saved["latents"]).detach())
    assert (saved["decoder_images"].int() - decoded.int()).abs().max() <= 1  # of another memory layout
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    distances = [line["decoder_drift"] for line in lines if "decoder_drift" in line]
    assert distances[0] == 0 and distances[1] > 0 and len(distances) == 3
    with Image.open(run.preview_path(4, DRIFT_PREVIEW)) as grid:
        assert grid.size == (8 * CELL + 2, 7 * CELL + 2)
    page = (run.path / "report.html").read_text()
    assert "Drift from the start" in page and page.count('class="player"') == 2


def test_tensors_that_do_not_fit_are_refused(vae):
    drift, cpu = drift_from(vae, random_images(8)), torch.device("cpu")
    tensors = drift.state_dict()
    loaded = DecoderDrift.from_state_dict(tensors, vae.config, cpu)
    assert torch.equal(loaded.decoder_images, drift.decoder_images)
    assert loaded.decoder_images is not drift.decoder_images
    assert DecoderDrift.from_state_dict({}, vae.config, cpu) is None
    for changes in (
        {"decoder_images": drift.decoder_images.float()},
        {"latents": drift.latents[:3]},
        {"decoder_images": None},
    ):
        bad = {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}
        with pytest.raises(VaeganError, match="does not hold the images of the VAE's decoder"):
            DecoderDrift.from_state_dict(bad, vae.config, cpu)


def test_a_run_from_scratch_has_no_drift(prepared, tmp_path):
    run = train_gan(prepared, tmp_path / "run", preset="tiny", batch_size=8, steps=1, evaluate_every=0)
    assert not RunDir(run).previews(DRIFT_PREVIEW)
    assert "decoder_drift" not in (run / "metrics.jsonl").read_text()
    assert "Drift from the start</h2>" not in (run / "report.html").read_text()
