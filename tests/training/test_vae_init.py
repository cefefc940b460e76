"""The forgetting gauge: the VAE's decoder beside the GAN's generator."""

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
from vaegan.training.vae_init import NUM_SAMPLED, DecoderDrift
from vaegan.utils.images import to_uint8

SIZE = 32


def vae_of(run):
    with torch.device("meta"):
        vae = VAE(read_weights_info(run).config)
    load_into_meta_model(vae, find_weights(run))
    return vae.eval()


@pytest.fixture(scope="module")
def vae(vae_run):
    return vae_of(vae_run)


def faces(count):
    return torch.randint(0, 255, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_the_distance_is_nothing_at_first_and_about_one_from_faces_of_other_latents(vae):
    origin = DecoderDrift.from_decoder(vae.decoder, vae.encoder, vae.prior, faces(8))
    assert origin.distance(vae.decoder) == 0.0

    def other(latents):
        return vae.decoder(latents.roll(1, 0))

    assert origin.distance(other) == pytest.approx(1.0, abs=0.25)


def test_the_sheet_has_the_decoder_above_the_generator_and_faces_above_both(vae):
    held_out = faces(9)
    origin = DecoderDrift.from_decoder(vae.decoder, vae.encoder, vae.prior, held_out)
    sheet = origin.preview_grid(lambda latents: torch.zeros(len(latents), 3, SIZE, SIZE), held_out)
    side = SIZE + 2
    rows = [sheet[:, 2 + row * side : 2 + row * side + SIZE, 2 : 2 + SIZE] for row in range(7)]
    assert sheet.shape == (3, 7 * side + 2, 8 * side + 2)
    for row in (1, 3, 6):
        assert torch.equal(rows[row], to_uint8(torch.zeros(3, SIZE, SIZE)))
    assert torch.equal(rows[4], held_out[0])
    decoded = to_uint8(vae.decoder(origin.latents.detach()).detach())
    assert torch.equal(rows[2], decoded[8]) and torch.equal(rows[5], decoded[NUM_SAMPLED])


def test_without_held_out_faces_only_drawn_latents_are_shown(vae):
    origin = DecoderDrift.from_decoder(vae.decoder, vae.encoder, vae.prior, faces(7))
    assert len(origin.latents) == NUM_SAMPLED
    assert origin.preview_grid(vae.decoder, faces(7)).shape[1] == 4 * (SIZE + 2) + 2


def test_it_lasts_through_a_resume_without_the_vae(prepared, vae_run, vae, tmp_path):
    train = trainer_of("gan", prepared, vae_run)
    plan = {"steps": 4, "sample_every": 2, "evaluate_every": 0}
    with mock.patch("vaegan.training.vae_init.DecoderDrift.from_decoder", wraps=DecoderDrift.from_decoder) as begin:
        with interrupted_after(3):
            train(tmp_path / "run", **plan)
        assert begin.call_count == 1
        train(tmp_path / "run", **plan)
        assert begin.call_count == 1
    run = RunDir(tmp_path / "run")
    assert list(run.previews(DRIFT_PREVIEW).values()) == [0, 2, 4] == list(run.previews().values())
    kept = strip_prefix(load_tensors(run.checkpoints()[-1] / "training.safetensors"), "origin")
    decoded = to_uint8(vae.decoder(kept["latents"]).detach())
    assert (kept["pictures"].int() - decoded.int()).abs().max() <= 1  # of another memory layout
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    said = [line["decoder_drift"] for line in lines if "decoder_drift" in line]
    assert said[0] == 0 and said[1] > 0 and len(said) == 3
    with Image.open(run.preview_path(4, DRIFT_PREVIEW)) as sheet:
        assert sheet.size == (8 * (SIZE + 2) + 2, 7 * (SIZE + 2) + 2)
    page = (run.path / "report.html").read_text()
    assert "Drift from the VAE" in page and page.count('class="player"') == 2


def test_what_is_no_set_of_its_pictures_is_refused(vae):
    origin = DecoderDrift.from_decoder(vae.decoder, vae.encoder, vae.prior, faces(8))
    good, cpu = origin.state_dict(), torch.device("cpu")
    again = DecoderDrift.from_state_dict(good, vae.config, cpu)
    assert (
        torch.equal(again.decoder_images, origin.decoder_images) and again.decoder_images is not origin.decoder_images
    )
    assert DecoderDrift.from_state_dict({}, vae.config, cpu) is None
    for name, value in (
        ("pictures", origin.decoder_images.float()),
        ("latents", origin.latents[:3]),
        ("pictures", None),
    ):
        bad = {key: tensor for key, tensor in (good | {name: value}).items() if tensor is not None}
        with pytest.raises(VaeganError, match="no set of its pictures"):
            DecoderDrift.from_state_dict(bad, vae.config, cpu)


def test_a_run_from_scratch_has_none(prepared, tmp_path):
    from vaegan.training.train import train_gan

    run = train_gan(prepared, tmp_path / "run", preset="tiny", batch_size=8, steps=1, evaluate_every=0)
    assert not RunDir(run).previews(DRIFT_PREVIEW)
    assert (
        "decoder_drift" not in (run / "metrics.jsonl").read_text()
        and "Drift from the VAE</h2>" not in (run / "report.html").read_text()
    )
