"""The state of an unfinished preparation: an SQLite database, and a file with the images' pixels.

Pixels are appended and flushed before the rows that refer to them are committed. A kill leaves at worst pixels without
a row, which are cut off when the preparation resumes. Memory use does not grow with the number of files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaegan.data.preprocess.perceptual_hash import HASH_LENGTHS
from vaegan.data.preprocess.records import (
    Box,
    FileLocation,
    PreparedImage,
    SourceFile,
    Task,
    TaskResult,
    decode_name,
    encode_name,
)
from vaegan.data.preprocess.skip_reasons import METADATA_FILE, RETRYABLE_REASONS, SKIP_REASONS
from vaegan.errors import VaeganError, error_text, printable
from vaegan.utils.files import append_regular, remove_tree

DB_FILE = "state.sqlite"
PIXEL_FILE = "images.bin"
LOCK_SECONDS = 0.5
SQLITE_CACHE_KIB = 32_768
COMMIT_SECONDS = 2.0
TASKS_PER_QUERY = 256
MAX_SLOT = 2**40
MAX_SIDE = 2**31 - 1
_PRAGMAS = "locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL", "temp_store = FILE"
_REASONS = ", ".join(f"'{reason}'" for reason in SKIP_REASONS)
# The state of an earlier run may be damaged: `PRAGMA quick_check` verifies these types and ranges before it is used.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta (
    key TEXT PRIMARY KEY CHECK (typeof(key) = 'text'), value TEXT CHECK (typeof(value) = 'text')) WITHOUT ROWID;

-- One row per source file. search_number: the last search that found it. gray_bits: see `Task`.
CREATE TABLE IF NOT EXISTS files (
    file_id INTEGER PRIMARY KEY,
    name BLOB UNIQUE CHECK (typeof(name) = 'blob'),
    location TEXT CHECK (typeof(location) = 'text'),
    stamp TEXT CHECK (typeof(stamp) = 'text'),
    search_number INTEGER CHECK (typeof(search_number) = 'integer'),
    is_done INTEGER CHECK (typeof(is_done) = 'integer' AND is_done IN (0, 1)),
    sha256 TEXT DEFAULT '' CHECK (typeof(sha256) = 'text'),
    reason TEXT DEFAULT '' CHECK (typeof(reason) = 'text' AND reason IN ('', {_REASONS})),
    detail TEXT DEFAULT '' CHECK (typeof(detail) = 'text'),
    gray_bits INTEGER DEFAULT 0 CHECK (typeof(gray_bits) = 'integer' AND gray_bits BETWEEN 0 AND 16));

-- One row per prepared image. slot: its position in the pixel file; crop_box: JSON array.
-- gray_crc32: see `PreparedImage`.
CREATE TABLE IF NOT EXISTS images (
    file_id INTEGER CHECK (typeof(file_id) = 'integer'),
    frame INTEGER CHECK (typeof(frame) = 'integer' AND frame >= 0),
    slot INTEGER CHECK (typeof(slot) = 'integer' AND slot BETWEEN 0 AND {MAX_SLOT}),
    width INTEGER CHECK (typeof(width) = 'integer' AND width BETWEEN 1 AND {MAX_SIDE}),
    height INTEGER CHECK (typeof(height) = 'integer' AND height BETWEEN 1 AND {MAX_SIDE}),
    crop_box TEXT CHECK (typeof(crop_box) = 'text'),
    crc32 INTEGER CHECK (typeof(crc32) = 'integer'),
    perceptual_hash BLOB CHECK (typeof(perceptual_hash) = 'blob' AND length(perceptual_hash) IN {HASH_LENGTHS}),
    gray_tag_bits INTEGER CHECK (typeof(gray_tag_bits) = 'integer' AND gray_tag_bits BETWEEN 0 AND 32),
    gray_needed_bits INTEGER CHECK (typeof(gray_needed_bits) = 'integer' AND gray_needed_bits BETWEEN 0 AND 16),
    gray_crc32 INTEGER CHECK (typeof(gray_crc32) IN ('integer', 'null')),
    PRIMARY KEY (file_id, frame)) WITHOUT ROWID;
"""
DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged database raises; the messages of SQLite may quote its bytes."""
_WRITE_ERRORS = ("full", "readonly", "disk I/O error", "unable to open")

# Files with gray values of more than 8 bits that were not read with the bit depth :bits.
_UPDATE_GRAY_BITS = """
UPDATE files SET gray_bits = :bits, is_done = 0
WHERE file_id IN (
    SELECT file_id FROM images JOIN files USING (file_id)
    WHERE gray_tag_bits = :tag_bits AND gray_needed_bits != 0
        AND :bits != CASE gray_bits WHEN 0 THEN gray_needed_bits ELSE gray_bits END)
