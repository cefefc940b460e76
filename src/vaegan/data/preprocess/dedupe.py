"""Duplicates, train / val split and manifest: what becomes of every source file.

Everything is computed from the images themselves, in an order of its own. The order of the input and of the work has
no effect, and a new image affects another only if the two look alike. All tables are on disk.

- Exact duplicates, of the same bytes: the first file name is kept.
- Near duplicates (`--dedupe near`): the largest original is kept, and of equal sizes the first file name.
- Groups: the frames of an animation, the files of one --group-by group and, unless dropped, images that look alike are
  all in one split. The smallest split key of the group decides it, so an image only changes its split when a new image
  joins its group.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.dataset import TRAIN
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.perceptual_hash import (
    NUM_BANDS,
    is_comparable,
    is_interchangeable,
    is_near_duplicate,
    lsh_bands,
)
from vaegan.data.preprocess.records import Box, decode_name
from vaegan.data.preprocess.skip_reasons import DUPLICATE, NEAR_DUPLICATE
from vaegan.data.preprocess.splits import compile_group_pattern, make_split_function, split_key

_SCHEMA = """
DROP TABLE IF EXISTS exact_duplicates;
DROP TABLE IF EXISTS near_duplicates;
DROP TABLE IF EXISTS lsh_bands;
DROP TABLE IF EXISTS groups;

-- duplicate_of: the name of the file that is kept.
CREATE TABLE exact_duplicates (file_id INTEGER PRIMARY KEY, duplicate_of BLOB);
CREATE TABLE near_duplicates (
    file_id INTEGER, frame INTEGER, duplicate_of BLOB, PRIMARY KEY (file_id, frame)) WITHOUT ROWID;

-- Index of the perceptual hashes: images that look alike have at least one band in common.
CREATE TABLE lsh_bands (
    band INTEGER, file_id INTEGER, frame INTEGER, PRIMARY KEY (band, file_id, frame)) WITHOUT ROWID;

-- Union-find forest over split keys. A key without a row is a root.
CREATE TABLE groups (key TEXT PRIMARY KEY, parent TEXT) WITHOUT ROWID;
"""

_INSERT_EXACT_DUPLICATES = """
INSERT INTO exact_duplicates (file_id, duplicate_of)
SELECT file_id, first_name
FROM (SELECT file_id, name, min(name) OVER (PARTITION BY sha256) AS first_name FROM files WHERE reason = '')
WHERE name != first_name
"""

# All images but exact duplicates, to be completed by an ORDER BY.
_SELECT_IMAGES = """
SELECT files.file_id, files.name, files.sha256, images.frame, images.perceptual_hash
FROM files JOIN images USING (file_id)
WHERE file_id NOT IN (SELECT file_id FROM exact_duplicates)
"""

# The indexed images that share a band with another. Its only parameters are the bands.
_SELECT_BAND_MATCHES = f"""
SELECT DISTINCT files.file_id, files.name, files.sha256, images.frame, images.perceptual_hash
FROM lsh_bands JOIN images USING (file_id, frame) JOIN files USING (file_id)
WHERE lsh_bands.band IN ({", ".join("?" * NUM_BANDS)})
ORDER BY files.name, images.frame
"""

_SELECT_MANIFEST = """
SELECT
    files.file_id, files.name, files.sha256, files.reason, files.detail,
    images.frame, images.slot, images.width, images.height, images.crop_box, images.crc32,
    images.gray_crc32,
    exact_duplicates.duplicate_of AS exact_duplicate_of, near_duplicates.duplicate_of AS near_duplicate_of
