import json
import os

import pytest
import torch

from vaegan import checkpoint
from vaegan.checkpoint import read_checkpoint
from vaegan.errors import VaeganError
from vaegan.events import TrainingProgress, ValidationMetrics, WarningMessage, ignore_event
from vaegan.metrics_log import MetricsWriter
from vaegan.run_dir import RunDir, latest_run
from vaegan.utils.files import write_json


def save(run, step, keep=3):
    return run.save(step, {"x": torch.full((4,), float(step))}, lambda path: path.write_bytes(b"weights"), keep)


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "run")
    run.prepare_new(False)
    run.write_config({"kind": "vae", "options": {}, "model": {}, "data": {}, "schedule": {}})
    return run


def test_the_newest_few_checkpoints_are_kept(run):
    for step in (1, 2, 3, 10):
        save(run, step, keep=2)
    assert [path.name for path in run.checkpoints()] == ["step-0000003", "step-0000010"]
    newest = read_checkpoint(run.newest(ignore_event))
    assert newest.step == 10 and torch.equal(newest.tensors["x"], torch.full((4,), 10.0))
    assert run.weights.read_bytes() == b"weights"


@pytest.mark.parametrize("spoil", ["training.safetensors", "state.json", "model.safetensors"])
@pytest.mark.parametrize("how", ["truncate", "flip", "remove"])
def test_a_damaged_newest_checkpoint_is_passed_over_and_told(run, spoil, how):
    save(run, 1)
    path = save(run, 2) / spoil
    content = path.read_bytes()
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-2] if how == "truncate" else content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    if spoil == "state.json" and how == "flip":
        path.write_bytes(content.replace(b'"step": 2', b'"step": "x"'))
    told = []
    assert read_checkpoint(run.newest(told.append)).step == 1
    assert len(told) == 1 and isinstance(told[0], WarningMessage) and "step-0000002" in told[0].text


def test_no_whole_checkpoint_is_an_error_and_none_at_all_is_not(run):
    assert run.newest(ignore_event) is None
    (save(run, 1) / "state.json").unlink()
    with pytest.raises(VaeganError, match="no whole checkpoint is left"):
        run.newest(ignore_event)


