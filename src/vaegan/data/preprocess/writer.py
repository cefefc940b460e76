"""Write the finished dataset: shards, set.json, manifest and preview, moved to their place at once."""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from vaegan.config.options import option_fields
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.dataset import SPLIT_NAMES, write_dataset, write_manifest
from vaegan.data.labels import CATEGORICAL, NO, serialize_labels
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.dedupe import ManifestBuilder, ManifestRow, StoredImage
from vaegan.data.preprocess.image_ops import from_chw_bytes
from vaegan.data.preprocess.labels import MatchedLabels
from vaegan.data.preprocess.preview import (
    CROP_EXAMPLES,
    GRID_IMAGES,
    LABEL_EXAMPLES,
    LABEL_ROWS,
    CropExample,
    EvenSample,
    LabelExample,
    draw_dataset_preview,
)
from vaegan.data.preprocess.summary import PreprocessSummary
from vaegan.data.preprocess.workers import WorkerPool
from vaegan.utils.files import PARTIAL_PREFIX, atomic_directory, remove_tree, write_bytes
from vaegan.utils.images import png_bytes
from vaegan.version import __version__

PIPELINE_VERSION = 4
"""Increase this when the same image and options give other pixels. Images of two versions are never mixed."""

IncludedImage = tuple[ManifestRow, StoredImage]


class CorruptImage(Exception):
    """The stored pixels of an image do not match their checksum."""

    def __init__(self, file_id: int) -> None:
        super().__init__(file_id)
        self.file_id = file_id


def content_options(settings: PreprocessSettings) -> dict[str, Any]:
    """Return the options that change the content of the dataset, not only how it is made.

    Args:
        settings: options of preprocess.

    Returns:
        values by name.
    """
    fields = option_fields(PreprocessSettings)
    return {name: value for name, value in dataclasses.asdict(settings).items() if fields[name].option.resume_locked}


