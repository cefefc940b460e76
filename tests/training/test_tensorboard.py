"""TensorBoard shows what metrics.jsonl holds, also after interruptions."""

import json
import sys

import pytest
import torch
from pieces import interrupted_after, trainer_of

from comparing import assert_same_run
from vaegan.errors import VaeganError
from vaegan.run_dir import RunDir
from vaegan.training.train import train_vae

OFTEN = {"steps": 4, "checkpoint_every": 2, "sample_every": 2, "log_every": 1, "evaluate_every": 2}


def read_tensorboard(run):
    """Return what TensorBoard shows of a run: {tag: {step: value}}, and the steps of its previews."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {tag: {scalar.step: scalar.value for scalar in events.Scalars(tag)} for tag in tags["scalars"]}
    return scalars, [image.step for image in events.Images("preview")]


def read_metrics_log(run):
    """Return the scalars of metrics.jsonl in the same form, without the throughput."""
    scalars = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        group = "train" if "images_per_second" in metrics else "val"
        for name, value in metrics.items():
            if name not in ("step", "images_seen", "train_seconds", "images_per_second"):
                scalars.setdefault(f"{group}/{name}", {})[metrics["step"]] = value
    return scalars


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_it_shows_the_metrics_log_and_an_interrupted_run_continues(kind, prepared, vae_run, tmp_path):
    pytest.importorskip("tensorboard")
    train = trainer_of(kind, prepared, vae_run)
    with interrupted_after(3):
        train(tmp_path / "run", tensorboard=True, **OFTEN)
    train(tmp_path / "run")  # the option is remembered
    scalars, preview_steps = read_tensorboard(tmp_path / "run")
    throughput = scalars.pop("train/images_per_second")
    assert sorted(throughput) == [1, 2, 3, 4] and preview_steps == [0, 2, 4]
    expected = read_metrics_log(tmp_path / "run")
    assert scalars.keys() == expected.keys() and "val/kid" in scalars
    for tag, values in expected.items():
        assert scalars[tag] == pytest.approx(values, rel=1e-4), tag


def test_steps_that_a_kill_undid_are_hidden(prepared, vae_run, tmp_path):
    """A run that lost the steps after its checkpoint shows each step once, as it was taken last."""
    pytest.importorskip("tensorboard")
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "run", tensorboard=True, **{**OFTEN, "keep_checkpoints": 2})
    (newest,) = [path for path in RunDir(tmp_path / "run").checkpoints() if path.name == "step-0000004"]
    (newest / "state.json").unlink()
    train(tmp_path / "run")
    scalars, preview_steps = read_tensorboard(tmp_path / "run")
    assert list(scalars["train/kl"]) == [1, 2, 3, 4] and preview_steps == [0, 2, 4]


def test_the_run_is_the_same_with_and_without(prepared, vae_run, tmp_path):
    pytest.importorskip("tensorboard")
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "with", tensorboard=True, **OFTEN)
    train(tmp_path / "without", **OFTEN)
    assert not (tmp_path / "without" / "tensorboard").exists()
    events = list((tmp_path / "with" / "tensorboard").iterdir())
    assert events
    for path in events:
        path.unlink()
    config = json.loads((tmp_path / "with" / "config.json").read_text())
    assert config["options"].pop("tensorboard") is True
    for name in ("with", "without"):
        config = json.loads((tmp_path / name / "config.json").read_text())
        config["options"].pop("tensorboard")
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        (tmp_path / name / "report.html").unlink()  # it lists the option
    assert_same_run(tmp_path / "with", tmp_path / "without")


def test_starting_over_starts_the_log_over(prepared, vae_run, tmp_path):
    pytest.importorskip("tensorboard")
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "run", tensorboard=True, **OFTEN)
    train(tmp_path / "run", tensorboard=True, force=True, **{**OFTEN, "steps": 1})
    scalars, preview_steps = read_tensorboard(tmp_path / "run")
    assert list(scalars["train/kl"]) == [1] and preview_steps == [0, 1]


def test_a_missing_extra_is_named_and_nothing_is_written(prepared, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delattr(torch.utils, "tensorboard", raising=False)
    with pytest.raises(VaeganError, match=r"--tensorboard needs the extra.*pip install 'vaegan\[tensorboard\]'"):
        train_vae(prepared, tmp_path / "run", steps=1, preset="tiny", batch_size=8, tensorboard=True)
    assert not list((tmp_path / "run").glob("*.*")) or not (tmp_path / "run" / "config.json").exists()
