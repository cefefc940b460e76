"""The discriminator's warm-up leaves a short run time to learn; too short a run is said to be, before it starts."""

import json

import pytest
from pieces import COMMON
from safetensors.torch import load_file

from vaegan.events import Note, TrainingStarted, WarningMessage, ignore_event
from vaegan.training.distributed import DistributedContext
from vaegan.training.request import TrainRequest
from vaegan.training.setup import setup_new_run
from vaegan.training.train import train_gan


def train(prepared, run, vae, **options):
    events = []
    train_gan(prepared, run, from_vae=vae, evaluate_every=0, on_event=events.append, **{**COMMON, **options})
    start = next(index for index, event in enumerate(events) if isinstance(event, TrainingStarted))
    return [event.text for event in events[:start] if isinstance(event, WarningMessage)]


def d_warmup_steps(run):
    return json.loads((run / "config.json").read_text())["options"]["d_warmup_steps"]


def setup_of(prepared, run, from_gan):
    request = TrainRequest.from_arguments("gan", prepared, run, None, None, False, {}, from_gan)
    return setup_new_run(request, ignore_event, DistributedContext())


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
    expected = "This run trains on 16 images: expect vague samples. Faces become whole after some 20,000"
    assert notes == [expected] * is_told


def test_a_short_gan_that_starts_from_a_trained_one_is_not_said_to_be_vague(prepared, gan_run, tmp_path):
    events = []
    for steps in (1, 2):
        options = {**COMMON, "steps": steps, "batch_size": 8}
        train_gan(prepared, tmp_path / "run", from_gan=gan_run, on_event=events.append, **options)
        assert not any("vague" in getattr(event, "text", "") for event in events)


def test_a_warm_up_is_the_default_of_a_start_only_and_any_gan_may_have_one(prepared, gan_run, tmp_path):
    """A discriminator that starts at random, as that of a lone weights file, warms up longest."""
    options = {**COMMON, "steps": 1, "evaluate_every": 0}
    scratch = train_gan(prepared, tmp_path / "scratch", preset="tiny", latent_dim=8, **options)
    assert d_warmup_steps(scratch) == 0
    (scratch / "model.safetensors").rename(tmp_path / "scratch.safetensors")
    lengths = {}
    for name, start in (("run", gan_run), ("weights", tmp_path / "scratch.safetensors")):
        settings = setup_of(prepared, tmp_path / name, start).settings
        lengths[name] = settings.d_warmup_steps
    assert lengths == {"run": 50, "weights": 200}
    warnings = []
    options |= {"d_warmup_steps": 1, "preset": "tiny", "latent_dim": 8}
    train_gan(prepared, tmp_path / "still", on_event=warnings.append, **options)
    assert any("the generator stays as it starts" in getattr(event, "text", "") for event in warnings)
