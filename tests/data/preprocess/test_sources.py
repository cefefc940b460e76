import contextlib
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from vaegan.data.preprocess.archives import ARCHIVE_SUFFIXES
from vaegan.data.preprocess.sources import find_files, name_prefixes, resolve_sources
from vaegan.errors import VaeganError


def png(value):
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((40, 50)).point(lambda level: (level + value) % 256).save(buffer, "PNG")
    return buffer.getvalue()


def find_by_name(*sources, spool=None, excluded_dir=Path("/nowhere"), ignored=None):
    on_ignored = [].append if ignored is None else ignored.append
    files = find_files(resolve_sources(list(sources)), excluded_dir, lambda path: spool, on_ignored)
    return {file.name: file for file in files}


def write_tar(path, members, mode="w", **types):
    """types: names of members that are no files, and their type."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, entry_type in types.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = entry_type, "/etc/passwd"
            archive.addfile(entry)


def write_zip(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


MEMBERS = {"a.png": png(0), "deep/b.png": png(1), "empty.png": b"", "新.png": png(2)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\nexit\n" * 9])
def test_zip_members_are_read_from_their_offsets(tmp_path, process_file, method, before):
    path = tmp_path / "faces.zip"
    path.write_bytes(before)
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.mkdir("deep")
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    files = find_by_name(path)
    assert sorted(files) == sorted(MEMBERS)
    for name, file in files.items():
        assert file.reason == ""
        result = process_file(Path(name), file.location)
        assert result.reason == ("empty file" if name == "empty.png" else ""), result.detail


def test_zip64(tmp_path, process_file, monkeypatch):
    path = tmp_path / "large.zip"
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    write_zip(path, MEMBERS)
    monkeypatch.undo()
    assert b"PK\x06\x06" in path.read_bytes()
    files = find_by_name(path)
    assert sorted(files) == sorted(MEMBERS)
    assert process_file(Path("a.png"), files["deep/b.png"].location).reason == ""


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst"])
def test_tars_with_every_compression(tmp_path, process_file, suffix):
    path = tmp_path / f"faces.{suffix}"
    if suffix.endswith("zst"):
        zstandard = pytest.importorskip("zstandard")
        write_tar(tmp_path / "plain.tar", MEMBERS)
        path.write_bytes(zstandard.ZstdCompressor().compress((tmp_path / "plain.tar").read_bytes()))
    else:
        write_tar(path, MEMBERS, {"tar": "w", "tgz": "w:gz"}.get(suffix, f"w:{suffix[4:]}"))
    assert path.name.endswith(ARCHIVE_SUFFIXES)
    files = find_by_name(path, spool=tmp_path / "spool")
    assert sorted(files) == sorted(MEMBERS)
    assert process_file(Path("b.png"), files["deep/b.png"].location).images[0].original_size == (40, 50)
    assert process_file(Path("e.png"), files["empty.png"].location).reason == "empty file"
    result = process_file(Path("a.png"), files["a.png"].location)
    (tmp_path / "a.png").write_bytes(MEMBERS["a.png"])
    assert result.sha256 == process_file(tmp_path / "a.png").sha256


def test_an_archive_given_as_a_source_is_recognized_by_its_content(tmp_path):
    write_zip(tmp_path / "download", {"a.png": MEMBERS["a.png"]})
    assert sorted(find_by_name(tmp_path / "download")) == ["a.png"]


def test_hostile_archives(tmp_path, process_file):
    names = {"../up.png": "unsafe name", "/etc/abs.png": "unsafe name", "C:\\x.png": "unsafe name"}
    names |= {"a/../../b.png": "unsafe name", "..\\c.png": "unsafe name", "fine..png": ""}
    write_zip(tmp_path / "a.zip", dict.fromkeys(names, MEMBERS["a.png"]))
    before = sorted(tmp_path.rglob("*"))
    files = find_by_name(tmp_path / "a.zip")
    assert {name: file.reason for name, file in files.items()} == {k.replace("\\", "/"): v for k, v in names.items()}
    write_tar(
        tmp_path / "a.tar.gz",
        {"../up.png": b"x"},
        "w:gz",
        link=tarfile.SYMTYPE,
        hard=tarfile.LNKTYPE,
        pipe=tarfile.FIFOTYPE,
    )
    files = find_by_name(tmp_path / "a.tar.gz", spool=tmp_path / "spool")
    assert {name: file.reason for name, file in files.items()} == {
        "../up.png": "unsafe name",
        "link": "cannot be read",
        "hard": "cannot be read",
        "pipe": "cannot be read",
    }
    assert (tmp_path / "spool").read_bytes() == b""
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "a.tar.gz", tmp_path / "spool"])


def test_damaged_archives_have_a_reason(tmp_path, process_file):
    write_zip(tmp_path / "whole.zip", MEMBERS, zipfile.ZIP_DEFLATED)
    content = (tmp_path / "whole.zip").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "cut.zip").write_bytes(content[: len(content) // 2])
    (folder / "text.zip").write_text("hello")
    write_tar(tmp_path / "whole.tar.gz", MEMBERS, "w:gz")
    compressed = (tmp_path / "whole.tar.gz").read_bytes()
    (folder / "cut.tar.gz").write_bytes(compressed[: len(compressed) // 2])
    (folder / "text.tar").write_text("hello")
    files = find_by_name(folder, spool=tmp_path / "spool")
    for name in ("cut.zip", "text.zip", "cut.tar.gz", "text.tar"):
        assert files[name].reason == "broken archive", name
    damaged = bytearray(content)
    damaged[60:80] = bytes(20)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    file = find_by_name(tmp_path / "damaged.zip")["a.png"]
    assert process_file(Path("a.png"), file.location).reason == "broken archive"


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_lying_zip_inflates_no_further_than_it_says(tmp_path, process_file, method):
    write_zip(tmp_path / "a.zip", {"a.png": bytes(50_000_000)}, method)
    location = find_by_name(tmp_path / "a.zip")["a.png"].location
    tracemalloc.start()
    result = process_file(Path("a.png"), replace(location, uncompressed_size=1000))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert (result.reason, result.detail) == ("broken archive", "a member that does not match its checksum")
    assert process_file(Path("a.png"), replace(location, uncompressed_size=2**40)).reason == "too large"


def test_zip_members_that_cannot_be_read_have_a_reason(tmp_path, process_file):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("encrypted.png", "method.png", "link.png", "fine.png"):
            archive.writestr(name, MEMBERS["a.png"])
        archive.getinfo("encrypted.png").flag_bits |= 1
        archive.getinfo("method.png").compress_type = 99
        archive.getinfo("link.png").external_attr = stat.S_IFLNK << 16
    files = find_by_name(path)
    assert {name: (file.reason, file.detail) for name, file in files.items()} == {
        "encrypted.png": ("cannot be read", "encrypted"),
        "method.png": ("cannot be read", "compression method 99"),
        "link.png": ("cannot be read", "not a regular file"),
        "fine.png": ("", ""),
    }
    assert process_file(Path("fine.png"), files["fine.png"].location).reason == ""


def test_zip_members_that_overlap_are_read_one_by_one(tmp_path, process_file):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.png", "b.png"):
            archive.writestr(name, MEMBERS["a.png"])
        archive.getinfo("b.png").header_offset = 0
    results = [process_file(Path(name), file.location) for name, file in find_by_name(path).items()]
    assert [result.reason for result in results] == ["", ""] and results[0].sha256 == results[1].sha256


def test_a_zip_member_at_an_impossible_offset_has_a_reason(tmp_path, process_file):
    write_zip(tmp_path / "a.zip", {"a.png": MEMBERS["a.png"]})
    location = find_by_name(tmp_path / "a.zip")["a.png"].location
    for offset in (10**6, 2**64 - 1):
        assert process_file(Path("a.png"), replace(location, offset=offset)).reason == "broken archive"


def test_names_in_zips_need_not_be_unicode(tmp_path, process_file):
    path = tmp_path / "a.zip"
    write_zip(path, {"XXXX.png": MEMBERS["a.png"], "YYY.png": MEMBERS["a.png"], "ZZ.png": MEMBERS["a.png"]})
    content = path.read_bytes().replace(b"XXXX", "顔".encode("shift_jis") * 2).replace(b"YYY", "顔".encode())
    path.write_bytes(content)
    files = find_by_name(path)
    assert sorted(files) == sorted(["ZZ.png", "顔.png", ("顔".encode("shift_jis") * 2).decode("cp437") + ".png"])
    assert all(process_file(Path("a.png"), file.location).reason == "" for file in files.values())
    write_zip(path, {"é.png": MEMBERS["a.png"]})  # marked as UTF-8, and then is not
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    (file,) = find_by_name(path).values()
    assert (file.name, file.reason) == ("a.zip", "broken archive")


def test_a_zip_may_have_thousands_of_members(tmp_path):
    write_zip(tmp_path / "a.zip", {f"{number}.png": b"x" for number in range(3000)})
    assert len(find_by_name(tmp_path / "a.zip")) == 3000


def test_folders_are_searched_recursively(tmp_path):
    folder = tmp_path / "in"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "a.png").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "b.png").write_bytes(b"x")
    (folder / "loop").symlink_to(folder)
    (folder / "up").symlink_to(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.png").write_bytes(b"x")
    (outside / "back").symlink_to(folder)
    (folder / "linked").symlink_to(outside)
    dataset = folder / "data" / "set"
    dataset.mkdir(parents=True)
    for name in ("set.json", "manifest.jsonl", "preview.png"):
        (dataset / name).write_bytes(b"x")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("d.png", b"x")
        archive.writestr("__MACOSX/._d.png", b"x")
    ignored = []
    assert sorted(find_by_name(folder, ignored=ignored)) == ["b.png", "linked/c.png", "more.zip/d.png"]
    assert sorted(set(ignored)) == ["dataset", "hidden", "link"]


def test_several_sources_have_different_prefixes(tmp_path):
    for name in ("one", "two", "deep/one"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").write_bytes(b"x")
    assert sorted(find_by_name(tmp_path / "two", tmp_path / "one")) == ["one/a.png", "two/a.png"]
    assert sorted(find_by_name(tmp_path / "two", tmp_path / "two" / "a.png")) == ["a.png"]
    resolved = resolve_sources([tmp_path / "one", tmp_path / "deep" / "one"])
    assert set(name_prefixes(resolved).values()) == {path.as_posix() for path in resolved}
    assert sorted(find_by_name(tmp_path / "one" / "a.png")) == ["a.png"]
    with pytest.raises(VaeganError, match="none does not exist: give a folder"):
        resolve_sources([tmp_path / "none"])


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes and links")
def test_files_that_cannot_be_read(tmp_path, process_file, monkeypatch):
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    assert find_by_name(tmp_path)["dangling.png"].reason == "cannot be read"
    for name, detail in (("dangling.png", "a link to nothing"), ("pipe.png", "a named pipe, not a regular file")):
        result = process_file(tmp_path / name)
        assert (result.reason, result.detail) == ("cannot be read", detail)
    assert process_file(tmp_path / "gone.png").detail == "No such file or directory"
    (tmp_path / "locked.png").write_bytes(MEMBERS["a.png"])

    def refuse(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vaegan.data.preprocess.file_reader.open_regular", refuse)
    result = process_file(tmp_path / "locked.png")
    assert (result.reason, result.detail) == ("cannot be read", "Permission denied")


@pytest.mark.parametrize("large", [False, True])
def test_a_file_that_changes_while_being_read(tmp_path, process_file, monkeypatch, large):
    from vaegan.data.preprocess import file_reader

    path = tmp_path / "a.png"
    path.write_bytes(MEMBERS["a.png"])
    if large:
        monkeypatch.setattr(file_reader, "MAX_IN_MEMORY_BYTES", 10)
    fstat, calls = os.fstat, []

    def append_a_byte(descriptor):
        status = fstat(descriptor)
        calls.append(descriptor)
        with path.open("ab") as file:
            file.write(b"x")
        return status

    monkeypatch.setattr(file_reader.os, "fstat", append_a_byte)
    assert process_file(path).reason == "changed while being read"
    monkeypatch.setattr(file_reader.os, "fstat", lambda fd: append_a_byte(fd) if len(calls) < 2 else fstat(fd))
    calls.clear()
    result = process_file(path)
    assert large or (result.reason == "" and result.stamp == file_reader.size_and_mtime(path.stat()))


@pytest.mark.parametrize("backwards", [False, True])
def test_links_are_followed_in_a_fixed_order(tmp_path, monkeypatch, backwards):
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    for path in (outer / "one.png", outer / "inner" / "two.png", tmp_path / "in" / "own.png"):
        path.write_bytes(b"x")
    for name, target in (("a", outer / "inner"), ("b", outer), ("c", outer)):
        (tmp_path / "in" / name).symlink_to(target)
    scan = os.scandir

    @contextlib.contextmanager
    def scanned(folder):
        with scan(folder) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=backwards)

    monkeypatch.setattr("vaegan.data.preprocess.sources.os.scandir", scanned)
    assert sorted(find_by_name(tmp_path / "in")) == ["b/inner/two.png", "b/one.png", "own.png"]


@pytest.mark.parametrize("entry_type", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_tar_with_a_name_of_megabytes_is_refused(tmp_path, monkeypatch, entry_type, suffix):
    monkeypatch.setattr("vaegan.data.preprocess.archives.MAX_TAR_METADATA_BYTES", 1000)
    path = tmp_path / f"long{suffix}"
    with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
        entry = tarfile.TarInfo("long")
        entry.type, entry.size = entry_type, 5000
        archive.addfile(entry, io.BytesIO(b"x" * 5000))
    (file,) = find_by_name(path, spool=tmp_path / "spool").values()
    assert file.reason == "broken archive" and "5,000 bytes about one member's name" in file.detail
