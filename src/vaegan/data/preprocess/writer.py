"""The finished set: manifest, shards, contact sheet and set.json, all at once in the place of what was there."""

from __future__ import annotations

import dataclasses
import filecmp
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from vaegan.config.options import option_fields
from vaegan.config.settings import PreprocessSettings
from vaegan.data.dataset import SPLIT_NAMES, write_dataset, write_manifest
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.dedupe import ManifestBuilder, ManifestRow
from vaegan.data.preprocess.image_ops import from_chw_bytes
from vaegan.data.preprocess.preview import (
    SHEET_EXAMPLES,
    SHEET_IMAGES,
    CropExample,
    EvenSample,
    draw_dataset_preview,
    write_dataset_preview,
)
from vaegan.data.preprocess.previous import Older
from vaegan.data.preprocess.records import FileLocation, Task
from vaegan.data.preprocess.workers import WorkerPool
from vaegan.utils.files import PARTIAL_PREFIX, atomic_directory
from vaegan.version import __version__

PIPELINE_VERSION = 1
"""Grows when the same picture and options give other pixels, so that squares of two recipes never mix."""


class CorruptImage(Exception):
    """A square is not what it was when it was made; carries the file's number in the ledger."""

    def __init__(self, file_id: int, older: bool) -> None:
        """Keep both."""
        super().__init__(file_id, older)
        self.file_id, self.older = file_id, older


@dataclass
class PreprocessSummary:
    """What the set holds, in numbers."""

    skip_counts: Counter[str] = field(default_factory=Counter)
    num_upscaled: int = 0
    splits: bytearray = field(default_factory=bytearray)

    @property
    def split_counts(self) -> dict[str, int]:
        """Pictures on each side of the split, by its name."""
        return {name: self.splits.count(number) for number, name in enumerate(SPLIT_NAMES)}

    @property
    def num_images(self) -> int:
        """Pictures in the set."""
        return len(self.splits)


def content_options(settings: PreprocessSettings) -> dict[str, Any]:
    """The options that decide what the set is."""
    fields = option_fields(PreprocessSettings)
    return {name: value for name, value in dataclasses.asdict(settings).items() if fields[name].option.resume_locked}


def is_upscaled(original_size: tuple[int, int], settings: PreprocessSettings) -> bool:
    """Say whether a picture had too few pixels for its square."""
    return (max if settings.fit == "pad" else min)(original_size) < settings.size


def summarize_manifest(manifest: ManifestBuilder, settings: PreprocessSettings) -> PreprocessSummary:
    """Count what becomes of everything; a byte a picture is all that is held in memory."""
    summary = PreprocessSummary()
    for fate in manifest:
        if fate.reason:
            summary.skip_counts[fate.reason] += 1
        else:
            summary.splits.append(fate.split)
            summary.num_upscaled += is_upscaled(fate.original_size, settings)
    return summary


