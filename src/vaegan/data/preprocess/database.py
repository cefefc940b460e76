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

from vaegan.data.preprocess.records import Found, Outcome, Place, Square, Task, to_bytes, to_name
from vaegan.data.preprocess.skip_reasons import WHERE_IT_LIES
from vaegan.errors import VaeganError, reason

LEDGER = "ledger.sqlite"
LOCK_SECONDS = 0.5
CACHE_KIB = 32_768
COMMIT_SECONDS = 2.0
PAGE = 256
_TABLES = """
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, name BLOB UNIQUE, place TEXT, stamp TEXT, seen INTEGER, done INTEGER,
    sha TEXT DEFAULT '', reason TEXT DEFAULT '', detail TEXT DEFAULT '');
CREATE TABLE IF NOT EXISTS squares (
    file INTEGER, frame INTEGER, spot INTEGER, width INTEGER, height INTEGER, box TEXT, crc INTEGER, likeness BLOB,
    PRIMARY KEY (file, frame)) WITHOUT ROWID;
"""


def discard(folder: Path) -> None:
    """Remove the state in `folder`, whole or damaged. Raises VaeganError when another process is at work there."""
    if (folder / LEDGER).exists():
        base = sqlite3.connect(folder / LEDGER, isolation_level=None, timeout=LOCK_SECONDS)
        try:
            base.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise _busy(folder) from error
        finally:
            base.close()
    shutil.rmtree(folder, ignore_errors=True)


def _busy(folder: Path) -> VaeganError:
    return VaeganError(f"another vaegan preprocess is at work in {folder}: wait for it to end")


