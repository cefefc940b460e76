"""The set that is already there: squares of files whose bytes have not changed are taken from it, not made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.image_ops import from_chw_bytes
from vaegan.data.preprocess.perceptual_hash import perceptual_hash
from vaegan.data.preprocess.records import PreparedImage, Task, TaskResult, encode_name
from vaegan.data.preprocess.skip_reasons import DUPLICATE, NEAR_DUPLICATE, RETRYABLE_REASONS
from vaegan.data.preprocess.sources import name_prefixes
from vaegan.data.shards import Rows
from vaegan.errors import VaeganError

_TABLE = """
DROP TABLE IF EXISTS older;
CREATE TABLE older (
    name BLOB, frame INTEGER, sha TEXT, row INTEGER, width INTEGER, height INTEGER, box TEXT, crc INTEGER,
    reason TEXT, detail TEXT, PRIMARY KEY (name, frame)) WITHOUT ROWID;
CREATE INDEX older_sha ON older (sha) WHERE row IS NOT NULL;
"""
_REDONE = (NEAR_DUPLICATE, *sorted(RETRYABLE_REASONS))
"""Reasons whose files are prepared again: their squares are not in the set, or it may have been the system's fault."""


class Older:
    """The set at `path`, if any, as far as it can be used again. Its squares are those of rows below zero."""

    def __init__(self, ledger: PreprocessDB, path: Path, info: dict[str, Any] | None, sources: list[Path]) -> None:
        """Read the manifest into the ledger; `info` is what set.json says, None when there is no set to use."""
        self.ledger, self.rows = ledger, None
        self.size = self.channels = 0
        ledger.connection.execute("COMMIT")
        ledger.connection.executescript(_TABLE)
        ledger.connection.execute("BEGIN IMMEDIATE")
        fingerprint = ""
        if info is not None:
            try:
                fingerprint = str(info["fingerprint"])
                self.size, self.channels = int(info["size"]), int(info["channels"])
                self.rows = Rows(path, int(info["shards"]), (self.channels, self.size, self.size))
                lines = _lines(path / "manifest.jsonl", [Path(source) for source in info["source"]], sources)
                ledger.connection.executemany(
                    "INSERT OR IGNORE INTO older VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", lines
                )
            except (VaeganError, OSError, ValueError, KeyError, TypeError):
                self.close()  # damaged: everything is prepared again
        self._forget_another(fingerprint if self.rows is not None else "")

    def _forget_another(self, fingerprint: str) -> None:
        """Have done again what an interrupted run had taken from a set that is no longer there."""
        base = self.ledger.connection
        if self.rows is None:
            base.execute("DELETE FROM older")
        if self.ledger.meta_value("older") not in (None, fingerprint):
            base.execute("UPDATE files SET done = 0 WHERE id IN (SELECT file FROM squares WHERE spot < 0)")
            base.execute("DELETE FROM squares WHERE spot < 0")
        self.ledger.meta_value("older", fingerprint)

    def expect(self, task: Task) -> Task:
        """Tell a task the SHA-256 of bytes that need no decoding."""
        if self.rows is None:
            return task
        row = self.ledger.fetch_one(
            "SELECT o.sha, o.reason FROM older o JOIN files f ON f.name = o.name WHERE f.id = ? ORDER BY o.frame",
            task.file_id,
        )
        return task if row is None or row[1] in _REDONE else replace(task, expected=row[0])

    def take(self, outcome: TaskResult) -> bool:
        """Save an outcome whose bytes are those of the older set. False when its squares are not there after all."""
        found = self._squares_of("o.name = (SELECT name FROM files WHERE id = ?)", outcome.file_id)
        if found and found[0][8] == DUPLICATE:
            first = self.ledger.fetch_one(
                "SELECT min(name) FROM older WHERE sha = ? AND row IS NOT NULL", outcome.sha256
            )[0]
            found = self._squares_of("o.name = ?", first)
        if not found or any(row[8] == NEAR_DUPLICATE for row in found):
            return False
        if found[0][3] is None:
            self.ledger.save_result(replace(outcome, reason=found[0][8], detail=found[0][9]))
            return True
        squares = []
        for _, frame, _, row, width, height, box, crc, *_ in found:
            pixels = self.read(row)
            if len(pixels) != self.channels * self.size**2:
                return False
            value = perceptual_hash(from_chw_bytes(pixels, self.channels, self.size))
            left, top, right, bottom = map(int, box.split(","))
            squares.append(PreparedImage(frame, (width, height), (left, top, right, bottom), crc, value, b""))
        self.ledger.save_result(replace(outcome, images=squares), [-row[3] - 1 for row in found])
        return True

    def _squares_of(self, where: str, value: Any) -> list[Any]:
        return self.ledger.connection.execute(
            f"SELECT o.* FROM older o WHERE {where} ORDER BY frame", (value,)
        ).fetchall()

    def read(self, row: int) -> bytes:
        """The bytes of one of its pictures; too few where the shard is cut short."""
        return self.rows.read(row) if self.rows is not None and row < self.rows.count else b""

    def distrust(self, number: int) -> None:
        """Have a file decoded again whose square in the older set is damaged."""
        self.ledger.connection.execute("DELETE FROM older WHERE sha = (SELECT sha FROM files WHERE id = ?)", (number,))
        self.ledger.reset_file(number)

    def close(self) -> None:
        """Close the files."""
        if self.rows is not None:
            self.rows.close()
        self.rows = None


def _lines(manifest: Path, before: list[Path], now: list[Path]) -> Iterator[tuple[Any, ...]]:
    """The lines of a manifest, under the names that its files have among the sources of now."""
    old, new = name_prefixes(before), name_prefixes(now)
    with manifest.open(encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            name = _renamed(line["path"], old, new)
            if name is None or "sha256" not in line:
                continue
            width, height = line.get("original", (0, 0))
            box = ",".join(map(str, line.get("box", ())))
            why = line.get("skipped", ""), line.get("detail", "")
            row, crc = line.get("row"), line.get("crc32", 0)
            yield encode_name(name), line.get("frame", 0), line["sha256"], row, width, height, box, crc, *why


def _renamed(name: str, old: dict[Path, str], new: dict[Path, str]) -> str | None:
    """What a file of the older set is called now that there are other sources beside its own."""
    if old == new:
        return name
    for source, label in old.items():
        if label and not name.startswith(label + "/"):
            continue
        path = source / (name[len(label) + 1 :] if label else name)
        for other, other_label in new.items():
            if path.is_relative_to(other):
                rest = path.relative_to(other).as_posix()
                return f"{other_label}/{rest}" if other_label else rest
    return None
