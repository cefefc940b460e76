import contextlib
import io
import os
import tarfile
import zipfile
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


def found(*sources, spool=None, avoid=Path("/nowhere"), passed=None):
    """What is found, by name."""
    told = [] if passed is None else passed
    return {
        item.name: item for item in find_files(resolve_sources(list(sources)), avoid, lambda path: spool, told.append)
    }


def tar(path, members, mode="w", **kinds):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, kind in kinds.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)


MEMBERS = {"a.png": png(0), "deep/b.png": png(1), "empty.png": b"", "新.png": png(2)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\nexit\n" * 9])
def test_zip_members_are_read_where_they_lie(tmp_path, work, method, before):
    path = tmp_path / "faces.zip"
    path.write_bytes(before)
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.mkdir("deep")
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    listed = found(path)
    assert sorted(listed) == sorted(MEMBERS)
    for name, item in listed.items():
        assert item.reason == ""
        outcome = work(Path(name), item.location)
        assert outcome.reason == ("empty file" if name == "empty.png" else ""), outcome.detail


def test_large_zips_have_64_bit_lists(tmp_path, work, monkeypatch):
    path = tmp_path / "large.zip"
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    monkeypatch.undo()
    assert b"PK\x06\x06" in path.read_bytes()
    listed = found(path)
    assert sorted(listed) == sorted(MEMBERS)
    assert work(Path("a.png"), listed["deep/b.png"].location).reason == ""


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst"])
def test_tars_of_every_packing(tmp_path, work, ending):
    path = tmp_path / f"faces.{ending}"
    if ending.endswith("zst"):
        zstandard = pytest.importorskip("zstandard")
        tar(tmp_path / "plain.tar", MEMBERS)
        path.write_bytes(zstandard.ZstdCompressor().compress((tmp_path / "plain.tar").read_bytes()))
    else:
        tar(path, MEMBERS, {"tar": "w", "tgz": "w:gz"}.get(ending, f"w:{ending[4:]}"))
    assert path.name.endswith(ARCHIVE_SUFFIXES)
    listed = found(path, spool=tmp_path / "spool")
    assert sorted(listed) == sorted(MEMBERS)
    assert work(Path("b.png"), listed["deep/b.png"].location).images[0].original_size == (40, 50)
    assert work(Path("e.png"), listed["empty.png"].location).reason == "empty file"
    same = work(Path("a.png"), listed["a.png"].location)
    (tmp_path / "a.png").write_bytes(MEMBERS["a.png"])
    assert same.sha256 == work(tmp_path / "a.png").sha256


def test_an_archive_is_known_by_content_when_it_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "download", "w") as archive:
        archive.writestr("a.png", MEMBERS["a.png"])
    assert sorted(found(tmp_path / "download")) == ["a.png"]


def test_hostile_archives(tmp_path, work):
    names = {"../up.png": "unsafe name", "/etc/abs.png": "unsafe name", "C:\\x.png": "unsafe name"}
    names |= {"a/../../b.png": "unsafe name", "..\\c.png": "unsafe name", "fine..png": ""}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, MEMBERS["a.png"])
    before = sorted(tmp_path.rglob("*"))
    listed = found(tmp_path / "a.zip")
    assert {name: item.reason for name, item in listed.items()} == {k.replace("\\", "/"): v for k, v in names.items()}
    tar(
        tmp_path / "a.tar.gz",
        {"../up.png": b"x"},
        "w:gz",
        link=tarfile.SYMTYPE,
        hard=tarfile.LNKTYPE,
        pipe=tarfile.FIFOTYPE,
    )
    listed = found(tmp_path / "a.tar.gz", spool=tmp_path / "spool")
    assert {name: item.reason for name, item in listed.items()} == {
        "../up.png": "unsafe name",
        "link": "cannot be read",
        "hard": "cannot be read",
        "pipe": "cannot be read",
    }
    assert (tmp_path / "spool").read_bytes() == b""
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "a.tar.gz", tmp_path / "spool"])


