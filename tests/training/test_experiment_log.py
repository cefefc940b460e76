"""TensorBoard, W&B and MLflow show what metrics.jsonl holds, also after interruptions."""

import json
import sys

import pytest
import torch
from pieces import interrupted_after, trainer_of

from comparing import assert_same_run
from vaegan.errors import VaeganError
from vaegan.events import Alarm, Rollback, TrainingProgress, TrainingStarted, WarningMessage, ignore_event
from vaegan.run_dir import RunDir
from vaegan.training.experiment_log import LOG_TYPES, experiment_logger
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
        train(tmp_path / "run", log="tensorboard", **OFTEN)
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
    train(tmp_path / "run", log="tensorboard", **{**OFTEN, "keep_checkpoints": 2})
    (newest,) = [path for path in RunDir(tmp_path / "run").checkpoints() if path.name == "step-0000004"]
    (newest / "state.json").unlink()
    train(tmp_path / "run")
    scalars, preview_steps = read_tensorboard(tmp_path / "run")
    assert list(scalars["train/kl"]) == [1, 2, 3, 4] and preview_steps == [0, 2, 4]


def test_the_run_is_the_same_with_and_without(prepared, vae_run, tmp_path):
    pytest.importorskip("tensorboard")
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "with", log="tensorboard", **OFTEN)
    train(tmp_path / "without", **OFTEN)
    assert not (tmp_path / "without" / "tensorboard").exists()
    events = list((tmp_path / "with" / "tensorboard").iterdir())
    assert events
    for path in events:
        path.unlink()
    config = json.loads((tmp_path / "with" / "config.json").read_text())
    assert config["options"].pop("log") == "tensorboard"
    for name in ("with", "without"):
        config = json.loads((tmp_path / name / "config.json").read_text())
        config["options"].pop("log", None)
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        (tmp_path / name / "report.html").unlink()  # it lists the option
    assert_same_run(tmp_path / "with", tmp_path / "without")


def test_starting_over_starts_the_log_over(prepared, vae_run, tmp_path):
    pytest.importorskip("tensorboard")
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "run", log="tensorboard", **OFTEN)
    train(tmp_path / "run", log="tensorboard", force=True, **{**OFTEN, "steps": 1})
    scalars, preview_steps = read_tensorboard(tmp_path / "run")
    assert list(scalars["train/kl"]) == [1] and preview_steps == [0, 1]


def test_a_missing_extra_is_named_and_nothing_is_written(prepared, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delattr(torch.utils, "tensorboard", raising=False)
    with pytest.raises(VaeganError, match=r"--log tensorboard needs the extra.*pip install 'vaegan\[tensorboard\]'"):
        train_vae(prepared, tmp_path / "run", steps=1, preset="tiny", batch_size=8, log="tensorboard")
    assert not list((tmp_path / "run").glob("*.*")) or not (tmp_path / "run" / "config.json").exists()


def test_mlflow_shows_the_metrics_log_and_an_interrupted_run_continues(prepared, vae_run, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    train = trainer_of("vae", prepared, vae_run)
    with interrupted_after(3):
        train(tmp_path / "run", log="mlflow", **OFTEN)
    train(tmp_path / "run")  # the option is remembered, and the run of MLflow too
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("vaegan")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run" and run.info.status == "FINISHED" and run.data.params["batch_size"] == "8"
    for tag, values in read_metrics_log(tmp_path / "run").items():
        history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, tag)}
        assert history == pytest.approx(values, rel=1e-4), tag
    previews = [file.path for file in client.list_artifacts(run.info.run_id, "previews")]
    assert previews == [f"previews/step-000000{step}.png" for step in (0, 2, 4)]


def test_wandb_writes_offline_and_an_interrupted_run_keeps_its_id(prepared, vae_run, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train = trainer_of("gan", prepared, vae_run)
    with interrupted_after(3):
        train(tmp_path / "run", log="wandb", **OFTEN)
    (first,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    train(tmp_path / "run")
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert {path.name for path in files} == {first.name} and len(files) == 2
    assert json.loads((tmp_path / "run" / "log-id.json").read_text())["wandb"] in first.name
    content = b"".join(path.read_bytes() for path in files)
    for name in ("train/loss_d", "val/kid", "preview"):
        assert name.encode() in content
    train(tmp_path / "run", force=True, **{**OFTEN, "steps": 1})
    assert not (tmp_path / "run" / "wandb").exists() and not (tmp_path / "run" / "log-id.json").exists()


def test_warnings_and_alarms_are_logged_those_before_the_first_step_too(prepared, tmp_path, monkeypatch):
    logged = []

    class Log:
        def __init__(self, run_dir, step):
            pass

        def log_warning(self, text, step):
            logged.append((step, text))

        def close(self):
            logged.append("closed")

    monkeypatch.setitem(LOG_TYPES, "tensorboard", Log)
    with experiment_logger(ignore_event, RunDir(tmp_path / "run"), "tensorboard") as emit:
        emit(WarningMessage("before"))
        emit(TrainingStarted("gan", 2, 9, 8))
        emit(WarningMessage("after"))
        emit(TrainingProgress(3, 9, 24, 1.0))
        emit(Alarm(3, 24, "collapse", "all faces are alike"))
        emit(Rollback(2, 16, 1, "gentler"))
    assert logged == [(2, "before"), (2, "after"), (3, "all faces are alike"), (3, "gentler"), "closed"]


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named(name, module, prepared, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(VaeganError, match=rf"--log {name} needs the extra {name}.*pip install 'vaegan\[{name}\]'"):
        train_vae(prepared, tmp_path / "run", steps=1, preset="tiny", batch_size=8, log=name)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_run_from_before_the_option_still_logs_to_tensorboard(prepared, vae_run, tmp_path):
    pytest.importorskip("tensorboard")
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "run", **OFTEN)
    config_path = tmp_path / "run" / "config.json"
    config = json.loads(config_path.read_text())
    config["options"] |= {"tensorboard": True}
    del config["options"]["log"]
    config_path.write_text(json.dumps(config))
    train(tmp_path / "run", steps=5)
    assert 5 in read_tensorboard(tmp_path / "run")[0]["train/kl"]
