"""What becomes of every prepared picture: which are duplicates, and which must stay on one side of the split.

All is worked out anew from what the pictures are, in an order of their own, so that neither the order of the input
nor that of the work matters: files that come later change nothing but what they are duplicates of. The tables are on
the disk.

- The same bytes: the file whose name comes first stays.
- `near`: the largest original stays (of equal ones the first name); others that look like one that stays are dropped.
- Pictures that look the same and stay (`exact`, `off`), the frames of an animation and the files of a --group-by group
  are kin: one side of the split for all, that of the smallest key among them. A picture therefore changes sides only
  when a new one joins its kin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.perceptual_hash import has_structure, is_interchangeable, is_near_duplicate, lsh_bands
from vaegan.data.preprocess.records import Box, decode_name
from vaegan.data.preprocess.skip_reasons import DUPLICATE, NEAR_DUPLICATE
from vaegan.data.preprocess.splits import compile_group_pattern, make_split_function, split_key

_DEDUPE_SCHEMA = """
DROP TABLE IF EXISTS twins;
DROP TABLE IF EXISTS dropped;
DROP TABLE IF EXISTS bands;
DROP TABLE IF EXISTS kin;
CREATE TABLE twins (file INTEGER PRIMARY KEY, twin BLOB);
CREATE TABLE dropped (file INTEGER, frame INTEGER, twin BLOB, PRIMARY KEY (file, frame)) WITHOUT ROWID;
CREATE TABLE bands (band INTEGER, file INTEGER, frame INTEGER, PRIMARY KEY (band, file, frame)) WITHOUT ROWID;
CREATE TABLE kin (key TEXT PRIMARY KEY, up TEXT) WITHOUT ROWID;
"""
_SELECT_BAND_MATCHES = (
    "SELECT DISTINCT s.file, s.frame, s.likeness FROM bands b JOIN squares s ON s.file = b.file AND s.frame = b.frame"
    " WHERE b.band IN (?, ?, ?, ?, ?, ?, ?) ORDER BY s.file, s.frame"
)
_SELECT_MANIFEST = (
    "SELECT f.id, f.name, f.place, f.sha, f.reason, f.detail, t.twin, d.twin,"
    " s.frame, s.spot, s.width, s.height, s.box, s.crc"
    " FROM files f LEFT JOIN twins t ON t.file = f.id LEFT JOIN squares s ON s.file = f.id AND t.file IS NULL"
    " LEFT JOIN dropped d ON d.file = s.file AND d.frame = s.frame ORDER BY f.name, s.frame"
)
_SELECT_INCLUDED = (
    "SELECT f.name, f.sha FROM files f WHERE f.reason = '' AND f.id NOT IN (SELECT file FROM twins) AND EXISTS"
    " (SELECT 1 FROM squares s WHERE s.file = f.id AND NOT EXISTS"
    " (SELECT 1 FROM dropped d WHERE d.file = s.file AND d.frame = s.frame))"
)


@dataclass(slots=True)
class ManifestRow:
    """One line of the manifest: a picture that is kept (reason "") on a side, or a file that is not."""

    file_id: int
    name: str
    location_json: str
    sha256: str
    reason: str
    detail: str
    frame: int = 0
    slot: int = 0
    original_size: tuple[int, int] = (0, 0)
    box: Box = (0, 0, 0, 0)
    crc32: int = 0
    split: int = 0


class UnionFind:
    """Which keys belong together: sets joined on the disk (Tarjan's union-find with path halving)."""

    def __init__(self, db: PreprocessDB) -> None:
        """Use the ledger's table."""
        self.db = db
        self.is_empty = True

    def find(self, key: str) -> str:
        """The smallest key among a key's kin."""
        if self.is_empty:
            return key
        while True:
            row = self.db.fetch_one("SELECT k.up, u.up FROM kin k LEFT JOIN kin u ON u.key = k.up WHERE k.key = ?", key)
            if row is None:
                return key
            if row[1] is None:
                return str(row[0])
            self.db.connection.execute("UPDATE kin SET up = ? WHERE key = ?", (row[1], key))
            key = str(row[1])

    def union(self, key_a: str, key_b: str) -> None:
        """Make two keys kin."""
        low, high = sorted((self.find(key_a), self.find(key_b)))
        if low != high:
            self.db.connection.execute("INSERT OR REPLACE INTO kin VALUES (?, ?)", (high, low))
            self.is_empty = False


class ManifestBuilder:
    """The decisions. `decide` works them out; iterating gives a Fate for every picture and every skipped file."""

    def __init__(self, db: PreprocessDB, settings: PreprocessSettings) -> None:
        """Decide nothing yet."""
        self.db, self.settings = db, settings
        self.group_pattern: re.Pattern[str] | None = compile_group_pattern(settings.group_by)
        self.groups = UnionFind(db)
        self.split_of_key: Callable[[str], int] = lambda key: 0

    def dedupe_and_split(self) -> None:
        """Find duplicates, kin and sides."""
        self.db.connection.execute("COMMIT")
        self.db.connection.executescript(_DEDUPE_SCHEMA)
        self.db.connection.execute("BEGIN IMMEDIATE")
        if self.settings.dedupe != "off":
            self._find_exact_duplicates()
        self._find_near_duplicates()
        self.split_of_key = make_split_function(self._included_keys(), self.settings.val_fraction)
        self.db.commit()

    def __iter__(self) -> Iterator[ManifestRow]:
        """Yield every line in the order of the manifest: by name, then frame."""
        for fate in self._select_rows():
            if not fate.reason:
                fate.split = self.split_of_key(self._group_key(fate.name, fate.sha256))
            yield fate

    def _group_key(self, name: str, sha256: str) -> str:
        return self.groups.find(split_key(name, sha256, self.group_pattern))

    def _included_keys(self) -> Iterator[str]:
        """The keys of the pictures that stay."""
        for name, sha in self.db.connection.execute(_SELECT_INCLUDED):
            yield self._group_key(decode_name(name), sha)

    def _find_exact_duplicates(self) -> None:
        """Of files with the same SHA-256 keep the one whose name comes first."""
        rows = self.db.connection.execute("SELECT sha, id, name FROM files WHERE reason = '' ORDER BY sha, name")
        write = self.db.connection.cursor()
        last, first = "", b""
        for sha, number, name in rows:
            if sha == last:
                write.execute("INSERT INTO twins VALUES (?, ?)", (number, first))
            last, first = sha, first if sha == last else name

    def _find_near_duplicates(self) -> None:
        """Drop what looks like a picture that stays (near), or note that it is its kin (otherwise)."""
        near = self.settings.dedupe == "near"
        order = "s.width * s.height DESC, f.name, s.frame" if near else "f.name, s.frame"
        rows = self.db.connection.execute(
            "SELECT f.id, f.name, f.sha, s.frame, s.likeness FROM files f JOIN squares s ON s.file = f.id"
            f" WHERE f.id NOT IN (SELECT file FROM twins) ORDER BY {order}"
        )
        write = self.db.connection.cursor()
        for number, name, sha, frame, value in rows:
            if not has_structure(value):
                continue
            places = list(lsh_bands(value))
            new = True
            for other, _, theirs in write.execute(_SELECT_BAND_MATCHES, places).fetchall():
                if (not near and other == number) or not is_near_duplicate(value, theirs):
                    continue
                if near:
                    twin = self.db.fetch_one("SELECT name FROM files WHERE id = ?", other)[0]
                    write.execute("INSERT INTO dropped VALUES (?, ?, ?)", (number, frame, twin))
                    new = False
                    break
                self._merge_groups(name, sha, other)
                new = new and not is_interchangeable(value, theirs)  # one of a thousand still frames is enough to find
            if new:
                write.executemany("INSERT INTO bands VALUES (?, ?, ?)", ((place, number, frame) for place in places))

    def _merge_groups(self, name: bytes, sha256: str, other_id: int) -> None:
        their_name, their_sha = self.db.fetch_one("SELECT name, sha FROM files WHERE id = ?", other_id)
        mine = split_key(decode_name(name), sha256, self.group_pattern)
        self.groups.union(mine, split_key(decode_name(their_name), their_sha, self.group_pattern))

    def _select_rows(self) -> Iterator[ManifestRow]:
        for number, name, place, sha, reason, detail, twin, near, *square in self.db.connection.execute(
            _SELECT_MANIFEST
        ):
            told = decode_name(name), place, sha
            if twin is not None:
                yield ManifestRow(number, *told, DUPLICATE, decode_name(twin))
            elif reason or square[0] is None:
                yield ManifestRow(number, *told, reason, detail)
            else:
                frame, spot, width, height, box, crc = square
                left, top, right, bottom = map(int, box.split(","))
                why = (NEAR_DUPLICATE, decode_name(near)) if near is not None else ("", "")
                yield ManifestRow(number, *told, *why, frame, spot, (width, height), (left, top, right, bottom), crc)
