"""The discriminator's warm-up leaves a short run time to learn, or a warning says that nothing will."""

import json

import pytest
from pieces import COMMON
from safetensors.torch import load_file

from vaegan.events import TrainingStarted, WarningMessage
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
