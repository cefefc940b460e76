import errno
from pathlib import Path

import pytest

from vaegan.errors import VaeganError
from vaegan.utils.files import (
    atomic_directory,
    atomic_write,
    clean_partial_files,
    read_json,
    restore_replaced,
    write_bytes,
    write_json,
)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def write_half(partial: Path) -> None:
        partial.write_bytes(b"ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(VaeganError, match=r"a\.bin: No space left on device"):
        atomic_write(path, write_half)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_directory_leaves_the_old_one(tmp_path):
    path = tmp_path / "set"
    with atomic_directory(path) as partial:
        (partial / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_directory(path) as partial:
        (partial / "a").write_text("new")
        raise ZeroDivisionError
    assert (path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "set"
    for names in (("a", "b"), ("c",)):
        with atomic_directory(path) as partial:
            for name in names:
                (partial / name).write_text(name)
    assert [file.name for file in path.iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [path]


def test_after_a_kill_between_the_two_renames_the_old_directory_comes_back(tmp_path):
    path = tmp_path / "set"
    with atomic_directory(path) as partial:
        (partial / "a").write_text("old")
    path.rename(tmp_path / ".replaced-set")  # where the kill left it
    restore_replaced(path)
    assert (path / "a").read_text() == "old"


def test_cleaning_restores_a_replaced_directory_unless_there_is_a_new_one(tmp_path):
    for name in (".replaced-a", ".replaced-b", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "origin").write_text(name)
    clean_partial_files(tmp_path)
    assert {path.name: (path / "origin").read_text() for path in tmp_path.iterdir()} == {"a": ".replaced-a", "b": "b"}


def test_cleaning_never_deletes_the_only_copy(tmp_path, monkeypatch):
    (tmp_path / ".replaced-a").mkdir()
    monkeypatch.setattr("vaegan.utils.files.restore_replaced", lambda path: None)  # restoring fails
    clean_partial_files(tmp_path)
    assert (tmp_path / ".replaced-a").is_dir()


def test_cleaning_deletes_only_partial_files(tmp_path):
    (tmp_path / ".partial-1-x").write_text("")
    (tmp_path / ".partial-2-d").mkdir()
    (tmp_path / "kept").write_text("")
    clean_partial_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not valid JSON"), ("[1]", "expected a JSON object"), ("[" * 9999, "JSON")]
)
def test_damaged_json_is_an_error(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(VaeganError, match=message):
        read_json(tmp_path / "x.json")


def test_json_is_read_as_it_was_written(tmp_path):
    write_json(tmp_path / "x.json", {"name": "Zoë", "n": 1})
    assert read_json(tmp_path / "x.json") == {"name": "Zoë", "n": 1}