class DatasetWriter:
    """Writes the dataset from the images in the database."""

    def __init__(
        self,
        db: PreprocessDB,
        manifest: ManifestBuilder,
        settings: PreprocessSettings,
        channels: int,
        labels: MatchedLabels | None = None,
    ) -> None:
        self.db, self.manifest, self.settings, self.labels = db, manifest, settings, labels
        self.channels = channels
        # whether all images are gray is known only now, so the database holds three equal channels of each
        self.drops_channels = channels == 1 and settings.grayscale is None

    def write(self, out: Path, sources: list[Path], summary: PreprocessSummary, pool: WorkerPool) -> None:
        """Write the dataset, replacing one that is there.

        Args:
            out: the dataset's directory.
            sources: resolved sources.
            summary: summary of the manifest.
            pool: makes the thumbnails of the preview.

        Raises:
            CorruptImage: If stored pixels are damaged. `out` is then as it was.
            VaeganError: If the dataset cannot be written.
        """
        _remove_partial_outputs(out)
        size = self.settings.size
        splits = bytes(row.split for row, _ in self._included())
        grid_images, example_images = self._choose_preview_images(summary.num_images)
        with atomic_directory(out) as partial_dir:
            write_manifest(partial_dir, self._manifest_entries())
            info = self._dataset_info(sources, summary)
            labels = self._serialize_labels(splits)
            write_dataset(partial_dir, self._iter_pixels(), splits, (self.channels, size, size), info, labels)
            # the preview is drawn last, when the checksums of all pixels are known to be right
            grid = [self._read_image(image) for image in grid_images]
            examples = self._make_crop_examples(example_images, pool)
            label_rows = self._make_label_rows()
            write_bytes(partial_dir / "preview.png", png_bytes(draw_dataset_preview(grid, examples, size, label_rows)))

    def _included(self) -> Iterator[IncludedImage]:
        """Yield the manifest rows of the dataset's images with their images, in the dataset's order."""
        for row in self.manifest:
            if row.image is not None:
                yield row, row.image

    def _serialize_labels(self, splits: bytes) -> bytes | None:
        if self.labels is None:
            return None
        return serialize_labels(self.labels.rows, splits, len(self.labels.table.columns))

    def _dataset_info(self, sources: list[Path], summary: PreprocessSummary) -> dict[str, Any]:
        labels = {} if self.labels is None else {"labels": self.labels.to_info()}
        return {
            **labels,
            "vaegan_version": __version__,
            "pipeline_version": PIPELINE_VERSION,
            "fit": self.settings.fit,
            "options": content_options(self.settings),
            "sources": [str(source) for source in sources],
            "sources_fingerprint": self.db.sources_fingerprint(),
            "gray_bits": self._gray_bits(),
            "counts": {"skipped": summary.skip_counts.total(), "upscaled": summary.num_upscaled},
            "skip_reasons": dict(sorted(summary.skip_counts.items())),
        }

    def _gray_bits(self) -> int:
        """Return the bit depth of gray values without a tag; 0 without any, or if those of 16 and 32 bits differ."""
        depths = {bits for tag_bits, (bits, _) in self.db.gray_bit_depths().items() if tag_bits in (0, 32)}
        return depths.pop() if len(depths) == 1 else 0

    def _manifest_entries(self) -> Iterator[dict[str, Any]]:
        index = 0
        for row in self.manifest:
            entry: dict[str, Any] = {"path": row.name}
            if self.settings.frames == "all" and row.frame is not None:
                entry["frame"] = row.frame
            if row.image is None:
                entry |= {"skip_reason": row.skip_reason, "detail": row.detail}
                if row.sha256:
                    entry["sha256"] = row.sha256
            else:
                entry |= {
                    "row": index,
                    "split": SPLIT_NAMES[row.split],
                    "sha256": row.sha256,
                    "original_size": list(row.image.original_size),
                    "crop_box": list(row.image.crop_box),
                    "crc32": row.image.gray_crc32 if self.drops_channels else row.image.crc32,
                }
                index += 1
            yield entry

    def _iter_pixels(self) -> Iterator[bytes]:
        """Yield the pixels of each image of the dataset. Raises CorruptImage."""
        for row, image in self._included():
            pixels = self.db.read_pixels(image.slot)
            if zlib.crc32(pixels) != image.crc32:
                raise CorruptImage(row.file_id)
            if self.drops_channels:
                pixels = pixels[: len(pixels) // 3]
                if zlib.crc32(pixels) != image.gray_crc32:
                    raise CorruptImage(row.file_id)
            yield pixels

    def _read_image(self, image: StoredImage) -> Image.Image:
        return from_chw_bytes(self.db.read_pixels(image.slot), self.channels, self.settings.size)

    # ---- Preview ------------------------------------------------------------------------------------------------

    def _choose_preview_images(self, num_images: int) -> tuple[list[StoredImage], list[IncludedImage]]:
        """Choose images for the grid, and images that were not square as crop examples."""
        grid_indices = range(0, num_images, max(1, num_images // GRID_IMAGES))[:GRID_IMAGES]
        grid_images, examples = [], EvenSample[IncludedImage](CROP_EXAMPLES)
        for index, (row, image) in enumerate(self._included()):
            if index in grid_indices:
                grid_images.append(image)
            if image.original_size[0] != image.original_size[1] and row.frame == 0:
                examples.add((row, image))
        return grid_images, examples.selected()

    def _make_label_rows(self) -> list[LabelExample]:
        """Choose values of the labels, first one of each column, and some images that have each of them."""
        if self.labels is None:
            return []
        columns = list(enumerate(self.labels.table.columns))
        most_values = max((len(column.values) for _, column in columns), default=0)
        chosen = [
            (index, rank, f"{column.name}: {value}" if column.kind == CATEGORICAL else column.name)
            for rank in range(most_values)
            for index, column in columns
            for value in column.values[rank : rank + 1]
            if value not in ("none", NO)
        ]
        images: dict[tuple[int, int], list[Image.Image]] = {(index, rank): [] for index, rank, _ in chosen[:LABEL_ROWS]}
        for (_, image), row in zip(self._included(), self.labels.rows, strict=True):
            for (index, rank), examples in images.items():
                if row[index] == rank and len(examples) < LABEL_EXAMPLES:
                    examples.append(self._read_image(image))
        return [(text, images[index, rank]) for index, rank, text in chosen[:LABEL_ROWS] if images[index, rank]]

    def _make_crop_examples(self, chosen: list[IncludedImage], pool: WorkerPool) -> list[CropExample]:
        """Let the workers make thumbnails of the originals. An original that is gone by now is left out."""
        tasks = (self.db.make_task(row.file_id, thumbnail_height=self.settings.size) for row, _ in chosen)
        batches = ([task] for task in tasks)
        thumbnails = {}
        for results in pool.run_batches(lambda: next(batches, None)):
            for result in results:
                for thumbnail in result.images:
                    thumbnails[result.file_id] = Image.frombytes("RGB", thumbnail.original_size, thumbnail.pixels)
        return [
            (thumbnails[row.file_id], image.original_size, image.crop_box, self._read_image(image))
            for row, image in chosen
            if row.file_id in thumbnails
        ]


def _remove_partial_outputs(out: Path) -> None:
    """Remove what a process that was killed while it wrote `out` has left beside it."""
    pattern = re.compile(re.escape(PARTIAL_PREFIX) + r"\d+-" + re.escape(out.name))
    for path in out.parent.iterdir():
        if pattern.fullmatch(path.name):
            remove_tree(path)