def test_a_full_disk_keeps_the_last_checkpoint_and_says_so(run):
    save(run, 1)

    def full(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(VaeganError, match=r"step-0000002: No space left.*step-0000001 is whole") as caught:
        run.save(2, {"x": torch.zeros(1)}, full, 3)
    assert "\n" not in str(caught.value)
    assert run.newest(ignore_event).name == "step-0000001"
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["step-0000001"]


def test_a_checkpoint_that_reads_back_otherwise_costs_no_older_one(run, monkeypatch):
    """A failing disk: what was written is not what is read. The last whole checkpoint stays, even with --keep-checkpoints 1."""
    save(run, 1, keep=1)
    real = checkpoint.save_file

    def failing(tensors, path, metadata):
        real({name: tensor + 1 for name, tensor in tensors.items()}, path, metadata)

    monkeypatch.setattr(checkpoint, "save_file", failing)
    with pytest.raises(VaeganError, match=r"reads back other than it was written.*step-0000001 is whole"):
        save(run, 2, keep=1)
    assert [path.name for path in run.checkpoints()] == ["step-0000001"]
    monkeypatch.undo()
    monkeypatch.setattr("vaegan.run_dir.write_json", lambda path, value: write_json(path, value | {"sha256": {}}))
    with pytest.raises(VaeganError, match=r"step-0000001 is whole"):
        save(run, 2, keep=1)
    assert run.newest(ignore_event).name == "step-0000001"


def test_weights_are_published_again_where_a_kill_came_between_and_not_touched_otherwise(run):
    path = save(run, 1)
    before = run.weights.stat().st_mtime_ns
    run.publish(path)
    assert run.weights.stat().st_mtime_ns == before
    run.weights.write_bytes(b"older")
    run.publish(path)
    assert run.weights.read_bytes() == b"weights"


def test_checkpoints_of_interruptions_are_extra_and_go_with_the_next(run):
    for step, planned in ((1, True), (2, True), (3, False), (4, False)):
        run.save(step, {"x": torch.zeros(1)}, lambda path: path.write_bytes(b"w"), 2, planned)
    assert [path.name[-1] for path in run.checkpoints()] == ["1", "2", "4"]
    assert run.newest(ignore_event).name[-1] == "4" and run.newest(ignore_event, planned=True).name[-1] == "2"
    save(run, 5, keep=2)
    assert [path.name[-1] for path in run.checkpoints()] == ["2", "5"]


def test_checkpoints_are_in_the_order_of_steps_and_other_folders_are_none(run):
    for step in (9_999_999, 10_000_000):
        save(run, step)
    for name in ("step-x", "step-", "step-²"):
        (run.path / "checkpoints" / name).mkdir()
    (run.path / "checkpoints" / "step-0000003").write_text("a file")
    assert [path.name for path in run.checkpoints()] == ["step-9999999", "step-10000000"]
    run.weights.unlink()
    assert checkpoint.find_weights(run.path).parent.name == "step-10000000"


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
@pytest.mark.parametrize("name", ["checkpoints", "previews", "metrics.jsonl", "model.safetensors"])
def test_a_link_out_of_the_run_is_neither_written_nor_read_through(run, tmp_path, name):
    save(run, 1)
    (outside := tmp_path / "outside").mkdir()
    place = run.path / name
    if place.exists():
        place.rename(outside / name)
    else:
        (outside / name).write_text("mine")
    place.symlink_to(outside / name)
    with pytest.raises(VaeganError, match=rf"{name} is a link out of .*run, to .*outside.*") as caught:
        run.remove_partial_files()
    assert "\n" not in str(caught.value)
    if name == "model.safetensors":
        with pytest.raises(VaeganError, match="is a link out of"):
            checkpoint.find_weights(run.path)
    assert (outside / name).exists()


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
def test_a_run_that_is_itself_linked_to_and_links_inside_it_are_fine(run, tmp_path):
    save(run, 1)
    run.weights.unlink()
    run.weights.symlink_to(run.path / "checkpoints" / "step-0000001" / "model.safetensors")
    (tmp_path / "best").symlink_to(run.path)
    linked = RunDir(tmp_path / "best")
    linked.remove_partial_files()
    assert checkpoint.find_weights(tmp_path / "best").read_bytes() == b"weights"
    (run.path / "previews").symlink_to("previews")
    with pytest.raises(VaeganError, match="previews"):
        linked.remove_partial_files()


def test_metrics_after_a_step_are_cut(run):
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


def test_what_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(VaeganError, match="not a run of vaegan"):
        RunDir(tmp_path / "mine").prepare_new(False)
    RunDir(tmp_path / "mine").prepare_new(True)
    assert (tmp_path / "mine" / "diary.txt").exists()
    with pytest.raises(VaeganError, match="is a file"):
        RunDir(tmp_path / "mine" / "diary.txt").prepare_new(False)


def test_killed_before_its_config_was_written_a_run_begins_again(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".partial-123-config.json").write_text("{")
    RunDir(tmp_path / "run").prepare_new(False)
    assert list((tmp_path / "run").iterdir()) == []


def test_force_removes_the_runs_own_files_only(run):
    save(run, 1)
    (run.path / "notes.txt").write_text("keep me")
    run.prepare_new(True)
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 9}, "upgrade vaegan"),
        ({"kind": "x"}, "damaged"),
        ({"schedule": []}, "'schedule' is missing"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused(run, change, words):
    config = json.loads((run.path / "config.json").read_text()) | change
    (run.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(VaeganError, match=words):
        run.config()


def test_newest_run_prefers_the_kind_then_the_time(vae_run, gan_run, tmp_path):
    import shutil

    assert latest_run(tmp_path, ("gan", "vae")) is None
    shutil.copytree(vae_run, tmp_path / "v")
    assert latest_run(tmp_path, ("gan", "vae")) == tmp_path / "v"
    shutil.copytree(gan_run, tmp_path / "g")
    shutil.copytree(vae_run, tmp_path / "w")
    assert latest_run(tmp_path, ("gan", "vae")) == tmp_path / "g"
