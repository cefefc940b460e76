"""Small archives that would unpack to much more cost little memory, disk and time, and have a reason."""

import errno
import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from vaegan.cli import main
from vaegan.data.preprocess import archives
from vaegan.data.preprocess.archives import FREE_ARCHIVE_BYTES, UnpackBudget, UnpackBudgetExceeded
from vaegan.data.preprocess.sources import find_files, resolve_sources

MEBIBYTE = 2**20


def png(seed=0):
    buffer = io.BytesIO()
    Image.effect_noise((40, 40), 50 + seed).save(buffer, "PNG")
    return buffer.getvalue()


def zeros_deflated(num_bytes):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(bytes(num_bytes)) + compressor.flush()


def write_zip_bomb(path, count, num_bytes, overlapping=True, stored=None):
    """Write a zip whose members all are the same `num_bytes` zeros, or a copy each."""
    content = zeros_deflated(MEBIBYTE) if stored is None else stored
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(content), num_bytes, 1, 0) + b"a" + content
    directory, body = b"", b"" if not overlapping else local
    for index in range(count):
        name = f"{index:06d}.png".encode()
        offset = 0 if overlapping else len(body)
        body += b"" if overlapping else local
        directory += struct.pack(
            "<4s4B4H3I5H2I",
            *(b"PK\1\2", 20, 0, 20, 0, 0, 8, 0, 0, 0, len(content), num_bytes, len(name), 0, 0, 0, 0, 0, offset),
        )
        directory += name
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)


def find(path, spool=None):
    return list(find_files(resolve_sources([path]), Path("/nowhere"), lambda archive: spool, [].append))


def test_members_that_overlap_are_refused(tmp_path):
    write_zip_bomb(tmp_path / "bomb.zip", 500, MEBIBYTE)
    files = find(tmp_path / "bomb.zip")
    assert (files[-1].reason, files[-1].detail) == ("broken archive", "members that overlap")
    assert len(files) < 100


@pytest.mark.parametrize("member_bytes", [200 * MEBIBYTE, 2**31])
def test_a_zip_whose_members_grow_too_much_is_refused(tmp_path, process_file, member_bytes):
    write_zip_bomb(tmp_path / "bomb.zip", 500, member_bytes, overlapping=False)
    results = [
        file.reason or process_file(Path(file.name), file.location).reason for file in find(tmp_path / "bomb.zip")
    ]
    assert results[-1] == "too large"
    assert set(results) <= {"too large", "broken archive"}


def test_a_bomb_in_a_zip_leaves_the_images_beside_it(tmp_path, manifest):
    (tmp_path / "in").mkdir()
    for index in range(3):
        (tmp_path / "in" / f"{index}.png").write_bytes(png(index))
    write_zip_bomb(tmp_path / "in" / "bomb.zip", 500, 2**30)
    assert main(["preprocess", str(tmp_path / "in"), "--out", str(tmp_path / "set"), "--size", "32", "-q"]) == 0
    entries = manifest(tmp_path / "set")
    assert [name for name, entry in entries.items() if "row" in entry] == ["0.png", "1.png", "2.png"]
    assert {entry["skip_reason"] for entry in entries.values() if "row" not in entry} <= {"too large", "broken archive"}


def write_tar_bomb(path, mode, num_bytes):
    with tarfile.open(path, mode) as tar:
        for name, size in (("a.png", len(png())), ("zeros.png", num_bytes), ("b.png", len(png()))):
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(png()) if name != "zeros.png" else _Zeros())


class _Zeros:
    def read(self, size):
        return bytes(size)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_does_not_fill_the_disk(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(archives, "FREE_ARCHIVE_BYTES", MEBIBYTE)
    path = tmp_path / f"bomb.tar.{mode[2:]}"
    write_tar_bomb(path, mode, 16 * MEBIBYTE)
    files = find(path, tmp_path / "spool")
    assert [(file.name, file.reason) for file in files] == [("a.png", ""), (path.name, "too large")]
    assert files[-1].detail == "the archive unpacks to too many bytes for its size"
    assert (tmp_path / "spool").stat().st_size < max(MEBIBYTE, 200 * path.stat().st_size) + MEBIBYTE


def test_a_skipped_member_of_a_compressed_tar_counts_too(tmp_path, monkeypatch):
    """A member that is too large is not written, but has to be unpacked to find what follows."""
    for name, value in {"FREE_ARCHIVE_BYTES": MEBIBYTE, "MAX_MEMBER_BYTES": MEBIBYTE}.items():
        monkeypatch.setattr(archives, name, value)
    write_tar_bomb(tmp_path / "bomb.tar.gz", "w:gz", 16 * MEBIBYTE)
    reasons = [file.reason for file in find(tmp_path / "bomb.tar.gz", tmp_path / "spool")]
    assert reasons == ["", "too large", "too large"]
    assert (tmp_path / "spool").stat().st_size == len(png())


def test_all_archives_of_a_run_have_a_limit_together(tmp_path):
    (tmp_path / "small").write_bytes(b"x")
    budget, total = UnpackBudget(), 0
    with (tmp_path / "small").open("rb") as file, pytest.raises(UnpackBudgetExceeded):
        while True:
            budget.start_archive(file)
            budget.take(FREE_ARCHIVE_BYTES)
            total += FREE_ARCHIVE_BYTES
    assert total == archives.FREE_RUN_BYTES


def test_many_large_archives_have_no_limit(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**36)  # a sparse file, which takes no disk space
    budget = UnpackBudget()
    for _ in range(20):
        with (tmp_path / "large").open("rb") as file:
            budget.start_archive(file)
        budget.take(2**36)


def test_a_long_list_of_members_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ZIP_LIST_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for index in range(100):
            archive.writestr(f"{index}.png", b"x")
    (file,) = find(tmp_path / "a.zip")
    assert file.reason == "broken archive" and "a list of members of" in file.detail


def test_a_full_disk_is_not_the_fault_of_the_archive(tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("a.png")
        member.size = len(png())
        tar.addfile(member, io.BytesIO(png()))

    class FullDisk(io.RawIOBase):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archives._Spool, "open", lambda self, path: FullDisk())
    assert main(["preprocess", str(tmp_path / "in"), "--out", str(tmp_path / "set"), "--size", "32"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line and "run the same command again" in line
