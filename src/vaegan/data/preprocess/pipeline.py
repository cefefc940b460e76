"""A whole preparation: search the sources, process the files, remove duplicates, split, write.

A preparation that was killed resumes from the state on disk when the same command runs again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from vaegan.config.options import flag_name
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.dataset import PreparedDataset, find_foreign_entry, is_dataset, open_dataset
from vaegan.data.preprocess.database import (
    COMMIT_SECONDS,
    DATABASE_ERRORS,
    PreprocessDB,
    cannot_write_error,
    database_error,
    remove_state,
)
from vaegan.data.preprocess.dedupe import ManifestBuilder
from vaegan.data.preprocess.labels import LabelMatcher, MatchedLabels
from vaegan.data.preprocess.records import Task, encode_name
from vaegan.data.preprocess.skip_reasons import DUPLICATE, METADATA_FILE, NEAR_DUPLICATE, RETRYABLE_REASONS
from vaegan.data.preprocess.sources import IGNORED, find_files, resolve_sources
from vaegan.data.preprocess.summary import LabelSummary, PreprocessSummary, report_summary, summarize_manifest
from vaegan.data.preprocess.workers import LocalWorkerPool, WorkerPool, available_cores
from vaegan.data.preprocess.writer import PIPELINE_VERSION, CorruptImage, DatasetWriter, content_options
from vaegan.errors import Interrupted, VaeganError, printable
from vaegan.events import EventHandler, FileWritten, Note, TaskProgress
from vaegan.utils.files import real_path, remove_tree, restore_replaced
from vaegan.utils.text import count_text

WORK_DIR_PREFIX = ".preparing-"
FILES_PER_BATCH = 32
ANIMATIONS_PER_BATCH = 2
MIN_FILES_PER_WORKER = 64
SEARCH_PROGRESS_INTERVAL = 100_000


@dataclass(frozen=True)
class PreprocessRequest:
    """The arguments of a preparation."""

    sources: list[Path]
    out: Path
    settings: PreprocessSettings
    force: bool
    dry_run: bool


def run_pipeline(request: PreprocessRequest, emit: EventHandler) -> PreprocessSummary:
    """Prepare a dataset.

    Args:
        request: what to prepare.
        emit: receives progress, notes and warnings.

    Returns:
        the dataset's summary.

    Raises:
        VaeganError: If the sources, the options, `out` or the disk do not allow it.
        Interrupted: On Ctrl-C, with the state saved.
    """
    sources = resolve_sources(request.sources)
    # before a complaint about other options: without the table, another --out would not help
    label_matcher = LabelMatcher(request.settings.labels, request.settings.label_columns, sources, emit)
    restore_replaced(request.out)
    check_output_dir(request, sources)
    with _work_dir(request) as work_dir:
        bytes_per_image = request.settings.size**2 * (1 if request.settings.grayscale else 3)
        db, is_state_useless = None, False
        try:
            db = PreprocessDB(work_dir, bytes_per_image, store_images=not request.dry_run)
            summary = PreprocessPipeline(request, sources, label_matcher, db, emit).run()
            is_state_useless = not request.dry_run
        except Interrupted as error:
            raise Interrupted(_save_interrupted(db, request.dry_run)) from error
        except VaeganError:
            is_state_useless = not request.dry_run and db is not None and not db.has_images()
            raise
        except DATABASE_ERRORS as error:
            raise database_error(work_dir, error) from error
        except OSError as error:
            raise cannot_write_error(work_dir, error) from error
        finally:
            if db is not None:
                db.close()
            if is_state_useless:
                remove_tree(work_dir)
    return summary


def _save_interrupted(db: PreprocessDB | None, dry_run: bool) -> str:
    """Commit what is done and return the message of the interruption."""
    next_step = "nothing was written" if dry_run else "run the same command again to resume"
    if db is None:
        return f"interrupted: {next_step}"
    with contextlib.suppress(sqlite3.Error, OSError):
        db.commit()
    counts = db.file_counts()
    return f"interrupted: {counts.done:,} of {count_text(counts.total, 'file')} done; {next_step}"


@contextlib.contextmanager
def _work_dir(request: PreprocessRequest) -> Iterator[Path]:
    """Yield the directory of the state: beside `out`, or a temporary one for a dry run."""
    if request.dry_run:
        with tempfile.TemporaryDirectory(prefix="vaegan-", ignore_cleanup_errors=True) as temporary_dir:
            yield Path(temporary_dir)
        return
    work_dir = request.out.with_name(WORK_DIR_PREFIX + request.out.name)
    if request.force:
        remove_state(work_dir)
    is_new_parent = not work_dir.parent.exists()
    try:
        yield work_dir
    finally:
        if is_new_parent:
            with contextlib.suppress(OSError):
                work_dir.parent.rmdir()  # succeeds only if it is empty


# ---- Checks before the work -----------------------------------------------------------------------------------------


def check_output_dir(request: PreprocessRequest, sources: list[Path]) -> None:
    """Check that a dataset may be written to the output directory.

    With --force, a dataset of other sources or options may be replaced, but nothing else.

    Args:
        request: what to prepare.
        sources: resolved sources.

    Raises:
        VaeganError: if it holds anything but a dataset of the same sources and options.
    """
    out = request.out
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_dataset(out):
        raise VaeganError(f"{out} exists and is not a prepared dataset: choose another --out")
    source_inside = next((source for source in sources if source.is_relative_to(real_path(out))), None)
    if source_inside is not None:
        raise VaeganError(f"{source_inside} is inside --out {out}, which is replaced as a whole: choose another --out")
    if foreign_entry := find_foreign_entry(out):
        cause = f"{out} is replaced as a whole, and also holds {foreign_entry}, which is not part of the dataset"
        raise VaeganError(f"{cause}: move it away, or choose another --out")
    if not request.force:
        _check_same_origin(request, sources)


def _check_same_origin(request: PreprocessRequest, sources: list[Path]) -> None:
    """Raise VaeganError if the dataset at `out` has other options, or sources that were not given now."""
    out, way_out = request.out, "choose another --out, or add --force to replace it"
    try:
        info = open_dataset(out).info
    except VaeganError as error:
        raise VaeganError(f"{error}: {way_out}") from error
    if info.get("pipeline_version") != PIPELINE_VERSION:
        version = info.get("vaegan_version", "unknown")
        raise VaeganError(f"{out} was prepared by another version of vaegan ({printable(version)}): {way_out}")
    _check_same_options(f"{out} was prepared", info.get("options"), request.settings, way_out)
    old_sources = [Path(source) for source in info.get("sources", [])]
    missing = [path for path in old_sources if not any(path.is_relative_to(source) for source in sources)]
    if missing:
        source = printable(missing[0], 300)
        raise VaeganError(f"{out} was prepared from {source}, which is not among the sources: add it, {way_out}")


def _check_same_options(subject: str, saved_options: Any, settings: PreprocessSettings, way_out: str) -> None:
    saved = saved_options if isinstance(saved_options, dict) else {}
    changed = [name for name, value in content_options(settings).items() if saved.get(name) != value]
    if changed:
        raise VaeganError(f"{subject} with other options ({', '.join(map(flag_name, changed))}): {way_out}")


def _label_source(info: dict[str, Any]) -> dict[str, Any] | None:
    """Return where the labels of a dataset came from, as `LabelMatcher.source` does."""
    labels = info.get("labels")
    return {key: labels.get(key) for key in ("source", "sha256")} if isinstance(labels, dict) else None


# ---- The preparation ------------------------------------------------------------------------------------------------


class PreprocessPipeline:
    """The steps of a preparation, on an open database.

    Raises:
        VaeganError: If the database holds an unfinished preparation with other options.
    """

    def __init__(
        self,
        request: PreprocessRequest,
        sources: list[Path],
        label_matcher: LabelMatcher,
        db: PreprocessDB,
        emit: EventHandler,
    ) -> None:
        self.request, self.sources, self.label_matcher, self.db, self.emit = request, sources, label_matcher, db, emit
        self.settings = request.settings
        self.retry_tasks: deque[Task] = deque()
        self.manifest = ManifestBuilder(db, self.settings)
        saved_options = db.get_meta("options")
        self.is_resumed = saved_options is not None
        if saved_options is not None:
            if db.get_meta("pipeline_version") != str(PIPELINE_VERSION):
                raise VaeganError(f"{request.out} was started by another version of vaegan: add --force to start over")
            way_out = "give the same options to resume, or add --force to start over"
            _check_same_options(f"{request.out} was started", db.load_json(saved_options), self.settings, way_out)
        db.set_meta("options", json.dumps(content_options(self.settings)))
        db.set_meta("pipeline_version", str(PIPELINE_VERSION))

    def run(self) -> PreprocessSummary:
        """Run all steps.

        Returns:
            the dataset's summary.

        Raises:
            VaeganError: if the sources, the options or the disk do not allow it.
        """
        self._find_files()
        self.label_matcher.check_fits(self.db.file_names())
        dataset = self._find_up_to_date_dataset()
        if dataset is not None:
            summary = PreprocessSummary.from_info(dataset.info)
            report_summary(summary, self.settings, self.emit, self.request.dry_run)
            self.emit(Note(f"{self.request.out} is up to date"))
            return summary
        pool = self._make_pool()
        try:
            while True:
                self._process_files(pool)
                if self.db.unify_gray_bits():
                    continue
                self._report_gray_bits()
                self.manifest.dedupe_and_split()
                summary = summarize_manifest(self.manifest, self.settings)
                self._check_summary(summary)
                labels = self._match_labels()
                if labels is not None:
                    summary.labels = LabelSummary(labels.table.columns, labels.num_unlabeled, labels.num_unused)
                try:
                    self._write_and_report(summary, labels, pool)
                    return summary
                except CorruptImage as error:  # prepare the image again
                    self.db.reset_file(error.file_id)
                    self.db.commit()
        finally:
            pool.close()

    def _find_files(self) -> None:
        """Bring the table of source files up to date."""
        ignored: Counter[str] = Counter()

        def make_spool_path(archive: Path) -> Path:
            key = f"unpacked {encode_name(str(archive)).hex()}"  # hex, because file names may not be valid text
            number = self.db.get_meta(key) or str(len(list(self.db.work_dir.glob("unpacked-*"))))
            if not number.isdecimal():
                raise self.db.damaged_error(f"{key}: {number}")
            self.db.set_meta(key, number)
            return self.db.work_dir / f"unpacked-{number}"

        self.db.begin_search()
        out = real_path(self.request.out)
        source_files = find_files(self.sources, out, make_spool_path, lambda what: ignored.update([what]))
        for count, source_file in enumerate(source_files, 1):
            self.db.add_file(source_file)
            if count % SEARCH_PROGRESS_INTERVAL == 0:
                self.emit(Note(f"{count_text(count, 'file')} found so far"))
        self.db.end_search()
        if ignored:
            counts = ", ".join(count_text(count, *IGNORED[what]) for what, count in sorted(ignored.items()))
            self.emit(Note(f"Ignored: {counts}"))
        if not self.db.file_counts().total:
            raise VaeganError(f"{self.request.sources[0]} holds no files: give a folder of images")

    def _find_up_to_date_dataset(self) -> PreparedDataset | None:
        """Return the dataset at `out` if its source files have not changed and its images are intact, else None."""
        request = self.request
        if request.force or request.dry_run or self.settings.strict or not is_dataset(request.out):
            return None
        try:
            dataset = open_dataset(request.out)
        except VaeganError:
            return None
        if dataset.info.get("sources") != [str(source) for source in self.sources]:
            return None
        if dataset.info.get("sources_fingerprint") != self.db.sources_fingerprint():
            return None
        if _label_source(dataset.info) != self.label_matcher.source:
            return None
        # a file that a worker could not read may be readable now, with the same size and modification time
        search_skips, all_skips = self.db.skip_counts(), dataset.info.get("skip_reasons", {})
        is_final = all(search_skips[reason] == all_skips.get(reason, 0) for reason in RETRYABLE_REASONS)
        return dataset if is_final and dataset.is_intact() else None

    def _make_pool(self) -> WorkerPool:
        settings = self.settings
        if settings.pool == "ray":
            from vaegan.data.preprocess.ray_workers import RayWorkerPool

            return RayWorkerPool(settings, settings.workers, settings.ray_address)
        counts = self.db.file_counts()
        max_useful = max(1, (counts.total - counts.done) // MIN_FILES_PER_WORKER)
        return LocalWorkerPool(settings, min(settings.workers or available_cores(), max_useful))

    def _task_batches(self) -> Iterator[list[Task]]:
        # the result for one animation may have 4 MiB
        batch_size = ANIMATIONS_PER_BATCH if self.settings.frames == "all" else FILES_PER_BATCH
        tasks = self.db.pending_tasks()
        while batch := list(islice(tasks, batch_size)):
            yield batch

    def _process_files(self, pool: WorkerPool) -> None:
        """Let the workers process all files that are not done, and save the results."""
        counts = self.db.file_counts()
        if self.is_resumed and counts.done < counts.total:
            self.emit(Note(f"Resuming: {counts.done:,} of {count_text(counts.total, 'file')} done"))
        batches, start_time, done_at_start = self._task_batches(), time.monotonic(), counts.done

        def next_batch() -> list[Task] | None:
            return [self.retry_tasks.popleft()] if self.retry_tasks else next(batches, None)

        for results in pool.run_batches(next_batch):
            for result in results:
                self.db.save_result(result)
                if result.next_frame:
                    self.retry_tasks.append(self.db.make_task(result.file_id, first_frame=result.next_frame))
                else:
                    counts.done += 1
                    counts.kept += not result.reason
                    counts.skipped += result.reason not in ("", METADATA_FILE)
            self.db.commit(COMMIT_SECONDS)
            rate = (counts.done - done_at_start) / max(1e-6, time.monotonic() - start_time)
            detail = f"{counts.kept:,} kept, {counts.skipped:,} skipped"
            self.emit(TaskProgress("Preparing", counts.done, counts.total, "files", rate, detail))
        self.db.commit()

    def _report_gray_bits(self) -> None:
        for tag_bits, (bits, count) in self.db.gray_bit_depths().items():
            if bits < 16:
                stored_bits = 32 if tag_bits == 32 else 16
                subject = (
                    f"{count_text(count, 'grayscale image')} of {stored_bits} bits {'uses' if count == 1 else 'use'}"
                )
                hint = "--gray-bits 16 makes 65535 white"
                self.emit(Note(f"{subject} only {bits}: {2**bits - 1} is white; {hint}"))

    def _check_summary(self, summary: PreprocessSummary) -> None:
        """Raise VaeganError if there are no images, or if --strict is given and a file is skipped."""
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(summary.skip_counts.items()))
        if not summary.num_images:
            raise VaeganError(f"{self.request.sources[0]} holds no readable image ({counts}): nothing was written")
        num_skipped = summary.skip_counts.total() - summary.skip_counts[METADATA_FILE]
        if self.settings.strict and num_skipped:
            first = next(row for row in self.manifest if row.skip_reason not in ("", METADATA_FILE))
            way_out = "repair or remove them, or leave out --strict"
            if not self.request.dry_run and not self.request.force:  # --force starts over
                way_out += f", and run it again: {self.db.work_dir} keeps what is done"
            raise VaeganError(
                f"--strict: {count_text(num_skipped, 'file')} skipped ({counts}), first {printable(first.name, 300)!r}"
                f" ({first.skip_reason}); no dataset was written: {way_out}"
            )

    def _match_labels(self) -> MatchedLabels | None:
        """Return the labels of the images that are kept, in the dataset's order."""
        if self.label_matcher.source is None:
            return None
        names: list[str] = []
        copies: dict[str, list[str]] = {}
        for row in self.manifest:
            if row.image is not None:
                names.append(row.name)
            elif row.skip_reason in (DUPLICATE, NEAR_DUPLICATE):
                copies.setdefault(row.detail, []).append(row.name)
        return self.label_matcher.match(names, copies)

    def _write_and_report(self, summary: PreprocessSummary, labels: MatchedLabels | None, pool: WorkerPool) -> None:
        out, dry_run = self.request.out, self.request.dry_run
        if not dry_run:
            writer = DatasetWriter(self.db, self.manifest, self.settings, summary.channels, labels)
            writer.write(out, self.sources, summary, pool)
        report_summary(summary, self.settings, self.emit, dry_run)
        self.emit(Note("Dry run: nothing was written") if dry_run else FileWritten("dataset", out))
