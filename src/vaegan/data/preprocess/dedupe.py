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

from vaegan.config.settings import PrepareSettings
from vaegan.data.preprocess.database import Ledger
from vaegan.data.preprocess.perceptual_hash import alike, bands, has_structure, interchangeable
from vaegan.data.preprocess.records import Box, to_name
from vaegan.data.preprocess.skip_reasons import DUPLICATE, NEAR
from vaegan.data.preprocess.splits import group_pattern, key_of, sides

_TABLES = """
DROP TABLE IF EXISTS twins;
DROP TABLE IF EXISTS dropped;
DROP TABLE IF EXISTS bands;
DROP TABLE IF EXISTS kin;
CREATE TABLE twins (file INTEGER PRIMARY KEY, twin BLOB);
CREATE TABLE dropped (file INTEGER, frame INTEGER, twin BLOB, PRIMARY KEY (file, frame)) WITHOUT ROWID;
CREATE TABLE bands (band INTEGER, file INTEGER, frame INTEGER, PRIMARY KEY (band, file, frame)) WITHOUT ROWID;
CREATE TABLE kin (key TEXT PRIMARY KEY, up TEXT) WITHOUT ROWID;
"""
_SAME_BAND = (
    "SELECT DISTINCT s.file, s.frame, s.likeness FROM bands b JOIN squares s ON s.file = b.file AND s.frame = b.frame"
    " WHERE b.band IN (?, ?, ?, ?, ?, ?, ?) ORDER BY s.file, s.frame"
)
_ALL = (
    "SELECT f.id, f.name, f.place, f.sha, f.reason, f.detail, t.twin, d.twin,"
    " s.frame, s.spot, s.width, s.height, s.box, s.crc"
    " FROM files f LEFT JOIN twins t ON t.file = f.id LEFT JOIN squares s ON s.file = f.id AND t.file IS NULL"
    " LEFT JOIN dropped d ON d.file = s.file AND d.frame = s.frame ORDER BY f.name, s.frame"
)
_KEPT = (
    "SELECT f.name, f.sha FROM files f WHERE f.reason = '' AND f.id NOT IN (SELECT file FROM twins) AND EXISTS"
    " (SELECT 1 FROM squares s WHERE s.file = f.id AND NOT EXISTS"
    " (SELECT 1 FROM dropped d WHERE d.file = s.file AND d.frame = s.frame))"
)


@dataclass(slots=True)
class Fate:
    """One line of the manifest: a picture that is kept (reason "") on a side, or a file that is not."""

    id: int
    name: str
    place: str
    sha: str
    reason: str
    detail: str
    frame: int = 0
    spot: int = 0
    original: tuple[int, int] = (0, 0)
    box: Box = (0, 0, 0, 0)
    crc: int = 0
    side: int = 0


class Kin:
    """Which keys belong together: sets joined on the disk (Tarjan's union-find with path halving)."""

    def __init__(self, ledger: Ledger) -> None:
        """Use the ledger's table."""
        self.ledger = ledger
        self.empty = True

    def root(self, key: str) -> str:
        """The smallest key among a key's kin."""
        if self.empty:
            return key
        while True:
            row = self.ledger.one("SELECT k.up, u.up FROM kin k LEFT JOIN kin u ON u.key = k.up WHERE k.key = ?", key)
            if row is None:
                return key
            if row[1] is None:
                return str(row[0])
            self.ledger.base.execute("UPDATE kin SET up = ? WHERE key = ?", (row[1], key))
            key = str(row[1])

    def join(self, one: str, other: str) -> None:
        """Make two keys kin."""
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self.ledger.base.execute("INSERT OR REPLACE INTO kin VALUES (?, ?)", (high, low))
            self.empty = False


