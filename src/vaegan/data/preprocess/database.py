"""The state of an unfinished preparation on the disk: an SQLite file of what is known, and a file of squares.

Squares are appended and flushed before the rows that name them are committed. A kill leaves at worst squares that no
row names: they are cut off when the work goes on. Nothing here grows in memory with the number of files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vaegan.data.preprocess.records import (
    FileLocation,
    PreparedImage,
    SourceFile,
    Task,
    TaskResult,
    decode_name,
    encode_name,
)
from vaegan.data.preprocess.skip_reasons import RETRYABLE_REASONS
from vaegan.errors import VaeganError, error_text

DB_FILE = "ledger.sqlite"
LOCK_SECONDS = 0.5
SQLITE_CACHE_KIB = 32_768
COMMIT_SECONDS = 2.0
TASKS_PER_QUERY = 256
_STATE_SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, name BLOB UNIQUE, place TEXT, stamp TEXT, seen INTEGER, done INTEGER,
    sha TEXT DEFAULT '', reason TEXT DEFAULT '', detail TEXT DEFAULT '');
CREATE TABLE IF NOT EXISTS squares (
    file INTEGER, frame INTEGER, spot INTEGER, width INTEGER, height INTEGER, box TEXT, crc INTEGER, likeness BLOB,
    PRIMARY KEY (file, frame)) WITHOUT ROWID;
"""


def remove_state(work_dir: Path) -> None:
    """Remove the state in `folder`, whole or damaged. Raises VaeganError when another process is at work there."""
    if (work_dir / DB_FILE).exists():
        base = sqlite3.connect(work_dir / DB_FILE, isolation_level=None, timeout=LOCK_SECONDS)
        try:
            base.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise _busy_error(work_dir) from error
        finally:
            base.close()
    shutil.rmtree(work_dir, ignore_errors=True)


def _busy_error(work_dir: Path) -> VaeganError:
    return VaeganError(f"another vaegan preprocess is at work in {work_dir}: wait for it to end")


