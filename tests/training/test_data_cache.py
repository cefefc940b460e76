"""Where a set is kept changes where its bytes lie, and nothing else."""

import signal

import pytest

from training.pieces import interrupted_after, trainer_of
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.data.memmap import MemmapImages
from vaegan.run_dir import RunDir
from vaegan.training import data_cache
from vaegan.training.loop import TrainLoop


def test_a_run_ends_in_the_same_bytes_though_it_changed_its_cache(prepared, vae_run, tmp_path, monkeypatch):
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "memory", steps=4, cache="memory")
    with interrupted_after(2, signal.SIGTERM):
        train(tmp_path / "mmap", steps=4, cache="mmap")
    seen, go = [], TrainLoop.run

    def watched(session, start, stop):
        seen.append(type(session.batches.images))
        go(session, start, stop)

    monkeypatch.setattr(TrainLoop, "run", watched)
    train(tmp_path / "mmap", steps=4, cache="mmap")
    assert seen == [MemmapImages]
    one, other = (RunDir(tmp_path / name).weights_path.read_bytes() for name in ("memory", "mmap"))
    assert one == other


@pytest.mark.parametrize(("memory", "mapped"), [(10**12, False), (100_000, True), (0, False)])
def test_auto_maps_what_would_take_much_of_the_memory(prepared, monkeypatch, memory, mapped):
    monkeypatch.setattr(data_cache, "memory_limit_bytes", lambda: memory)
    data = open_dataset(prepared)  # 48 pictures of 3,072 bytes
    assert data_cache.should_memory_map("auto", data) is mapped
    assert data_cache.should_memory_map("mmap", data) and not data_cache.should_memory_map("memory", data)


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(
        data_cache, "CGROUP_LIMIT_FILES", (tmp_path / "memory.max", tmp_path / "none", tmp_path / "gone")
    )
    assert data_cache.memory_limit_bytes() == 10**6


def test_a_cache_that_there_is_not(prepared, capsys):
    assert main(["train-vae", str(prepared), "--cache", "disk"]) == 2
    assert "--cache disk: expected one of auto, memory, mmap" in capsys.readouterr().err