FROM files
LEFT JOIN exact_duplicates ON exact_duplicates.file_id = files.file_id
LEFT JOIN images ON images.file_id = files.file_id AND exact_duplicates.file_id IS NULL
LEFT JOIN near_duplicates ON near_duplicates.file_id = images.file_id AND near_duplicates.frame = images.frame
ORDER BY files.name, images.frame
"""


@dataclass(slots=True)
class StoredImage:
    """A prepared image in the database; `slot` is its position in the pixel file.

    The other fields are those of `PreparedImage`.
    """

    slot: int
    original_size: tuple[int, int]
    crop_box: Box
    crc32: int
    gray_crc32: int | None


@dataclass(slots=True)
class ManifestRow:
    """One line of the manifest: an image of the dataset, or a file or frame that is skipped."""

    file_id: int
    name: str
    sha256: str
    skip_reason: str  # empty for an image of the dataset
    detail: str
    frame: int | None = None  # None for a skipped file
    image: StoredImage | None = None  # None for whatever is skipped
    split: int = TRAIN


class UnionFind:
    """Disjoint sets of split keys, stored in the table `groups`. The root of a set is its smallest key."""

    def __init__(self, db: PreprocessDB) -> None:
        self.db = db

    def find(self, key: str) -> str:
        """Return the root of the set that a key is in.

        Args:
            key: the key.

        Returns:
            the smallest key of the set.
        """
        path = []
        while (row := self.db.fetch_one("SELECT parent FROM groups WHERE key = :key", key=key)) is not None:
            path.append(key)
            key = row["parent"]
        # path compression: the keys on the way now point to the root
        for child in path[:-1]:
            self.db.execute("UPDATE groups SET parent = :root WHERE key = :key", root=key, key=child)
        return key

    def union(self, key_a: str, key_b: str) -> None:
        """Merge the sets that the two keys are in.

        Args:
            key_a: a key of one set.
            key_b: a key of the other.
        """
        root, child = sorted((self.find(key_a), self.find(key_b)))
        if root != child:
            self.db.execute("INSERT INTO groups (key, parent) VALUES (:key, :parent)", key=child, parent=root)


class ManifestBuilder:
    """Finds duplicates and splits the images; iterating then yields the manifest, by file name and frame."""

    def __init__(self, db: PreprocessDB, settings: PreprocessSettings) -> None:
        self.db, self.settings = db, settings
        self.group_pattern = compile_group_pattern(settings.group_by)
        self.groups = UnionFind(db)
        self.split_of_key: Callable[[str], int] = lambda key: TRAIN

    def dedupe_and_split(self) -> None:
        """Find duplicates, group images that look alike, and split the groups into train and val."""
        self.db.recreate_tables(_SCHEMA)
        if self.settings.dedupe != "off":
            self.db.execute(_INSERT_EXACT_DUPLICATES)
        if self.settings.dedupe == "near":
            self._drop_near_duplicates()
        else:
            self._group_look_alikes()
        self.split_of_key = make_split_function(self._iter_group_keys, self.settings.val_fraction)
        self.db.commit()

    def __iter__(self) -> Iterator[ManifestRow]:
        for row in self._select_rows():
            if row.image is not None:
                row.split = self.split_of_key(self._group_key(row))
            yield row

    def _iter_group_keys(self) -> Iterator[str]:
        return (self._group_key(row) for row in self._select_rows() if row.image is not None)

    def _group_key(self, row: ManifestRow) -> str:
        return self.groups.find(split_key(row.name, row.sha256, self.group_pattern))

    # ---- Images that look alike ---------------------------------------------------------------------------------

    def _drop_near_duplicates(self) -> None:
        """From the largest original to the smallest, drop each image that looks like one that is kept."""
        for image in self._hashed_images("images.width * images.height DESC, files.name, images.frame"):
            look_alikes = self._indexed_look_alikes(image)
            if look_alikes:
                statement = "INSERT INTO near_duplicates VALUES (:file_id, :frame, :duplicate_of)"
                self.db.execute(statement, **dict(image), duplicate_of=look_alikes[0]["name"])
            else:
                self._add_to_index(image)

    def _group_look_alikes(self) -> None:
        """Merge the groups of images that look alike, so that no val image looks like a train image."""
        for image in self._hashed_images("files.name, images.frame"):
            # frames of one file are in one group already
            look_alikes = [other for other in self._indexed_look_alikes(image) if other["file_id"] != image["file_id"]]
            for other in look_alikes:
                self.groups.union(self._split_key(image), self._split_key(other))
            # of a thousand identical images, one in the index is enough
            hashes = [other["perceptual_hash"] for other in look_alikes]
            if not any(is_interchangeable(image["perceptual_hash"], other_hash) for other_hash in hashes):
                self._add_to_index(image)

    def _hashed_images(self, order: str) -> Iterator[sqlite3.Row]:
        """Yield the images whose perceptual hash is distinctive enough to compare."""
        for image in self.db.execute(f"{_SELECT_IMAGES} ORDER BY {order}"):
            if is_comparable(image["perceptual_hash"]):
                yield image

    def _indexed_look_alikes(self, image: sqlite3.Row) -> list[sqlite3.Row]:
        matches = self.db.connection.execute(_SELECT_BAND_MATCHES, list(lsh_bands(image["perceptual_hash"])))
        return [row for row in matches if is_near_duplicate(image["perceptual_hash"], row["perceptual_hash"])]

    def _add_to_index(self, image: sqlite3.Row) -> None:
        rows = ((band, image["file_id"], image["frame"]) for band in lsh_bands(image["perceptual_hash"]))
        self.db.connection.executemany("INSERT OR IGNORE INTO lsh_bands (band, file_id, frame) VALUES (?, ?, ?)", rows)

    def _split_key(self, image: sqlite3.Row) -> str:
        return split_key(decode_name(image["name"]), image["sha256"], self.group_pattern)

    # ---- Manifest -----------------------------------------------------------------------------------------------

    def _select_rows(self) -> Iterator[ManifestRow]:
        for row in self.db.execute(_SELECT_MANIFEST):
            reason, detail, frame, image = row["reason"], row["detail"], None, None
            if row["exact_duplicate_of"] is not None:
                reason, detail = DUPLICATE, decode_name(row["exact_duplicate_of"])
            elif row["near_duplicate_of"] is not None:
                reason, detail, frame = NEAR_DUPLICATE, decode_name(row["near_duplicate_of"]), row["frame"]
            elif not reason and row["frame"] is not None:
                original_size, frame = (row["width"], row["height"]), row["frame"]
                crop_box = self.db.load_box(row["crop_box"])
                image = StoredImage(row["slot"], original_size, crop_box, row["crc32"], row["gray_crc32"])
            name = decode_name(row["name"])
            yield ManifestRow(row["file_id"], name, row["sha256"], reason, detail, frame, image)