class PreprocessDB:
    """What is known of every file. Only one process can hold it; another is refused."""

    def __init__(self, work_dir: Path, bytes_per_image: int, store_images: bool = True) -> None:
        """Open or begin the state in `folder`; keep: store squares (a dry run does not).

        Raises VaeganError when another process is at work there, or the disk refuses.
        """
        self.work_dir, self.bytes_per_image, self.store_images = work_dir, bytes_per_image, store_images
        try:
            work_dir.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(work_dir / DB_FILE, isolation_level=None, timeout=LOCK_SECONDS)
            self._configure()
            self.pixel_file = (work_dir / "squares.bin").open("ab+")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise _busy_error(work_dir) from error
            raise VaeganError(f"cannot write {work_dir}: {error_text(error)}") from error
        except sqlite3.DatabaseError as error:
            raise VaeganError(f"{work_dir} is damaged ({error_text(error)}): start over with --force") from error
        except OSError as error:
            raise VaeganError(
                f"cannot write {work_dir}: {error_text(error)}; nothing that was there is lost"
            ) from error
        found = self.fetch_one("SELECT max(spot) FROM squares")[0]
        self.num_slots = 0 if found is None else max(0, int(found) + 1)
        self.pixel_file.truncate(self.num_slots * bytes_per_image)
        self.search_number = int(self.meta_value("run") or 0)
        self.last_commit_time = time.monotonic()

    def _configure(self) -> None:
        for name, value in (
            ("locking_mode", "EXCLUSIVE"),
            ("journal_mode", "WAL"),
            ("synchronous", "NORMAL"),
            ("cache_size", -SQLITE_CACHE_KIB),
            ("temp_store", "FILE"),
        ):
            self.connection.execute(f"PRAGMA {name} = {value}")
        self.connection.executescript(_STATE_SCHEMA)
        self.connection.execute("BEGIN IMMEDIATE")

    def fetch_one(self, statement: str, *values: Any) -> Any:
        """The first row of a query, or None."""
        return self.connection.execute(statement, values).fetchone()

    def meta_value(self, key: str, value: str | None = None) -> str | None:
        """Read a remark, or write it where a value is given."""
        if value is not None:
            self.connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, value))
            return value
        row = self.fetch_one("SELECT value FROM notes WHERE key = ?", key)
        return None if row is None else str(row[0])

    def commit(self, min_interval: float = 0.0) -> None:
        """Make everything last, unless that was done less than `wait` seconds ago."""
        if time.monotonic() - self.last_commit_time < min_interval:
            return
        self.pixel_file.flush()
        os.fsync(self.pixel_file.fileno())
        self.connection.execute("COMMIT")
        self.connection.execute("BEGIN IMMEDIATE")
        self.last_commit_time = time.monotonic()

    def close(self) -> None:
        """Let go of the files; what was not committed is forgotten."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self.connection.rollback()
        self.connection.close()
        self.pixel_file.close()

    def begin_search(self) -> None:
        """Begin to look at what is there now; what could not be read before is tried again."""
        self.search_number += 1
        self.meta_value("run", str(self.search_number))
        marks = ", ".join("?" * len(RETRYABLE_REASONS))
        self.connection.execute(
            f"UPDATE files SET done = 0, reason = '' WHERE reason IN ({marks})", sorted(RETRYABLE_REASONS)
        )

    def add_file(self, source_file: SourceFile) -> None:
        """Take note of a file. What is known of it stays where it has not changed since."""
        name, copy = encode_name(source_file.name), 1
        row = self.fetch_one("SELECT id, place, stamp, seen FROM files WHERE name = ?", name)
        while row is not None and row[3] == self.search_number:  # an archive may hold one name several times
            copy += 1
            name = encode_name(f"{source_file.name}#{copy}")
            row = self.fetch_one("SELECT id, place, stamp, seen FROM files WHERE name = ?", name)
        place, done = source_file.location.to_json(), int(bool(source_file.reason))
        if row is None:
            self.connection.execute(
                "INSERT INTO files (name, place, stamp, seen, done, reason, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, place, source_file.stamp, self.search_number, done, source_file.reason, source_file.detail),
            )
        elif (row[1], row[2]) == (place, source_file.stamp) and not source_file.reason:
            self.connection.execute("UPDATE files SET seen = ? WHERE id = ?", (self.search_number, row[0]))
        else:
            self.connection.execute("DELETE FROM squares WHERE file = ?", (row[0],))
            self.connection.execute(
                "UPDATE files SET place = ?, stamp = ?, seen = ?, done = ?, sha = '', reason = ?, detail = ?"
                " WHERE id = ?",
                (place, source_file.stamp, self.search_number, done, source_file.reason, source_file.detail, row[0]),
            )

    def end_search(self) -> None:
        """Forget the files that are no longer there."""
        self.connection.execute(
            "DELETE FROM squares WHERE file IN (SELECT id FROM files WHERE seen != ?)", (self.search_number,)
        )
        self.connection.execute("DELETE FROM files WHERE seen != ?", (self.search_number,))
        self.commit()

    def file_counts(self) -> tuple[int, int, int]:
        """How many files there are, how many of them are done, and how many of those have no square."""
        statement = "SELECT count(*), coalesce(sum(done), 0), coalesce(sum(done AND reason != ''), 0) FROM files"
        total, done, skipped = self.fetch_one(statement)
        return int(total), int(done), int(skipped)

    def pending_tasks(self) -> Iterator[Task]:
        """Yield what is still to do, in the order of names, a page at a time: saving goes on in between."""
        after = b""
        while True:
            rows = self.connection.execute(
                "SELECT id, name, place FROM files WHERE name > ? AND done = 0 ORDER BY name LIMIT ?",
                (after, TASKS_PER_QUERY),
            ).fetchall()
            for number, name, place in rows:
                yield Task(number, FileLocation.from_json(place), os.path.splitext(decode_name(name))[1].lower())  # noqa: PTH122
            if len(rows) < TASKS_PER_QUERY:
                return
            after = rows[-1][1]

    def file_location(self, file_id: int) -> FileLocation:
        """Where a file's bytes lie."""
        return FileLocation.from_json(self.fetch_one("SELECT place FROM files WHERE id = ?", file_id)[0])

    def save_result(self, result: TaskResult, spots: Sequence[int] | None = None) -> None:
        """Take note of an outcome; its squares join those of earlier outcomes of the same animation.

        spots: where the squares lie in the older set, -1 - row, where they need not be stored. That the file is done
        is noted last: whatever interrupts this leaves a file that is done again.
        """
        if result.reason or not result.images or result.images[0].frame == 0:
            self.connection.execute("DELETE FROM squares WHERE file = ?", (result.file_id,))
        for number, square in enumerate(result.images):
            self._insert_image(
                result.file_id, square, self._append_pixels(square.pixels) if spots is None else spots[number]
            )
        self.connection.execute(
            "UPDATE files SET done = ?, sha = ?, reason = ?, detail = ?,"
            " stamp = CASE WHEN ? = '' THEN stamp ELSE ? END WHERE id = ?",
            (
                not result.next_frame,
                result.sha256,
                result.reason,
                result.detail,
                result.stamp,
                result.stamp,
                result.file_id,
            ),
        )

    def _insert_image(self, file_id: int, image: PreparedImage, slot: int) -> None:
        box = ",".join(map(str, image.box))
        self.connection.execute(
            "INSERT OR REPLACE INTO squares VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (file_id, image.frame, slot, *image.original_size, box, image.crc32, image.perceptual_hash),
        )

    def _append_pixels(self, pixels: bytes) -> int:
        if self.store_images:
            self.pixel_file.write(pixels)
        self.num_slots += 1
        return self.num_slots - 1

    def read_pixels(self, slot: int) -> bytes:
        """The bytes of a square of this work; fewer where the file is cut short."""
        if self.pixel_file.tell() != slot * self.bytes_per_image:
            self.pixel_file.seek(slot * self.bytes_per_image)
        return self.pixel_file.read(self.bytes_per_image)

    def reset_file(self, file_id: int) -> None:
        """Have a file done again."""
        self.connection.execute("DELETE FROM squares WHERE file = ?", (file_id,))
        self.connection.execute(
            "UPDATE files SET done = 0, sha = '', reason = '', detail = '' WHERE id = ?", (file_id,)
        )
