"""A checkpoint whose numbers were changed, checksums included, is refused in one line and nothing is lost."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaegan.cli import main
from vaegan.utils.files import file_sha256

STEP = "checkpoints/step-0000004"


def first(prefix):
    """Return a change of all values of the first tensor whose name begins so."""

    def change(tensors, value):
        name = min(name for name in tensors if name.startswith(prefix))
        tensors[name] = torch.full_like(tensors[name], value)

    return change


def rename_and_fill(name, tensor):
    return lambda tensors, value: tensors.update({name: tensor})


CHANGES = {
    "infinite weights": (first("vae."), float("inf")),
    "huge weights": (first("vae."), 3e38),
    "NaN in the averaged weights": (first("ema."), float("nan")),
    "an infinite optimizer state": (first("optimizer."), float("inf")),
    "a best step beyond all steps": (first("quick_eval."), float("inf")),
    "a best KID that is NaN": (first("quick_eval."), float("nan")),
    "a mean of no values": (rename_and_fill("averager.loss", torch.zeros(2, dtype=torch.float64)), 0),
    "a mean of another shape": (rename_and_fill("averager.loss", torch.zeros(0)), 0),
    "counts of another shape": (rename_and_fill("recovery.counts", torch.zeros(3, dtype=torch.int64)), 0),
    "negative counts": (rename_and_fill("recovery.counts", torch.full((4,), -1)), 0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_numbers_are_refused(name, prepared, vae_run, copy, capsys):
    run = copy(vae_run)
    path, (change, value) = run / STEP / "training.safetensors", CHANGES[name]
    tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
    change(tensors, value)
    save_file(tensors, path)
    state = json.loads((run / STEP / "state.json").read_text())
    state["sha256"]["training.safetensors"] = file_sha256(path)
    (run / STEP / "state.json").write_text(json.dumps(state))
    weights = (run / "model.safetensors").read_bytes()
    assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "6", "-q"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path} is damaged: " in line and "a bug" not in line
    assert (run / "model.safetensors").read_bytes() == weights


def test_a_checkpoint_in_the_place_of_another_is_passed_over(prepared, vae_run, copy, capsys):
    run = copy(vae_run)
    shutil.move(run / STEP, run / "checkpoints" / "step-0000009")
    assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "4"]) == 0
    err = capsys.readouterr().err
    assert "step-0000009/state.json says step 4): resuming from" in err and "Resuming the VAE at step 3" in err