"""


@dataclass
class FileCounts:
    """Numbers of files: all, and those that are done.

    Of those, the ones that were kept, and the ones that were skipped and are not metadata.
    """

    total: int
    done: int
    kept: int
    skipped: int


def remove_state(work_dir: Path) -> None:
    """Remove the state of an unfinished preparation, damaged or not.

    Args:
        work_dir: its directory.

    Raises:
        VaeganError: if another process is using it.
    """
    if (work_dir / DB_FILE).is_file():
        connection = sqlite3.connect(work_dir / DB_FILE, isolation_level=None, timeout=LOCK_SECONDS)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise _busy_error(work_dir) from error
        finally:
            connection.close()
    if work_dir.is_dir():
        remove_tree(work_dir)
    else:
        with contextlib.suppress(OSError):  # something else, left there by a stranger
            work_dir.unlink(missing_ok=True)


def cannot_write_error(work_dir: Path, error: Exception) -> VaeganError:
    """Return the error that the state in `work_dir` cannot be written, such as on a full disk.

    Args:
        work_dir: directory of the state.
        error: what happened.

    Returns:
        the error, with what to do.
    """
    cause = f"cannot write {work_dir}: {error_text(error)}; nothing is lost"
    return VaeganError(f"{cause}: free disk space or make it writable, then run the same command again to resume")


def _damaged_error(work_dir: Path, cause: object) -> VaeganError:
    return VaeganError(f"{work_dir} is damaged ({printable(cause, 200)}): start over with --force")


def database_error(work_dir: Path, error: sqlite3.Error | UnicodeDecodeError) -> VaeganError:
    """Return the error for a failed operation on the database.

    Args:
        work_dir: directory of the state.
        error: what happened.

    Returns:
        the error: the database is in use, cannot be written, or is damaged.
    """
    if "locked" in str(error):
        return _busy_error(work_dir)
    if any(text in str(error) for text in _WRITE_ERRORS):
        return cannot_write_error(work_dir, error)
    return _damaged_error(work_dir, error_text(error))


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
            append_regular(work_dir / DB_FILE).close()  # SQLite would wait for a pipe
            self.connection = sqlite3.connect(work_dir / DB_FILE, isolation_level=None, timeout=LOCK_SECONDS)
            self._configure()
            self.pixel_file = append_regular(work_dir / PIXEL_FILE)
            row = self.fetch_one("SELECT coalesce(max(slot) + 1, 0) AS num_slots FROM images")
            self.num_slots, search_number = int(row["num_slots"]), self.get_meta("search_number") or "0"
            # cut off pixels whose rows were never committed; lost ones become zeros, and do not match their checksums
            self.pixel_file.truncate(self.num_slots * bytes_per_image)
        except DATABASE_ERRORS as error:
            raise database_error(work_dir, error) from error
        except OSError as error:
            raise cannot_write_error(work_dir, error) from error
        if not (search_number.isdecimal() and len(search_number) < 10):
            raise self.damaged_error(f"search_number {search_number!r}")
        self.search_number = int(search_number)
        self.last_commit_time = time.monotonic()

    def _configure(self) -> None:
        self.connection.row_factory = sqlite3.Row
        for pragma in (*_PRAGMAS, f"cache_size = -{SQLITE_CACHE_KIB}"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.executescript(_SCHEMA)
        self._check_integrity()
        self.connection.execute("BEGIN IMMEDIATE")

    def _check_integrity(self) -> None:
        """Raise VaeganError if the tables of an earlier run have other columns or values than they should."""
        query = "SELECT name, type, sql FROM sqlite_master WHERE name IN ('meta', 'files', 'images')"
        with contextlib.closing(sqlite3.connect(":memory:")) as expected:
            expected.executescript(_SCHEMA)
            if sorted(map(tuple, self.connection.execute(query))) != sorted(map(tuple, expected.execute(query))):
                raise self.damaged_error("its tables are not those of this version")
        if self.fetch_one("SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index')"):
            raise self.damaged_error("it holds more than tables")
        found = self.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise self.damaged_error(found)

    def damaged_error(self, cause: object) -> VaeganError:
        """Return the error that the state is damaged.

        Args:
            cause: what is wrong with it.

        Returns:
            the error, with what to do.
        """
        return _damaged_error(self.work_dir, cause)

    def load_json(self, text: str) -> Any:
        """Parse JSON from the database.

        Args:
            text: the JSON.

        Returns:
            its value.

        Raises:
            VaeganError: The text is damaged.
        """
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.damaged_error(error_text(error)) from error

    def load_box(self, text: str) -> Box:
        """Parse the crop box of an image.

        Args:
            text: the box as JSON.

        Returns:
            left, top, right and bottom in pixels, from 0 to MAX_SIDE.

        Raises:
            VaeganError: The text is damaged.
        """
        values = self.load_json(text)
        has_types = isinstance(values, list) and [type(value) for value in values] == [int] * 4
        if not has_types or min(values) < 0 or max(values) > MAX_SIDE:
            raise self.damaged_error(f"crop_box {text}")
        return values[0], values[1], values[2], values[3]

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
        for close in (self.connection.rollback, self.connection.close, self.pixel_file.close):
            with contextlib.suppress(sqlite3.Error, OSError):  # a full disk has been reported already
                close()

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

    def file_names(self) -> Iterator[str]:
        """Iterate over the names of all source files, sorted.

        Yields:
            names, with "/" between folders.
        """
        for row in self.execute("SELECT name FROM files ORDER BY name"):
            yield decode_name(row["name"])

    def file_counts(self) -> FileCounts:
        """Return the number of files, of those that are done, and of those that are skipped.

        Returns:
            the three numbers.
        """
        row = self.fetch_one(
            "SELECT count(*) AS total, coalesce(sum(is_done), 0) AS done,"
            " coalesce(sum(is_done AND reason = ''), 0) AS kept,"
            " coalesce(sum(is_done AND reason NOT IN ('', :metadata)), 0) AS skipped FROM files",
            metadata=METADATA_FILE,
        )
        return FileCounts(**row)

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
        query = "SELECT file_id, name FROM files WHERE name > :last_name AND is_done = 0 ORDER BY name"
        last_name = b""
        while rows := self.execute(query, last_name=last_name).fetchmany(TASKS_PER_QUERY):
            for row in rows:
                yield self.make_task(row["file_id"])
            last_name = rows[-1]["name"]

    def make_task(self, file_id: int, **fields: Any) -> Task:
        """Return a task for a file.

        Args:
            file_id: number of the file.
            **fields: further fields of the task.

        Returns:
            the task.
        """
        query = "SELECT name, location, gray_bits FROM files WHERE file_id = :file_id"
        row = self.fetch_one(query, file_id=file_id)
        suffix = os.path.splitext(decode_name(row["name"]))[1].lower()  # noqa: PTH122
        location = FileLocation.from_json(row["location"])  # written by the search of this run
        return Task(file_id, location, suffix, gray_bits=row["gray_bits"], **fields)

    def reset_file(self, file_id: int) -> None:
        """Discard the results of a file, so that it is prepared again.

        Args:
            file_id: number of the file.
        """
        self.execute("DELETE FROM images WHERE file_id = :file_id", file_id=file_id)
        statement = "UPDATE files SET is_done = 0, sha256 = '', reason = '', detail = '' WHERE file_id = :file_id"
        self.execute(statement, file_id=file_id)

    # ---- Bit depth of gray values -------------------------------------------------------------------------------

    def gray_bit_depths(self) -> dict[int, tuple[int, int]]:
        """Return the bit depth that all 16-bit and 32-bit gray images need, by what their files' tags claim.

        Returns:
            bit depth from 1 to 16 and number of images, by the bit depth in the tag. The tag is 32 for values of 32
            bits, and 0 for other files without one.
        """
        rows = self.execute(
            "SELECT gray_tag_bits, max(gray_needed_bits) AS bits, count(*) AS count FROM images"
            " WHERE gray_needed_bits != 0 GROUP BY gray_tag_bits"
        )
        return {row["gray_tag_bits"]: (row["bits"], row["count"]) for row in rows}

    def unify_gray_bits(self) -> bool:
        """Mark the files to be prepared again that were read with another bit depth.

        Returns:
            whether there are any.
        """
        cursors = [
            self.execute(_UPDATE_GRAY_BITS, tag_bits=tag_bits, bits=bits)
            for tag_bits, (bits, _) in self.gray_bit_depths().items()
        ]
        self.commit()
        return any(cursor.rowcount for cursor in cursors)

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
            "INSERT OR REPLACE INTO images VALUES (:file_id, :frame, :slot, :width, :height, :crop_box, :crc32,"
            " :perceptual_hash, :gray_tag_bits, :gray_needed_bits, :gray_crc32)",
            **(vars(image) | location | {"width": width, "height": height, "crop_box": json.dumps(image.box)}),
        )
        self.num_slots += 1

    def has_images(self) -> bool:
        """Return whether there is any prepared image.

        Returns:
            True also if that cannot be found out.
        """
        try:
            return self.fetch_one("SELECT 1 FROM images") is not None
        except sqlite3.Error:
            return True

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
