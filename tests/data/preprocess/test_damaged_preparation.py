"""A damaged dataset that is prepared again, or a damaged unfinished preparation, is one line or does not matter."""

import contextlib
import json
import os
import random
import shutil
import sqlite3

import pytest

from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.data.preprocess import pipeline, writer
from vaegan.data.preprocess.tasks import run_tasks
from vaegan.demo.faces import write_faces
from vaegan.errors import VaeganError

NASTY = [None, True, -1, 10**6, 10**30, 2.5, 1e308, float("nan"), "", "x" * 10_000, "\ud800", [], [[1]], {}, {"a": []}]


class Killed(BaseException):
    pass


def kill(*args):
    raise Killed


class InlinePool:
    """Runs the tasks in this process: no time is spent on starting workers."""

    def __init__(self, settings, num_workers):
        self.settings = settings

    def run_batches(self, next_batch):
        while (tasks := next_batch()) is not None:
            yield run_tasks(tasks, self.settings)

    def close(self):
        pass


@pytest.fixture
def inline_pool(monkeypatch):
    monkeypatch.setattr(pipeline, "LocalWorkerPool", InlinePool)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged-state") / "faces"
    write_faces(folder, 8, seed=2)
    return folder


@pytest.fixture(scope="module")
def unfinished(faces, tmp_path_factory):
    """A folder with the state of a preparation that was killed before the dataset was written."""
    folder = tmp_path_factory.mktemp("damaged-state") / "unfinished"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "LocalWorkerPool", InlinePool)
        patch.setattr(writer, "write_dataset", kill)
        with pytest.raises(Killed):
            preprocess(faces, folder)
    return folder


def preprocess(faces, folder, *options):
    return main(["preprocess", str(faces), "--out", str(folder / "set"), "--size", "32", "-q", *options])


def check_result(status, capsys, folder):
    """Check that a command succeeded, or failed with one line about the state or the dataset."""
    err = capsys.readouterr().err
    assert status in (0, 1), err
    assert "a bug in vaegan" not in err and "Traceback" not in err
    if status:
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert str(folder) in line and "--force" in line and len(line) < 1000
    return status


def damage_database(path, rng):
    """Overwrite bytes of the file, or write a value of another type or range into a row."""
    if rng.random() < 0.5:
        content = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 4, 40])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.randrange(len(content))] if rng.random() < 0.2 else content)
        return
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        table = rng.choice(["meta", "files", "images"])
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        numbers, texts = [None, -1, 0, 7, 2**60, 0.5], ["", "x", "[]", "[[[", "../../x", '["a", 1, 2]']
        value = rng.choice([*numbers, *texts, b"", b"\xff" * 97])
        column = rng.choice(columns)
        (key,) = rng.choice(list(connection.execute(f"SELECT {columns[0]} FROM {table}")))
        with contextlib.suppress(sqlite3.IntegrityError):  # a key takes no text
            connection.execute(f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {columns[0]} = ?", (value, key))
    connection.close()


def attack_states(faces, unfinished, folder, seeds, capsys):
    refused = 0
    for seed in seeds:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(unfinished, folder)
        damage_database(folder / ".preparing-set" / "state.sqlite", random.Random(seed))
        status = check_result(preprocess(faces, folder), capsys, folder)
        refused += status
        assert status or open_dataset(folder / "set").is_intact()
    return refused


def test_a_damaged_database_is_refused_or_does_not_matter(faces, unfinished, inline_pool, tmp_path, capsys):
    assert 5 < attack_states(faces, unfinished, tmp_path / "copy", range(25), capsys) < 25


@pytest.mark.slow
def test_a_thousand_damaged_databases(faces, unfinished, inline_pool, tmp_path, capsys):
    assert 100 < attack_states(faces, unfinished, tmp_path / "copy", range(1000, 2000), capsys) < 1000


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER UPDATE ON files BEGIN DELETE FROM files; END",
        "CREATE VIEW v AS SELECT 1",
        "ALTER TABLE files ADD COLUMN more TEXT",
        "DROP TABLE images",
        "UPDATE images SET crop_box = '[0, 0, 1e999, 2]'",
        "INSERT OR REPLACE INTO meta VALUES ('search_number', '" + "9" * 5000 + "')",
    ],
)
def test_a_hostile_database_is_refused(faces, unfinished, inline_pool, tmp_path, capsys, statement):
    folder = tmp_path / "copy"
    shutil.copytree(unfinished, folder)
    with sqlite3.connect(folder / ".preparing-set" / "state.sqlite") as connection:
        connection.execute(statement)
    connection.close()
    assert preprocess(faces, folder) == 1 or statement.startswith("DROP")
    assert "start over with --force" in capsys.readouterr().err or statement.startswith("DROP")
    assert preprocess(faces, folder, "--force") == 0


