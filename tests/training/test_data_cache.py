"""Where the images are kept changes no byte of a run."""

import signal

import pytest

from training.pieces import interrupted_after, trainer_of
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.data.memmap import MemmapImages
from vaegan.run_dir import RunDir
from vaegan.training import data_cache
from vaegan.training.loop import TrainLoop


def test_a_run_that_changes_its_cache_ends_in_the_same_bytes(prepared, vae_run, tmp_path, monkeypatch):
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "memory", steps=4, cache="memory")
    with interrupted_after(2, signal.SIGTERM):
        train(tmp_path / "mmap", steps=4, cache="mmap")
    image_types, run = [], TrainLoop.run

    def record_and_run(loop, stop):
        image_types.append(type(loop.sampler.images))
        run(loop, stop)

    monkeypatch.setattr(TrainLoop, "run", record_and_run)
    train(tmp_path / "mmap", steps=4, cache="mmap")
    assert image_types == [MemmapImages]
    first, second = (RunDir(tmp_path / name).weights_path.read_bytes() for name in ("memory", "mmap"))
    assert first == second


@pytest.mark.parametrize(("memory", "expected"), [(10**12, False), (100_000, True), (0, False)])
def test_auto_maps_datasets_that_would_take_much_of_the_memory(prepared, monkeypatch, memory, expected):
    monkeypatch.setattr(data_cache, "memory_limit_bytes", lambda: memory)
    dataset = open_dataset(prepared)  # 48 images of 3,072 bytes
    assert data_cache.should_memory_map("auto", dataset) is expected
    assert data_cache.should_memory_map("mmap", dataset)
    assert not data_cache.should_memory_map("memory", dataset)


def test_the_memory_limit_of_a_container_counts(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(
        data_cache, "CGROUP_LIMIT_FILES", (tmp_path / "memory.max", tmp_path / "none", tmp_path / "gone")
    )
    assert data_cache.memory_limit_bytes() == 10**6


def test_an_unknown_cache_is_refused(prepared, capsys):
    assert main(["train-vae", str(prepared), "--cache", "disk"]) == 2
    assert "--cache disk: expected one of auto, memory, mmap" in capsys.readouterr().err