class Fates:
    """The decisions. `decide` works them out; iterating gives a Fate for every picture and every skipped file."""

    def __init__(self, ledger: Ledger, settings: PrepareSettings) -> None:
        """Decide nothing yet."""
        self.ledger, self.settings = ledger, settings
        self.pattern: re.Pattern[str] | None = group_pattern(settings.group_by)
        self.kin = Kin(ledger)
        self.side: Callable[[str], int] = lambda key: 0

    def decide(self) -> None:
        """Find duplicates, kin and sides."""
        self.ledger.base.execute("COMMIT")
        self.ledger.base.executescript(_TABLES)
        self.ledger.base.execute("BEGIN IMMEDIATE")
        if self.settings.dedupe != "off":
            self._same_bytes()
        self._same_looks()
        self.side = sides(self._kept(), self.settings.held_out)
        self.ledger.commit()

    def __iter__(self) -> Iterator[Fate]:
        """Yield every line in the order of the manifest: by name, then frame."""
        for fate in self._lines():
            if not fate.reason:
                fate.side = self.side(self._key(fate.name, fate.sha))
            yield fate

    def _key(self, name: str, sha: str) -> str:
        return self.kin.root(key_of(name, sha, self.pattern))

    def _kept(self) -> Iterator[str]:
        """The keys of the pictures that stay."""
        for name, sha in self.ledger.base.execute(_KEPT):
            yield self._key(to_name(name), sha)

    def _same_bytes(self) -> None:
        """Of files with the same SHA-256 keep the one whose name comes first."""
        rows = self.ledger.base.execute("SELECT sha, id, name FROM files WHERE reason = '' ORDER BY sha, name")
        write = self.ledger.base.cursor()
        last, first = "", b""
        for sha, number, name in rows:
            if sha == last:
                write.execute("INSERT INTO twins VALUES (?, ?)", (number, first))
            last, first = sha, first if sha == last else name

    def _same_looks(self) -> None:
        """Drop what looks like a picture that stays (near), or note that it is its kin (otherwise)."""
        near = self.settings.dedupe == "near"
        order = "s.width * s.height DESC, f.name, s.frame" if near else "f.name, s.frame"
        rows = self.ledger.base.execute(
            "SELECT f.id, f.name, f.sha, s.frame, s.likeness FROM files f JOIN squares s ON s.file = f.id"
            f" WHERE f.id NOT IN (SELECT file FROM twins) ORDER BY {order}"
        )
        write = self.ledger.base.cursor()
        for number, name, sha, frame, value in rows:
            if not has_structure(value):
                continue
            places = list(bands(value))
            new = True
            for other, _, theirs in write.execute(_SAME_BAND, places).fetchall():
                if (not near and other == number) or not alike(value, theirs):
                    continue
                if near:
                    twin = self.ledger.one("SELECT name FROM files WHERE id = ?", other)[0]
                    write.execute("INSERT INTO dropped VALUES (?, ?, ?)", (number, frame, twin))
                    new = False
                    break
                self._join(name, sha, other)
                new = new and not interchangeable(value, theirs)  # one of a thousand still frames is enough to find
            if new:
                write.executemany("INSERT INTO bands VALUES (?, ?, ?)", ((place, number, frame) for place in places))

    def _join(self, name: bytes, sha: str, other: int) -> None:
        their_name, their_sha = self.ledger.one("SELECT name, sha FROM files WHERE id = ?", other)
        mine = key_of(to_name(name), sha, self.pattern)
        self.kin.join(mine, key_of(to_name(their_name), their_sha, self.pattern))

    def _lines(self) -> Iterator[Fate]:
        for number, name, place, sha, reason, detail, twin, near, *square in self.ledger.base.execute(_ALL):
            told = to_name(name), place, sha
            if twin is not None:
                yield Fate(number, *told, DUPLICATE, to_name(twin))
            elif reason or square[0] is None:
                yield Fate(number, *told, reason, detail)
            else:
                frame, spot, width, height, box, crc = square
                left, top, right, bottom = map(int, box.split(","))
                why = (NEAR, to_name(near)) if near is not None else ("", "")
                yield Fate(number, *told, *why, frame, spot, (width, height), (left, top, right, bottom), crc)
