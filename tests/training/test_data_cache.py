"""Where a set is kept changes where its bytes lie, and nothing else."""

import signal

import pytest

from training.pieces import interrupted_after, trainer_of
from vaegan.cli import main
from vaegan.data.dataset import open_set
from vaegan.data.memmap import MappedPictures
from vaegan.run_dir import Run
from vaegan.training import data_cache
from vaegan.training.loop import Session


def test_a_run_ends_in_the_same_bytes_though_it_changed_its_cache(prepared, vae_run, tmp_path, monkeypatch):
    train = trainer_of("vae", prepared, vae_run)
    train(tmp_path / "memory", steps=4, cache="memory")
    with interrupted_after(2, signal.SIGTERM):
        train(tmp_path / "mapped", steps=4, cache="mapped")
    seen, go = [], Session.go

    def watched(session, start, stop):
        seen.append(type(session.batches.images))
        go(session, start, stop)

    monkeypatch.setattr(Session, "go", watched)
    train(tmp_path / "mapped", steps=4, cache="mapped")
    assert seen == [MappedPictures]
    one, other = (Run(tmp_path / name).weights.read_bytes() for name in ("memory", "mapped"))
    assert one == other


@pytest.mark.parametrize(("memory", "mapped"), [(10**12, False), (100_000, True), (0, False)])
def test_auto_maps_what_would_take_much_of_the_memory(prepared, monkeypatch, memory, mapped):
    monkeypatch.setattr(data_cache, "memory_of_machine", lambda: memory)
    data = open_set(prepared)  # 48 pictures of 3,072 bytes
    assert data_cache.stays_on_disk("auto", data) is mapped
    assert data_cache.stays_on_disk("mapped", data) and not data_cache.stays_on_disk("memory", data)


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(data_cache, "LIMITS", (tmp_path / "memory.max", tmp_path / "none", tmp_path / "gone"))
    assert data_cache.memory_of_machine() == 10**6


def test_a_cache_that_there_is_not(prepared, capsys):
    assert main(["train-vae", str(prepared), "--cache", "disk"]) == 2
    assert "--cache disk: expected one of auto, memory, mapped" in capsys.readouterr().err