@pytest.mark.parametrize("size", [None, 0, 5000])
def test_lost_pixels_are_prepared_again(faces, unfinished, inline_pool, tmp_path, size):
    folder = tmp_path / "copy"
    shutil.copytree(unfinished, folder)
    pixels = folder / ".preparing-set" / "images.bin"
    if size is None:
        pixels.unlink()
    else:
        os.truncate(pixels, size)
    assert preprocess(faces, folder) == 0
    assert preprocess(faces, tmp_path / "fresh") == 0
    shards = [(place / "set" / "images-00000.safetensors").read_bytes() for place in (folder, tmp_path / "fresh")]
    assert shards[0] == shards[1]


def damaged_infos(info):
    for name in info:
        for value in NASTY:
            yield info | {name: value}
            if isinstance(info[name], dict):
                yield from (info | {name: info[name] | {key: value}} for key in info[name])
        yield {key: value for key, value in info.items() if key != name}


@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_a_damaged_set_json_is_refused_or_does_not_matter(faces, inline_pool, tmp_path, capsys, every):
    """Its entries have other types and ranges, or are missing, when the dataset is prepared again."""
    assert preprocess(faces, tmp_path) == 0
    path = tmp_path / "set" / "set.json"
    info = json.loads(path.read_text())
    refused = 0
    for damaged in list(damaged_infos(info))[::every]:
        path.write_text(json.dumps(damaged))
        status = check_result(preprocess(faces, tmp_path), capsys, tmp_path)
        refused += status
        if not status:
            assert open_dataset(tmp_path / "set").is_intact()
    assert refused > 300 / every
    for content in (b"", b"[]", b"[" * 100_000, b'{"size": ' + b"9" * 5000 + b"}", b"\xff\xfe", b"null"):
        path.write_bytes(content)
        assert check_result(preprocess(faces, tmp_path), capsys, tmp_path) == 1
    assert preprocess(faces, tmp_path, "--force") == 0


def test_lines_of_a_damaged_manifest_are_left_out(faces, inline_pool, tmp_path):
    assert preprocess(faces, tmp_path) == 0
    path = tmp_path / "set" / "manifest.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    dataset = open_dataset(tmp_path / "set")
    names = dataset.image_names()
    assert "0.png" in " ".join(names[0])
    for index, (key, value) in enumerate((key, value) for key in ("row", "path", "split", "frame") for value in NASTY):
        damaged = [dict(entry) for entry in entries]
        damaged[index % 8][key] = value
        path.write_text("".join(json.dumps(entry) + "\n" for entry in damaged))
        for found, count in zip(dataset.image_names(), map(len, names), strict=True):
            assert len(found) == count and all(name.isprintable() for name in found)
    for content in (b"[" * 100_000, b'{"row": ' + b"9" * 5000 + b"}", b"\xff\n{}\n[]\nnull\n", b"{" * 2**17):
        path.write_bytes(content)
        assert dataset.image_names()[0][0] == "train 0"
    path.unlink()
    assert dataset.image_names()[0][0] == "train 0"
    path.mkdir()
    with pytest.raises(VaeganError, match=r"manifest\.jsonl: a directory, not a regular file"):
        dataset.image_names()