class Ledger:
    """What is known of every file. Only one process can hold it; another is refused."""

    def __init__(self, folder: Path, square_bytes: int, keep: bool = True) -> None:
        """Open or begin the state in `folder`; keep: store squares (a dry run does not).

        Raises VaeganError when another process is at work there, or the disk refuses.
        """
        self.folder, self.square_bytes, self.keep = folder, square_bytes, keep
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.base = sqlite3.connect(folder / LEDGER, isolation_level=None, timeout=LOCK_SECONDS)
            self._pragmas()
            self.squares = (folder / "squares.bin").open("ab+")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise _busy(folder) from error
            raise VaeganError(f"cannot write {folder}: {reason(error)}") from error
        except sqlite3.DatabaseError as error:
            raise VaeganError(f"{folder} is damaged ({reason(error)}): start over with --force") from error
        except OSError as error:
            raise VaeganError(f"cannot write {folder}: {reason(error)}; nothing that was there is lost") from error
        found = self.one("SELECT max(spot) FROM squares")[0]
        self.spot = 0 if found is None else max(0, int(found) + 1)
        self.squares.truncate(self.spot * square_bytes)
        self.run = int(self.note("run") or 0)
        self.committed = time.monotonic()

    def _pragmas(self) -> None:
        for name, value in (
            ("locking_mode", "EXCLUSIVE"),
            ("journal_mode", "WAL"),
            ("synchronous", "NORMAL"),
            ("cache_size", -CACHE_KIB),
            ("temp_store", "FILE"),
        ):
            self.base.execute(f"PRAGMA {name} = {value}")
        self.base.executescript(_TABLES)
        self.base.execute("BEGIN IMMEDIATE")

    def one(self, statement: str, *values: Any) -> Any:
        """The first row of a query, or None."""
        return self.base.execute(statement, values).fetchone()

    def note(self, key: str, value: str | None = None) -> str | None:
        """Read a remark, or write it where a value is given."""
        if value is not None:
            self.base.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, value))
            return value
        row = self.one("SELECT value FROM notes WHERE key = ?", key)
        return None if row is None else str(row[0])

    def commit(self, wait: float = 0.0) -> None:
        """Make everything last, unless that was done less than `wait` seconds ago."""
        if time.monotonic() - self.committed < wait:
            return
        self.squares.flush()
        os.fsync(self.squares.fileno())
        self.base.execute("COMMIT")
        self.base.execute("BEGIN IMMEDIATE")
        self.committed = time.monotonic()

    def close(self) -> None:
        """Let go of the files; what was not committed is forgotten."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self.base.rollback()
        self.base.close()
        self.squares.close()

    def begin_search(self) -> None:
        """Begin to look at what is there now; what could not be read before is tried again."""
        self.run += 1
        self.note("run", str(self.run))
        marks = ", ".join("?" * len(WHERE_IT_LIES))
        self.base.execute(f"UPDATE files SET done = 0, reason = '' WHERE reason IN ({marks})", sorted(WHERE_IT_LIES))

    def add(self, found: Found) -> None:
        """Take note of a file. What is known of it stays where it has not changed since."""
        name, copy = to_bytes(found.name), 1
        row = self.one("SELECT id, place, stamp, seen FROM files WHERE name = ?", name)
        while row is not None and row[3] == self.run:  # an archive may hold one name several times
            copy += 1
            name = to_bytes(f"{found.name}#{copy}")
            row = self.one("SELECT id, place, stamp, seen FROM files WHERE name = ?", name)
        place, done = found.place.dump(), int(bool(found.reason))
        if row is None:
            self.base.execute(
                "INSERT INTO files (name, place, stamp, seen, done, reason, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, place, found.stamp, self.run, done, found.reason, found.detail),
            )
        elif (row[1], row[2]) == (place, found.stamp) and not found.reason:
            self.base.execute("UPDATE files SET seen = ? WHERE id = ?", (self.run, row[0]))
        else:
            self.base.execute("DELETE FROM squares WHERE file = ?", (row[0],))
            self.base.execute(
                "UPDATE files SET place = ?, stamp = ?, seen = ?, done = ?, sha = '', reason = ?, detail = ?"
                " WHERE id = ?",
                (place, found.stamp, self.run, done, found.reason, found.detail, row[0]),
            )

    def end_search(self) -> None:
        """Forget the files that are no longer there."""
        self.base.execute("DELETE FROM squares WHERE file IN (SELECT id FROM files WHERE seen != ?)", (self.run,))
        self.base.execute("DELETE FROM files WHERE seen != ?", (self.run,))
        self.commit()

    def counts(self) -> tuple[int, int, int]:
        """How many files there are, how many of them are done, and how many of those have no square."""
        statement = "SELECT count(*), coalesce(sum(done), 0), coalesce(sum(done AND reason != ''), 0) FROM files"
        total, done, skipped = self.one(statement)
        return int(total), int(done), int(skipped)

    def todo(self) -> Iterator[Task]:
        """Yield what is still to do, in the order of names, a page at a time: saving goes on in between."""
        after = b""
        while True:
            rows = self.base.execute(
                "SELECT id, name, place FROM files WHERE name > ? AND done = 0 ORDER BY name LIMIT ?", (after, PAGE)
            ).fetchall()
            for number, name, place in rows:
                yield Task(number, Place.parse(place), os.path.splitext(to_name(name))[1].lower())  # noqa: PTH122
            if len(rows) < PAGE:
                return
            after = rows[-1][1]

    def place(self, number: int) -> Place:
        """Where a file's bytes lie."""
        return Place.parse(self.one("SELECT place FROM files WHERE id = ?", number)[0])

    def save(self, outcome: Outcome, spots: Sequence[int] | None = None) -> None:
        """Take note of an outcome; its squares join those of earlier outcomes of the same animation.

        spots: where the squares lie in the older set, -1 - row, where they need not be stored. That the file is done
        is noted last: whatever interrupts this leaves a file that is done again.
        """
        if outcome.reason or not outcome.squares or outcome.squares[0].frame == 0:
            self.base.execute("DELETE FROM squares WHERE file = ?", (outcome.id,))
        for number, square in enumerate(outcome.squares):
            self._put(outcome.id, square, self._append(square.pixels) if spots is None else spots[number])
        self.base.execute(
            "UPDATE files SET done = ?, sha = ?, reason = ?, detail = ?,"
            " stamp = CASE WHEN ? = '' THEN stamp ELSE ? END WHERE id = ?",
            (not outcome.more, outcome.sha, outcome.reason, outcome.detail, outcome.stamp, outcome.stamp, outcome.id),
        )

    def _put(self, number: int, square: Square, spot: int) -> None:
        box = ",".join(map(str, square.box))
        self.base.execute(
            "INSERT OR REPLACE INTO squares VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, square.frame, spot, *square.original, box, square.crc, square.likeness),
        )

    def _append(self, pixels: bytes) -> int:
        if self.keep:
            self.squares.write(pixels)
        self.spot += 1
        return self.spot - 1

    def pixels(self, spot: int) -> bytes:
        """The bytes of a square of this work; fewer where the file is cut short."""
        if self.squares.tell() != spot * self.square_bytes:
            self.squares.seek(spot * self.square_bytes)
        return self.squares.read(self.square_bytes)

    def undo(self, number: int) -> None:
        """Have a file done again."""
        self.base.execute("DELETE FROM squares WHERE file = ?", (number,))
        self.base.execute("UPDATE files SET done = 0, sha = '', reason = '', detail = '' WHERE id = ?", (number,))
