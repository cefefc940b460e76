"""The summary of a dataset: how many images it holds, and which files were skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.dataset import SPLIT_NAMES
from vaegan.data.labels import LabelColumn, columns_from_json
from vaegan.data.preprocess.dedupe import ManifestRow
from vaegan.data.preprocess.skip_reasons import METADATA_FILE, SKIP_REASONS
from vaegan.data.preprocess.splits import compile_group_pattern, is_near_fraction
from vaegan.errors import printable
from vaegan.events import EventHandler, Note, WarningMessage
from vaegan.utils.text import count_text, join_first

MAX_COLUMNS_SHOWN = 20


@dataclass(frozen=True)
class LabelSummary:
    """The columns of a dataset's labels, and how much of them has no counterpart.

    Attributes:
        columns: the columns.
        num_unlabeled: number of images without a row of labels.
        num_unused: number of rows without an image.
    """

    columns: list[LabelColumn]
    num_unlabeled: int
    num_unused: int

    @classmethod
    def from_info(cls, info: dict[str, Any] | None) -> LabelSummary | None:
        """Return the summary of the labels of an existing dataset.

        Args:
            info: the entry "labels" of set.json, or None.

        Returns:
            the summary, or None without labels.
        """
        if info is None:
            return None
        return cls(columns_from_json(info["columns"]), info["num_unlabeled"], info["num_unused"])


@dataclass
class PreprocessSummary:
    """How many images a dataset holds, and how many files were skipped for which reason.

    Attributes:
        split_counts: number of images by split.
        skip_counts: number of skipped files and frames by reason.
        num_upscaled: number of images that were smaller than those of the dataset.
        channels: of the dataset's images, 1 or 3.
        num_color: number of images that are not gray, where that decides the channels; 0 for an existing dataset.
        first_color_image: name of the first of them.
        labels: the dataset's labels.
        num_ungrouped: number of images whose names --group-by does not match; 0 for an existing dataset.
    """

    split_counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLIT_NAMES, 0))
    skip_counts: Counter[str] = field(default_factory=Counter)
    num_upscaled: int = 0
    channels: int = 3
    num_color: int = 0
    first_color_image: str = ""
    labels: LabelSummary | None = None
    num_ungrouped: int = 0

    @property
    def num_images(self) -> int:
        """Number of images of both splits."""
        return sum(self.split_counts.values())

    @classmethod
    def from_info(cls, info: dict[str, Any]) -> PreprocessSummary:
        """Return the summary of an existing dataset from its set.json.

        Args:
            info: contents of set.json.

        Returns:
            the summary.
        """
        counts = info["counts"]
        split_counts = {name: counts[name] for name in SPLIT_NAMES}
        labels = LabelSummary.from_info(info.get("labels"))
        skip_counts, num_upscaled = Counter(info.get("skip_reasons", {})), counts.get("upscaled", 0)
        return cls(split_counts, skip_counts, num_upscaled, info["channels"], labels=labels)


def summarize_manifest(manifest: Iterable[ManifestRow], settings: PreprocessSettings) -> PreprocessSummary:
    """Count the images of each split, the skipped files and the upscaled images.

    Args:
        manifest: rows of the manifest.
        settings: options of preprocess.

    Returns:
        the summary.
    """
    summary = PreprocessSummary()
    resized_side = max if settings.fit == "pad" else min
    group_pattern = compile_group_pattern(settings.group_by)
    for row in manifest:
        if row.image is None:
            summary.skip_counts[row.skip_reason] += 1
        else:
            summary.split_counts[SPLIT_NAMES[row.split]] += 1
            summary.num_ungrouped += group_pattern is not None and group_pattern.search(row.name) is None
            summary.num_upscaled += resized_side(row.image.original_size) < settings.size
            if settings.grayscale is None and row.image.gray_crc32 is None:
                summary.num_color += 1
                summary.first_color_image = summary.first_color_image or row.name
    is_gray = not summary.num_color if settings.grayscale is None else settings.grayscale
    summary.channels = 1 if is_gray else 3
    return summary


def report_summary(summary: PreprocessSummary, settings: PreprocessSettings, emit: EventHandler, dry_run: bool) -> None:
    """Report how many images the dataset holds, and which files were skipped or upscaled.

    Args:
        summary: the summary.
        settings: options of preprocess.
        emit: receives notes and warnings.
        dry_run: whether nothing was written.
    """
    num_train, num_val = summary.split_counts["train"], summary.split_counts["val"]
    emit(Note(f"{count_text(summary.num_images, 'image')}: {num_train:,} for training, {num_val:,} for validation"))
    if settings.grayscale is None:
        _report_channels(summary, emit)
    if summary.labels is not None:
        _report_labels(summary.labels, summary.num_images, emit)
    skip_counts = Counter(summary.skip_counts)
    if num_metadata := skip_counts.pop(METADATA_FILE, 0):
        emit(Note(f"{count_text(num_metadata, 'metadata file')} beside the images: not used as images"))
    if skip_counts:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(skip_counts.items()))
        hint = "" if dry_run else "; see manifest.jsonl"
        emit(WarningMessage(f"{count_text(skip_counts.total(), 'file')} skipped ({counts}){hint}"))
        width = max(map(len, skip_counts))
        for reason, count in skip_counts.most_common():
            emit(Note(f"  {count:>8,}  {reason:<{width}}  {SKIP_REASONS.get(reason, '')}"))
    if summary.num_upscaled:
        images = count_text(summary.num_upscaled, "image")
        emit(WarningMessage(f"{images} smaller than {settings.size} pixels upscaled: the models learn the blur"))
    if summary.num_ungrouped and summary.num_ungrouped == summary.num_images:
        emit(WarningMessage(f"--group-by {settings.group_by} matches no file name: each image is a group of its own"))
    elif summary.num_ungrouped:
        images = count_text(summary.num_ungrouped, "image")
        emit(Note(f"--group-by {settings.group_by} does not match {images}: each of them is a group of its own"))
    if not settings.val_fraction:
        return
    if not num_val:
        emit(WarningMessage("there is only one image or group: no validation images, so nothing can be validated"))
    elif not is_near_fraction(num_val, summary.num_images, settings.val_fraction):
        fraction = f"{num_val / summary.num_images:.2g} of the images are for validation, not {settings.val_fraction:g}"
        emit(WarningMessage(f"{fraction}: the groups that have to share a split are too few or too unequal"))


def _report_channels(summary: PreprocessSummary, emit: EventHandler) -> None:
    """Report that all images are gray, or which images with color are among images that are mostly gray."""
    if summary.channels == 1:
        emit(Note("All images are gray: one channel is stored (--no-grayscale stores three)"))
    elif 0 < summary.num_color < summary.num_images / 2:
        verb, name = "has" if summary.num_color == 1 else "have", printable(summary.first_color_image, 300)
        subject = f"{summary.num_color:,} of {count_text(summary.num_images, 'image')} {verb} color, first {name!r}"
        emit(Note(f"{subject}: three channels are stored (--grayscale stores one)"))


def _report_labels(labels: LabelSummary, num_images: int, emit: EventHandler) -> None:
    """Report the columns of the labels, and warn of images and rows that have no counterpart."""
    emit(Note(f"Labels: {join_first([column.describe() for column in labels.columns], MAX_COLUMNS_SHOWN)}"))
    if labels.num_unlabeled or labels.num_unused:
        unlabeled = f"images without a row in the labels: {labels.num_unlabeled} of {num_images}"
        emit(WarningMessage(f"{unlabeled}; rows without an image: {labels.num_unused}"))
    if labels.num_unlabeled == num_images:
        emit(
            WarningMessage("no row of the labels fits an image: their column of names must hold the images' file names")
        )
