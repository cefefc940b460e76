import errno
import io
import os
import socket
from pathlib import Path

import pytest

from vaegan.errors import VaeganError
from vaegan.utils.files import (
    _RegularFileIO,
    append_regular,
    atomic_directory,
    atomic_write,
    check_regular,
    clean_partial_files,
    file_sha256,
    open_regular,
    read_bytes,
    read_json,
    read_json_lines,
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


def make_pipe(path):
    os.mkfifo(path)
    return path


def make_socket(path, monkeypatch):
    monkeypatch.chdir(path.parent)  # the path of a socket has at most about 100 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
    return path


SPECIAL_FILES = {
    "a named pipe, not a regular file": lambda path, monkeypatch: make_pipe(path),
    "a socket, not a regular file": make_socket,
    "a directory, not a regular file": lambda path, monkeypatch: path.mkdir(),
    "a device, not a regular file": lambda path, monkeypatch: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path, monkeypatch: path.symlink_to(path.parent / "nothing"),
    "Too many levels of symbolic links": lambda path, monkeypatch: path.symlink_to(path),
}


@pytest.mark.skipif(os.name != "posix", reason="such files are POSIX only")
@pytest.mark.parametrize("reason", SPECIAL_FILES)
@pytest.mark.parametrize("use", [open_regular, check_regular, file_sha256])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch, use, reason):
    path = tmp_path / "special"
    SPECIAL_FILES[reason](path, monkeypatch)
    with pytest.raises(OSError) as caught:
        use(path)
    assert caught.value.strerror == reason


@pytest.mark.skipif(os.name != "posix", reason="such files are POSIX only")
@pytest.mark.parametrize("reason", SPECIAL_FILES)
@pytest.mark.parametrize(
    "use", [lambda path: read_bytes(path, 9), read_json, lambda path: list(read_json_lines(path, 9))]
)
def test_reading_what_is_no_regular_file_is_one_line(tmp_path, monkeypatch, use, reason):
    path = tmp_path / "special"
    SPECIAL_FILES[reason](path, monkeypatch)
    with pytest.raises(VaeganError) as caught:
        use(path)
    assert str(caught.value) == f"cannot read {path}: {reason}"


@pytest.mark.skipif(os.name != "posix", reason="such files are POSIX only")
def test_nothing_is_appended_to_what_is_no_regular_file(tmp_path):
    make_pipe(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("pipe", "device", "dangling"):
        with pytest.raises(OSError, match=r"not a regular file|a link to nothing"):
            append_regular(tmp_path / name)
    assert not (tmp_path / "nothing").exists()


def test_bytes_are_appended_and_read_back(tmp_path):
    path = tmp_path / "log"
    for part in (b"one ", b"two"):
        with append_regular(path) as file:
            file.write(part)
    with append_regular(path) as file:
        file.seek(0)
        assert file.read() == b"one two"


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has such reads")
@pytest.mark.parametrize("size", [1, 2**20, -1])
def test_a_read_that_would_wait_is_an_error(size):
    """The system's log looks like a regular file, but waits for data."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with io.BufferedReader(_RegularFileIO(read_end, "r")) as file, pytest.raises(OSError, match="waits for data"):
        file.read(size)
    os.close(write_end)


def test_a_file_up_to_the_limit_is_read(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"123456789")
    assert read_bytes(path, 9) == b"123456789"
    with pytest.raises(VaeganError, match=r"a\.bin is damaged: longer than 8 bytes"):
        read_bytes(path, 8)


def test_damaged_lines_are_left_out(tmp_path):
    path = tmp_path / "lines.jsonl"
    long_line = b'{"long": "' + b"x" * 100 + b'"}'
    path.write_bytes(b'{"a": 1}\n[2]\n{"b": \n' + long_line + b'\n{"c": "\xff"}\n' + b"[" * 90 + b'\n{"d": 4}')
    assert list(read_json_lines(path, 64)) == [{"a": 1}, {"c": "\ufffd"}, {"d": 4}]