class DatasetWriter:
    """Writes the set from the ledger's squares and those of the older set."""

    def __init__(self, db: PreprocessDB, older: Older, manifest: ManifestBuilder, settings: PreprocessSettings) -> None:
        """Write nothing yet."""
        self.db, self.older, self.manifest, self.settings = db, older, manifest, settings
        self.channels = 1 if settings.grayscale else 3

    def write(self, out: Path, sources: list[Path], summary: PreprocessSummary, pool: WorkerPool) -> bool:
        """Write the set to `out`; False when what is there is the same already. Raises Damaged, VaeganError."""
        remove_partial_outputs(out)
        write_manifest(self.db.work_dir, self._manifest_lines())
        manifest = self.db.work_dir / "manifest.jsonl"
        if self._is_unchanged(out / "manifest.jsonl", manifest):
            return False
        with atomic_directory(out) as place:
            shown = range(0, summary.num_images, max(1, summary.num_images // SHEET_IMAGES))[:SHEET_IMAGES]
            kept: list[Image.Image] = []
            pairs = EvenSample(SHEET_EXAMPLES)
            splits, size = bytes(summary.splits), self.settings.size
            pictures = self._iter_pixels(shown, kept, pairs)
            write_dataset(place, pictures, splits, (self.channels, size, size), self._dataset_info(sources, summary))
            write_dataset_preview(
                draw_dataset_preview(kept, self._make_crop_examples(pairs, pool), size), place / "preview.png"
            )
            manifest.replace(place / manifest.name)
            self.older.close()  # Windows moves no directory whose files are open
        return True

    def _dataset_info(self, sources: list[Path], summary: PreprocessSummary) -> dict[str, Any]:
        return {
            "vaegan_version": __version__,
            "pipeline_version": PIPELINE_VERSION,
            "fit": self.settings.fit,
            "options": content_options(self.settings),
            "source": [str(source) for source in sources],
            "counts": {"skipped": summary.skip_counts.total(), "upscaled": summary.num_upscaled},
            "reasons": dict(sorted(summary.skip_counts.items())),
        }

    def _is_unchanged(self, old_manifest: Path, new_manifest: Path) -> bool:
        return (
            self.older.rows is not None
            and old_manifest.is_file()
            and filecmp.cmp(old_manifest, new_manifest, shallow=False)
        )

    def _manifest_lines(self) -> Iterator[dict[str, Any]]:
        row, frames = 0, self.settings.frames == "all"
        for fate in self.manifest:
            line: dict[str, Any] = {"path": fate.name}
            if frames and (not fate.reason or fate.original_size != (0, 0)):
                line["frame"] = fate.frame
            if fate.reason:
                line |= {"skipped": fate.reason, "detail": fate.detail}
                yield line | ({"sha256": fate.sha256} if fate.sha256 else {})
                continue
            line |= {
                "row": row,
                "split": SPLIT_NAMES[fate.split],
                "sha256": fate.sha256,
                "original": list(fate.original_size),
            }
            yield line | {"box": list(fate.box), "crc32": fate.crc32}
            row += 1

    def _iter_pixels(
        self, sheet_rows: range, sheet_images: list[Image.Image], example_sample: EvenSample
    ) -> Iterator[bytes]:
        """Yield the pixels of every row, and put aside what the contact sheet shows."""
        row = 0
        for fate in self.manifest:
            if fate.reason:
                continue
            pixels = self.older.read(-fate.slot - 1) if fate.slot < 0 else self.db.read_pixels(fate.slot)
            if zlib.crc32(pixels) != fate.crc32:
                raise CorruptImage(fate.file_id, fate.slot < 0)
            if row in sheet_rows:
                sheet_images.append(from_chw_bytes(pixels, self.channels, self.settings.size))
            if fate.original_size[0] != fate.original_size[1] and fate.frame == 0:
                example_sample.add((fate, pixels))
            yield pixels
            row += 1

    def _make_crop_examples(self, example_sample: EvenSample, pool: WorkerPool) -> list[CropExample]:
        """Have the originals of some rectangles looked at again, small. One that is gone by now is not shown."""
        chosen: dict[int, tuple[ManifestRow, bytes]] = dict(enumerate(example_sample.selected()))  # type: ignore[arg-type]
        size = self.settings.size
        tasks = iter(
            [
                Task(n, FileLocation.from_json(fate.location_json), thumbnail_height=size)
                for n, (fate, _) in chosen.items()
            ]
        )

        def feed() -> list[Task] | None:
            task = next(tasks, None)
            return None if task is None else [task]

        found = {
            outcome.file_id: outcome.images[0] for done in pool.run_batches(feed) for outcome in done if outcome.images
        }
        pairs = []
        for number, (fate, pixels) in chosen.items():
            if number in found:
                whole = Image.frombytes("RGB", found[number].original_size, found[number].pixels)
                pairs.append((whole, fate.original_size, fate.box, from_chw_bytes(pixels, self.channels, size)))
        return pairs


def remove_partial_outputs(out: Path) -> None:
    """Remove what a process that was killed while it wrote `out` has left beside it."""
    ours = re.compile(re.escape(PARTIAL_PREFIX) + r"\d+-" + re.escape(out.name))
    for path in out.parent.iterdir():
        if ours.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
