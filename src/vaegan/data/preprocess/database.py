"""The state of an unfinished preparation: an SQLite database, and a file with the images' pixels.

Pixels are appended and flushed before the rows that refer to them are committed. A kill leaves at worst pixels without
a row, which are cut off when the preparation resumes. Memory use does not grow with the number of files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
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

DB_FILE = "state.sqlite"
PIXEL_FILE = "images.bin"
LOCK_SECONDS = 0.5
SQLITE_CACHE_KIB = 32_768
COMMIT_SECONDS = 2.0
TASKS_PER_QUERY = 256
_PRAGMAS = "locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL", "temp_store = FILE"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;

-- One row per source file. search_number: the last search that found it.
CREATE TABLE IF NOT EXISTS files (
    file_id INTEGER PRIMARY KEY, name BLOB UNIQUE, location TEXT, stamp TEXT, search_number INTEGER,
    is_done INTEGER, sha256 TEXT DEFAULT '', reason TEXT DEFAULT '', detail TEXT DEFAULT '');

-- One row per prepared image. slot: its position in the pixel file; crop_box: JSON array.
CREATE TABLE IF NOT EXISTS images (
    file_id INTEGER, frame INTEGER, slot INTEGER, width INTEGER, height INTEGER, crop_box TEXT, crc32 INTEGER,
    perceptual_hash BLOB, PRIMARY KEY (file_id, frame)) WITHOUT ROWID;
"""


def remove_state(work_dir: Path) -> None:
    """Remove the state of an unfinished preparation, damaged or not.

    Args:
        work_dir: its directory.

    Raises:
        VaeganError: if another process is using it.
    """
    if (work_dir / DB_FILE).exists():
        connection = sqlite3.connect(work_dir / DB_FILE, isolation_level=None, timeout=LOCK_SECONDS)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise _busy_error(work_dir) from error
        finally:
            connection.close()
    shutil.rmtree(work_dir, ignore_errors=True)


def _busy_error(work_dir: Path) -> VaeganError:
    return VaeganError(f"another vaegan preprocess is using {work_dir}: wait until it ends")