def test_damaged_archives_are_told(tmp_path, work):
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    content = (tmp_path / "whole.zip").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "cut.zip").write_bytes(content[: len(content) // 2])
    (folder / "text.zip").write_text("hello")
    tar(tmp_path / "whole.tar.gz", MEMBERS, "w:gz")
    packed = (tmp_path / "whole.tar.gz").read_bytes()
    (folder / "cut.tar.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "text.tar").write_text("hello")
    listed = found(folder, spool=tmp_path / "spool")
    for name in ("cut.zip", "text.zip", "cut.tar.gz", "text.tar"):
        assert listed[name].reason == "broken archive", name
    spoiled = bytearray(content)
    spoiled[60:80] = bytes(20)
    (tmp_path / "spoiled.zip").write_bytes(spoiled)
    item = found(tmp_path / "spoiled.zip")["a.png"]
    assert work(Path("a.png"), item.location).reason == "broken archive"


def test_a_lying_zip_inflates_no_further_than_it_says(tmp_path, work):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(50_000_000))
    item = found(tmp_path / "a.zip")["a.png"]
    small = item.location.__class__(**{**vars(item.location), "uncompressed_size": 1000})
    outcome = work(Path("a.png"), small)
    assert (outcome.reason, outcome.detail) == ("broken archive", "a member that does not match its checksum")
    huge = item.location.__class__(**{**vars(item.location), "uncompressed_size": 2**40})
    assert work(Path("a.png"), huge).reason == "too large"


def test_what_lies_in_folders(tmp_path):
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
    older = folder / "data" / "set"
    older.mkdir(parents=True)
    for name in ("set.json", "manifest.jsonl", "preview.png"):
        (older / name).write_bytes(b"x")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("d.png", b"x")
        archive.writestr("__MACOSX/._d.png", b"x")
    passed = []
    assert sorted(found(folder, passed=passed)) == ["b.png", "linked/c.png", "more.zip/d.png"]
    assert sorted(set(passed)) == ["hidden entry", "prepared dataset", "redundant folder link"]


def test_several_sources_are_told_apart(tmp_path):
    for name in ("one", "two", "deep/one"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").write_bytes(b"x")
    assert sorted(found(tmp_path / "two", tmp_path / "one")) == ["one/a.png", "two/a.png"]
    assert sorted(found(tmp_path / "two", tmp_path / "two" / "a.png")) == ["a.png"]
    both = resolve_sources([tmp_path / "one", tmp_path / "deep" / "one"])
    assert set(name_prefixes(both).values()) == {path.as_posix() for path in both}
    assert sorted(found(tmp_path / "one" / "a.png")) == ["a.png"]
    with pytest.raises(VaeganError, match="none does not exist: give a folder"):
        resolve_sources([tmp_path / "none"])


@pytest.mark.skipif(os.name != "posix", reason="pipes and links in folders are a POSIX matter")
def test_what_cannot_be_read(tmp_path, work, monkeypatch):
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    assert found(tmp_path)["dangling.png"].reason == "cannot be read"
    for name, detail in (("dangling.png", "a link to nothing"), ("pipe.png", "not a regular file")):
        outcome = work(tmp_path / name)
        assert (outcome.reason, outcome.detail) == ("cannot be read", detail)
    assert work(tmp_path / "gone.png").detail == "No such file or directory"
    (tmp_path / "locked.png").write_bytes(MEMBERS["a.png"])

    def refuse(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    outcome = work(tmp_path / "locked.png")
    assert (outcome.reason, outcome.detail) == ("cannot be read", "Permission denied")


@pytest.mark.parametrize("large", [False, True])
def test_a_file_that_changes_while_it_is_read(tmp_path, work, monkeypatch, large):
    from vaegan.data.preprocess import file_reader

    path = tmp_path / "a.png"
    path.write_bytes(MEMBERS["a.png"])
    if large:
        monkeypatch.setattr(file_reader, "MAX_IN_MEMORY_BYTES", 10)
    fstat, calls = os.fstat, []

    def growing(number):
        status = fstat(number)
        calls.append(number)
        with path.open("ab") as file:
            file.write(b"x")
        return status

    monkeypatch.setattr(file_reader.os, "fstat", growing)
    assert work(path).reason == "changed while being read"
    monkeypatch.setattr(file_reader.os, "fstat", lambda number: growing(number) if len(calls) < 2 else fstat(number))
    calls.clear()
    outcome = work(path)
    assert large or (outcome.reason == "" and outcome.stamp == file_reader.size_and_mtime(path.stat()))


@pytest.mark.parametrize("backwards", [False, True])
def test_links_are_followed_in_one_order(tmp_path, monkeypatch, backwards):
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    for place in (outer / "one.png", outer / "inner" / "two.png", tmp_path / "in" / "own.png"):
        place.write_bytes(b"x")
    for name, target in (("a", outer / "inner"), ("b", outer), ("c", outer)):
        (tmp_path / "in" / name).symlink_to(target)
    scan = os.scandir

    @contextlib.contextmanager
    def scanned(folder):
        with scan(folder) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=backwards)

    monkeypatch.setattr("vaegan.data.preprocess.sources.os.scandir", scanned)
    assert sorted(found(tmp_path / "in")) == ["b/inner/two.png", "b/one.png", "own.png"]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_name_of_megabytes_is_not_read(tmp_path, monkeypatch, kind, ending):
    monkeypatch.setattr("vaegan.data.preprocess.archives.MAX_TAR_METADATA_BYTES", 1000)
    path = tmp_path / f"long{ending}"
    with tarfile.open(path, "w:gz" if ending.endswith("gz") else "w") as archive:
        entry = tarfile.TarInfo("long")
        entry.type, entry.size = kind, 5000
        archive.addfile(entry, io.BytesIO(b"x" * 5000))
    (one,) = found(path, spool=tmp_path / "spool").values()
    assert one.reason == "broken archive" and "5,000 bytes about one member's name" in one.detail
