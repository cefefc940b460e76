import json
import os
import shutil

import pytest
import safetensors.torch
import torch

from vaegan.checkpoint import find_weights, read_checkpoint
from vaegan.errors import VaeganError
from vaegan.events import TrainingProgress, ValidationMetrics, WarningMessage, ignore_event
from vaegan.metrics_log import MetricsWriter
from vaegan.run_dir import RunDir, latest_run
from vaegan.utils.files import write_json

SCHEDULE = {"total_steps": 9, "checkpoint_every": 3, "sample_every": 3, "evaluate_every": 0}


def save(run, step, num_to_keep=3):
    tensors = {"x": torch.full((4,), float(step))}
    return run.save_checkpoint(step, tensors, lambda path: path.write_bytes(b"weights"), num_to_keep)


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "run")
    run.prepare_new(False)
    run.write_config({"kind": "vae", "options": {}, "model": {}, "data": {}, "schedule": SCHEDULE})
    return run


def test_the_newest_few_checkpoints_are_kept(run):
    for step in (1, 2, 3, 10):
        save(run, step, num_to_keep=2)
    assert [path.name for path in run.checkpoints()] == ["step-0000003", "step-0000010"]
    latest = read_checkpoint(run.latest_checkpoint(ignore_event))
    assert latest.step == 10 and torch.equal(latest.tensors["x"], torch.full((4,), 10.0))
    assert run.weights_path.read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["training.safetensors", "state.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(run, name, damage):
    save(run, 1)
    path = save(run, 2) / name
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(
            content[:-2] if damage == "truncate" else content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
        )
    if name == "state.json" and damage == "flip":
        path.write_bytes(content.replace(b'"step": 2', b'"step": "x"'))
    events = []
    assert read_checkpoint(run.latest_checkpoint(events.append)).step == 1
    assert len(events) == 1 and isinstance(events[0], WarningMessage) and "step-0000002" in events[0].text


def test_only_damaged_checkpoints_are_an_error_and_no_checkpoints_are_not(run):
    assert run.latest_checkpoint(ignore_event) is None
    (save(run, 1) / "state.json").unlink()
    with pytest.raises(VaeganError, match="no intact checkpoint is left"):
        run.latest_checkpoint(ignore_event)


def test_a_full_disk_keeps_the_last_checkpoint(run):
    save(run, 1)

    def fail(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(VaeganError, match=r"step-0000002: No space left.*step-0000001 is intact") as caught:
        run.save_checkpoint(2, {"x": torch.zeros(1)}, fail, 3)
    assert "\n" not in str(caught.value)
    assert run.latest_checkpoint(ignore_event).name == "step-0000001"
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["step-0000001"]


def test_a_checkpoint_that_reads_back_differently_deletes_no_older_one(run, monkeypatch):
    """As with a failing disk. The last intact checkpoint stays, even with --keep-checkpoints 1."""
    save(run, 1, num_to_keep=1)
    save_file = safetensors.torch.save_file

    def save_other_values(tensors, path, metadata):
        save_file({name: tensor + 1 for name, tensor in tensors.items()}, path, metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", save_other_values)
    with pytest.raises(VaeganError, match=r"differs from what was written to it.*step-0000001 is intact"):
        save(run, 2, num_to_keep=1)
    assert [path.name for path in run.checkpoints()] == ["step-0000001"]
    monkeypatch.undo()
    monkeypatch.setattr("vaegan.run_dir.write_json", lambda path, value: write_json(path, value | {"sha256": {}}))
    with pytest.raises(VaeganError, match=r"step-0000001 is intact"):
        save(run, 2, num_to_keep=1)
    assert run.latest_checkpoint(ignore_event).name == "step-0000001"


def test_weights_are_copied_from_a_checkpoint_unless_they_are_equal(run):
    path = save(run, 1)
    before = run.weights_path.stat().st_mtime_ns
    run.copy_weights_from(path)
    assert run.weights_path.stat().st_mtime_ns == before
    run.weights_path.write_bytes(b"older")
    run.copy_weights_from(path)
    assert run.weights_path.read_bytes() == b"weights"


def test_checkpoints_of_interruptions_are_kept_only_until_the_next(run):
    for step, is_scheduled in ((1, True), (2, True), (3, False), (4, False)):
        run.save_checkpoint(step, {"x": torch.zeros(1)}, lambda path: path.write_bytes(b"w"), 2, is_scheduled)
    assert [path.name[-1] for path in run.checkpoints()] == ["1", "2", "4"]
    assert (
        run.latest_checkpoint(ignore_event).name[-1] == "4"
        and run.latest_checkpoint(ignore_event, scheduled_only=True).name[-1] == "2"
    )
    save(run, 5, num_to_keep=2)
    assert [path.name[-1] for path in run.checkpoints()] == ["2", "5"]


def test_checkpoints_are_ordered_by_step_and_other_directories_are_ignored(run):
    for step in (9_999_999, 10_000_000):
        save(run, step)
    for name in ("step-x", "step-", "step-²"):
        (run.path / "checkpoints" / name).mkdir()
    (run.path / "checkpoints" / "step-0000003").write_text("a file")
    assert [path.name for path in run.checkpoints()] == ["step-9999999", "step-10000000"]
    run.weights_path.unlink()
    assert find_weights(run.path).parent.name == "step-10000000"


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
@pytest.mark.parametrize("name", ["checkpoints", "previews", "metrics.jsonl", "model.safetensors"])
def test_a_link_out_of_the_run_is_neither_written_nor_read_through(run, tmp_path, name):
    save(run, 1)
    (outside := tmp_path / "outside").mkdir()
    path = run.path / name
    if path.exists():
        path.rename(outside / name)
    else:
        (outside / name).write_text("mine")
    path.symlink_to(outside / name)
    with pytest.raises(VaeganError, match=rf"{name} is a link out of .*run, to .*outside.*") as caught:
        run.remove_partial_files()
    assert "\n" not in str(caught.value)
    if name == "model.safetensors":
        with pytest.raises(VaeganError, match="is a link out of"):
            find_weights(run.path)
    assert (outside / name).exists()


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
def test_links_to_a_run_and_links_inside_it_are_followed(run, tmp_path):
    save(run, 1)
    run.weights_path.unlink()
    run.weights_path.symlink_to(run.path / "checkpoints" / "step-0000001" / "model.safetensors")
    (tmp_path / "best").symlink_to(run.path)
    linked = RunDir(tmp_path / "best")
    linked.remove_partial_files()
    assert find_weights(tmp_path / "best").read_bytes() == b"weights"
    (run.path / "previews").symlink_to("previews")
    with pytest.raises(VaeganError, match="previews"):
        linked.remove_partial_files()


def test_metrics_after_a_step_are_deleted(run):
    writer = MetricsWriter(run.path)
    for step in (1, 2, 3):
        writer(TrainingProgress(step, 9, step * 8, 100.0, {"loss": 1 / 3}))
        writer(TrainingProgress(step, 9, step * 8, 100.0))
    writer(ValidationMetrics(3, 24, {"psnr": 20.0}))
    with writer.log_path.open("a") as file:
        file.write('{"step": 4, "im')
    run.truncate_metrics(2)
    lines = [json.loads(line) for line in writer.log_path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0].pop("train_seconds") >= 0
    assert lines[0] == {"step": 1, "images_seen": 8, "images_per_second": 100.0, "loss": 0.333333}


def test_other_directories_are_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(VaeganError, match="not a run of vaegan"):
        RunDir(tmp_path / "mine").prepare_new(False)
    RunDir(tmp_path / "mine").prepare_new(True)
    assert (tmp_path / "mine" / "diary.txt").exists()
    with pytest.raises(VaeganError, match="is a file"):
        RunDir(tmp_path / "mine" / "diary.txt").prepare_new(False)


def test_a_run_that_was_killed_before_its_config_was_written_starts_again(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".partial-123-config.json").write_text("{")
    RunDir(tmp_path / "run").prepare_new(False)
    assert list((tmp_path / "run").iterdir()) == []


def test_force_deletes_only_the_files_of_the_run(run):
    save(run, 1)
    (run.path / "notes.txt").write_text("keep me")
    run.prepare_new(True)
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 9}, "has format 9, this vaegan reads up to 2: upgrade vaegan"),
        ({"format_version": 1}, "has format 1, of vaegan 0.1: train it again"),
        ({"format_version": None}, "damaged: format_version or kind is missing"),
        ({"kind": "x"}, "damaged"),
        ({"schedule": []}, "'schedule' is missing"),
        ({"schedule": SCHEDULE | {"total_steps": "x"}}, "total_steps 'x', expected a whole number"),
        ({"schedule": SCHEDULE | {"images_per_second": -1}}, "images_per_second '-1', expected a number above 0"),
        ({"from_vae": []}, r"from_vae '\[\]', expected an object"),
        ({"from_vae": {"path": "x", "train_seconds": "x"}}, "from_vae train_seconds 'x', expected a number"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_in_one_line(run, change, message):
    config = json.loads((run.path / "config.json").read_text()) | change
    (run.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(VaeganError, match=message) as caught:
        run.read_config()
    assert "\n" not in str(caught.value) and str(run.path) in str(caught.value)


def test_the_latest_run_is_chosen_by_kind_then_by_time(vae_run, gan_run, tmp_path):
    assert latest_run(tmp_path, ("gan", "vae")) is None
    shutil.copytree(vae_run, tmp_path / "v")
    assert latest_run(tmp_path, ("gan", "vae")) == tmp_path / "v"
    shutil.copytree(gan_run, tmp_path / "g")
    shutil.copytree(vae_run, tmp_path / "w")
    assert latest_run(tmp_path, ("gan", "vae")) == tmp_path / "g"