class PreprocessDB:
    """The state of all source files; only one process can open it. A dry run does not store images.

    Raises:
        VaeganError: If another process has it open, it is damaged, or it cannot be written.
    """

    def __init__(self, work_dir: Path, bytes_per_image: int, store_images: bool = True) -> None:
        self.work_dir, self.bytes_per_image, self.store_images = work_dir, bytes_per_image, store_images
        try:
            work_dir.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(work_dir / DB_FILE, isolation_level=None, timeout=LOCK_SECONDS)
            self._configure()
            self.pixel_file = (work_dir / PIXEL_FILE).open("ab+")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise _busy_error(work_dir) from error
            raise VaeganError(f"cannot write {work_dir}: {error_text(error)}") from error
        except sqlite3.DatabaseError as error:
            raise VaeganError(f"{work_dir} is damaged ({error_text(error)}): start over with --force") from error
        except OSError as error:
            raise VaeganError(f"cannot write {work_dir}: {error_text(error)}; nothing is lost") from error
        # cut off pixels whose rows were never committed
        self.num_slots = int(self.fetch_one("SELECT coalesce(max(slot) + 1, 0) AS num_slots FROM images")["num_slots"])
        self.pixel_file.truncate(self.num_slots * bytes_per_image)
        self.search_number = int(self.get_meta("search_number") or 0)
        self.last_commit_time = time.monotonic()

    def _configure(self) -> None:
        self.connection.row_factory = sqlite3.Row
        for pragma in (*_PRAGMAS, f"cache_size = -{SQLITE_CACHE_KIB}"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.executescript(_SCHEMA)
        self.connection.execute("BEGIN IMMEDIATE")

    def execute(self, statement: str, **values: Any) -> sqlite3.Cursor:
        """Execute a statement with named placeholders (:name).

        Args:
            statement: SQL.
            **values: values by placeholder; those without a placeholder are ignored.

        Returns:
            the cursor.
        """
        return self.connection.execute(statement, values)

    def fetch_one(self, statement: str, **values: Any) -> Any:
        """Return the first row of a query.

        Args:
            statement: SQL.
            **values: values by placeholder.

        Returns:
            the row, or None.
        """
        return self.execute(statement, **values).fetchone()

    def recreate_tables(self, schema: str) -> None:
        """Commit, then run a script that drops and creates tables.

        Args:
            schema: SQL script.
        """
        self.connection.execute("COMMIT")
        self.connection.executescript(schema)
        self.connection.execute("BEGIN IMMEDIATE")

    def get_meta(self, key: str) -> str | None:
        """Return a value of the table `meta`.

        Args:
            key: its name.

        Returns:
            the value, or None.
        """
        row = self.fetch_one("SELECT value FROM meta WHERE key = :key", key=key)
        return None if row is None else str(row["value"])

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the table `meta`.

        Args:
            key: its name.
            value: its text.
        """
        self.execute("INSERT OR REPLACE INTO meta VALUES (:key, :value)", key=key, value=value)

    def commit(self, min_interval: float = 0.0) -> None:
        """Flush the pixels and commit.

        Args:
            min_interval: do nothing if the last commit was less than this many seconds ago.
        """
        if time.monotonic() - self.last_commit_time < min_interval:
            return
        self.pixel_file.flush()
        os.fsync(self.pixel_file.fileno())
        self.connection.execute("COMMIT")
        self.connection.execute("BEGIN IMMEDIATE")
        self.last_commit_time = time.monotonic()

    def close(self) -> None:
        """Close the files. What was not committed is lost."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self.connection.rollback()
        self.connection.close()
        self.pixel_file.close()

    # ---- Source files -------------------------------------------------------------------------------------------

    def begin_search(self) -> None:
        """Start a search for source files. Files that were skipped for a retryable reason are tried again."""
        self.search_number += 1
        self.set_meta("search_number", str(self.search_number))
        for reason in sorted(RETRYABLE_REASONS):
            self.execute("UPDATE files SET is_done = 0, reason = '' WHERE reason = :reason", reason=reason)

    def add_file(self, source_file: SourceFile) -> None:
        """Add a file that the search found. If it is known and has not changed, its results are kept.

        Args:
            source_file: the file.
        """
        name, copy_number = encode_name(source_file.name), 1
        known = self._find_by_name(name)
        while known is not None and known["search_number"] == self.search_number:
            # an archive may hold several members of one name
            copy_number += 1
            name = encode_name(f"{source_file.name}#{copy_number}")
            known = self._find_by_name(name)
        location = source_file.location.to_json()
        if known is not None:
            is_unchanged = (known["location"], known["stamp"]) == (location, source_file.stamp)
            if is_unchanged and not source_file.reason:
                statement = "UPDATE files SET search_number = :search_number WHERE file_id = :file_id"
                self.execute(statement, search_number=self.search_number, file_id=known["file_id"])
                return
            self.execute("DELETE FROM images WHERE file_id = :file_id", file_id=known["file_id"])
        values = vars(source_file) | {"name": name, "location": location, "is_done": bool(source_file.reason)}
        self.execute(
            "INSERT OR REPLACE INTO files (file_id, name, location, stamp, search_number, is_done, reason, detail)"
            " VALUES (:file_id, :name, :location, :stamp, :search_number, :is_done, :reason, :detail)",
            file_id=None if known is None else known["file_id"],
            search_number=self.search_number,
            **values,
        )

    def _find_by_name(self, name: bytes) -> Any:
        return self.fetch_one("SELECT file_id, location, stamp, search_number FROM files WHERE name = :name", name=name)

    def end_search(self) -> None:
        """Remove the files that the search did not find."""
        self.execute("DELETE FROM files WHERE search_number != :search_number", search_number=self.search_number)
        self.execute("DELETE FROM images WHERE file_id NOT IN (SELECT file_id FROM files)")
        self.commit()

    def sources_fingerprint(self) -> str:
        """Return a hash of the names, sizes and modification times of all source files.

        Returns:
            hexadecimal SHA-256.
        """
        digest = hashlib.sha256()
        for row in self.execute("SELECT name, stamp FROM files ORDER BY name"):
            digest.update(row["name"] + b"\0" + row["stamp"].encode() + b"\0")
        return digest.hexdigest()

    def file_counts(self) -> tuple[int, int, int]:
        """Return the number of files, of those that are done, and of those that are skipped.

        Returns:
            the three numbers.
        """
        row = self.fetch_one(
            "SELECT count(*) AS total, coalesce(sum(is_done), 0) AS done,"
            " coalesce(sum(is_done AND reason != ''), 0) AS skipped FROM files"
        )
        return row["total"], row["done"], row["skipped"]

    def skip_counts(self) -> Counter[str]:
        """Return the number of files that are skipped so far, by reason.

        Returns:
            number by key of SKIP_REASONS.
        """
        rows = self.execute("SELECT reason, count(*) AS count FROM files WHERE reason != '' GROUP BY reason")
        return Counter({row["reason"]: row["count"] for row in rows})

    def pending_tasks(self) -> Iterator[Task]:
        """Iterate over a task for each file that is not done, by name. Results may be saved meanwhile.

        Yields:
            the tasks.
        """
        query = "SELECT file_id, name, location FROM files WHERE name > :last_name AND is_done = 0 ORDER BY name"
        last_name = b""
        while rows := self.execute(query, last_name=last_name).fetchmany(TASKS_PER_QUERY):
            for row in rows:
                suffix = os.path.splitext(decode_name(row["name"]))[1].lower()  # noqa: PTH122
                yield Task(row["file_id"], FileLocation.from_json(row["location"]), suffix)
            last_name = rows[-1]["name"]

    def file_location(self, file_id: int) -> FileLocation:
        """Return where a file's bytes are.

        Args:
            file_id: number of the file.

        Returns:
            the location.
        """
        row = self.fetch_one("SELECT location FROM files WHERE file_id = :file_id", file_id=file_id)
        return FileLocation.from_json(row["location"])

    def reset_file(self, file_id: int) -> None:
        """Discard the results of a file, so that it is prepared again.

        Args:
            file_id: number of the file.
        """
        self.execute("DELETE FROM images WHERE file_id = :file_id", file_id=file_id)
        statement = "UPDATE files SET is_done = 0, sha256 = '', reason = '', detail = '' WHERE file_id = :file_id"
        self.execute(statement, file_id=file_id)

    # ---- Prepared images ----------------------------------------------------------------------------------------

    def save_result(self, result: TaskResult) -> None:
        """Save the result of a task. Its images are added to those of earlier tasks on the same animation.

        The file is marked as done last: after an interruption before that, it is prepared again.

        Args:
            result: the result.
        """
        if result.reason or not result.images or result.images[0].frame == 0:
            self.execute("DELETE FROM images WHERE file_id = :file_id", file_id=result.file_id)
        for image in result.images:
            self._append_image(result.file_id, image)
        self.execute(
            "UPDATE files SET is_done = :is_done, sha256 = :sha256, reason = :reason, detail = :detail,"
            " stamp = coalesce(nullif(:stamp, ''), stamp) WHERE file_id = :file_id",
            is_done=not result.next_frame,
            **vars(result),
        )

    def _append_image(self, file_id: int, image: PreparedImage) -> None:
        if self.store_images:
            self.pixel_file.write(image.pixels)
        width, height = image.original_size
        location = {"file_id": file_id, "slot": self.num_slots}
        self.execute(
            "INSERT OR REPLACE INTO images (file_id, frame, slot, width, height, crop_box, crc32, perceptual_hash)"
            " VALUES (:file_id, :frame, :slot, :width, :height, :crop_box, :crc32, :perceptual_hash)",
            **(vars(image) | location | {"width": width, "height": height, "crop_box": json.dumps(image.box)}),
        )
        self.num_slots += 1

    def read_pixels(self, slot: int) -> bytes:
        """Return the pixels of an image.

        Args:
            slot: its position in the pixel file.

        Returns:
            uint8 [C, S, S]; fewer bytes if the file is cut short.
        """
        if self.pixel_file.tell() != slot * self.bytes_per_image:
            self.pixel_file.seek(slot * self.bytes_per_image)
        return self.pixel_file.read(self.bytes_per_image)
