"""The discriminator's warm-up leaves a short run time to learn; too short a run is said to be, before it starts."""

import json

import pytest
from pieces import COMMON
from safetensors.torch import load_file

from vaegan.events import Note, TrainingStarted, WarningMessage
from vaegan.training.train import train_gan


def train(prepared, run, vae, **options):
    events = []
    train_gan(prepared, run, from_vae=vae, evaluate_every=0, on_event=events.append, **{**COMMON, **options})
    start = next(index for index, event in enumerate(events) if isinstance(event, TrainingStarted))
    return [event.text for event in events[:start] if isinstance(event, WarningMessage)]


def d_warmup_steps(run):
    return json.loads((run / "config.json").read_text())["options"]["d_warmup_steps"]


def moved(vae, run):
    before, after = (load_file(path / "model.safetensors") for path in (vae, run))
    return max(float((after[name] - before[name]).abs().max()) for name in after if name.startswith("decoder."))


@pytest.mark.parametrize("length", [{"steps": 12}, {"images": 90}])
def test_the_default_warm_up_is_a_tenth_of_a_short_run(length, prepared, vae_run, tmp_path):
    assert not train(prepared, tmp_path / "run", vae_run, **length)
    assert d_warmup_steps(tmp_path / "run") == 1 and moved(vae_run, tmp_path / "run") > 0
    assert not train(prepared, tmp_path / "run", vae_run, steps=13)
    assert d_warmup_steps(tmp_path / "run") == 1


def test_a_run_whose_generator_never_moves_is_warned_of_before_its_first_step(prepared, vae_run, tmp_path):
    (warning,) = train(prepared, tmp_path / "run", vae_run, steps=3, d_warmup_steps=3)
    assert warning.startswith("all 3 steps of this run train only the discriminator (--d-warmup-steps 3)")
    assert moved(vae_run, tmp_path / "run") == 0
    assert not train(prepared, tmp_path / "run", vae_run, steps=4)
    assert moved(vae_run, tmp_path / "run") > 0


@pytest.mark.parametrize("batch_size, is_told", [(8, True), (5000, False)])
def test_a_gan_too_short_for_faces_says_so_before_its_first_step(batch_size, is_told, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("vaegan.training.train.TrainLoop.run", lambda loop, stop: None)
    events, options = [], {**COMMON, "batch_size": batch_size, "steps": 2, "preset": "tiny", "latent_dim": 8}
    train_gan(prepared, tmp_path / "run", on_event=events.append, **options)
    notes = [event.text for event in events if isinstance(event, Note) and "vague samples" in event.text]
    assert (
        notes == ["This run trains on 16 images: expect vague samples. Faces become whole after some 20,000"] * is_told
    )


def test_a_short_gan_that_starts_from_a_trained_one_is_not_said_to_be_vague(prepared, gan_run, tmp_path):
    events = []
    for steps in (1, 2):
        options = {**COMMON, "steps": steps, "batch_size": 8}
        train_gan(prepared, tmp_path / "run", from_gan=gan_run, on_event=events.append, **options)
        assert not any("vague" in getattr(event, "text", "") for event in events)
