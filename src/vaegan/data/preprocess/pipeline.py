"""One preparation from its sources to the set: search, work, decide, publish. Killed anywhere, it goes on."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaegan.config.options import flag_name
from vaegan.config.settings import PreprocessSettings
from vaegan.data.dataset import find_foreign_entry, is_dataset
from vaegan.data.preprocess.database import COMMIT_SECONDS, PreprocessDB, remove_state
from vaegan.data.preprocess.dedupe import ManifestBuilder
from vaegan.data.preprocess.previous import Older
from vaegan.data.preprocess.records import Task, encode_name
from vaegan.data.preprocess.skip_reasons import METADATA_FILE, SKIP_REASONS
from vaegan.data.preprocess.sources import find_files, resolve_sources
from vaegan.data.preprocess.workers import LocalWorkerPool, WorkerPool, available_cores
from vaegan.data.preprocess.writer import (
    PIPELINE_VERSION,
    CorruptImage,
    DatasetWriter,
    PreprocessSummary,
    content_options,
    summarize_manifest,
)
from vaegan.errors import Interrupted, VaeganError, error_text
from vaegan.events import EventHandler, FileWritten, Note, TaskProgress, WarningMessage
from vaegan.utils.files import read_json, restore_replaced

WORK_DIR_PREFIX = ".preparing-"
FILES_PER_BATCH = 32
ANIMATIONS_PER_BATCH = 2
MIN_FILES_PER_WORKER = 64
SEARCH_PROGRESS_INTERVAL = 100_000


@dataclass(frozen=True)
class PreprocessRequest:
    """What is asked for: sources as given, where the set goes, and how."""

    sources: list[Path]
    out: Path
    settings: PreprocessSettings
    force: bool
    dry_run: bool


def run_pipeline(request: PreprocessRequest, emit: EventHandler) -> PreprocessSummary:
    """Prepare a set and return what it holds.

    Raises VaeganError for all that the user can mend, Interrupted (with the state saved) on Ctrl-C.
    """
    sources = resolve_sources(request.sources)
    restore_replaced(request.out)
    check_output_dir(request, sources)
    with _work_dir(request) as work:
        square_bytes = request.settings.size**2 * (1 if request.settings.grayscale else 3)
        ledger, useless = None, False
        try:
            ledger = PreprocessDB(work, square_bytes, store_images=not request.dry_run)
            summary = PreprocessPipeline(request, sources, ledger, emit).run()
            useless = not request.dry_run
        except Interrupted as stop:
            raise Interrupted(_save_interrupted(ledger, request.dry_run)) from stop
        except VaeganError:
            useless = not request.dry_run and ledger is not None and ledger.fetch_one("SELECT 1 FROM squares") is None
            raise
        except sqlite3.Error as error:
            raise VaeganError(f"cannot keep the state in {work}: {error_text(error)}; nothing is lost") from error
        except OSError as error:
            raise VaeganError(
                f"cannot write {work}: {error_text(error)}; run the same command again to go on"
            ) from error
        finally:
            if ledger is not None:
                ledger.close()
            if useless:
                shutil.rmtree(work, ignore_errors=True)
    return summary


def _save_interrupted(db: PreprocessDB | None, dry_run: bool) -> str:
    """Save what is done, and say how far that is."""
    way = "nothing was written" if dry_run else "run the same command again to go on"
    if db is None:
        return f"interrupted: {way}"
    with contextlib.suppress(sqlite3.Error):
        db.commit()
    total, done, _ = db.file_counts()
    return f"interrupted: {done:,} of {total:,} files are done; {way}"


@contextlib.contextmanager
def _work_dir(request: PreprocessRequest) -> Iterator[Path]:
    """Where the state lies: beside the set; for a dry run in a temporary place."""
    if request.dry_run:
        with tempfile.TemporaryDirectory(prefix="vaegan-", ignore_cleanup_errors=True) as place:
            yield Path(place)
        return
    work = request.out.with_name(WORK_DIR_PREFIX + request.out.name)
    if request.force:
        remove_state(work)
    fresh = not work.parent.exists()
    try:
        yield work
    finally:
        if fresh:
            with contextlib.suppress(OSError):
                work.parent.rmdir()  # only when nothing came of it


def check_output_dir(request: PreprocessRequest, sources: list[Path]) -> None:
    """Raise VaeganError when `out` holds something else, which even --force does not replace, or another set."""
    out, settings = request.out, request.settings
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_dataset(out):
        raise VaeganError(f"{out} exists and is not a prepared set: choose another --out")
    inside = next((source for source in sources if source.is_relative_to(out.resolve())), None)
    if inside is not None:
        raise VaeganError(f"{inside} lies in --out {out}, which is replaced whole: choose another --out")
    if other := find_foreign_entry(out):
        raise VaeganError(
            f"{out} also holds {other}, which is no part of a set, and is replaced whole: move it away, or choose"
            " another --out"
        )
    if request.force:
        return
    info = read_json(out / "set.json")
    way_out = "choose another --out, or add --force to replace it"
    if info.get("pipeline_version") != PIPELINE_VERSION:
        raise VaeganError(
            f"{out} was prepared by another vaegan ({info.get('vaegan_version')}), by other rules: {way_out}"
        )
    _check_same_options(f"{out} was prepared", info.get("options"), settings, way_out)
    before = [Path(source) for source in info.get("source", [])]
    missing = [path for path in before if not any(path.is_relative_to(source) for source in sources)]
    if missing:
        raise VaeganError(
            f"{out} was prepared from {missing[0]}: name it too, as the set is what its SRC hold; {way_out}"
        )


def _check_same_options(subject: str, saved_options: Any, settings: PreprocessSettings, way_out: str) -> None:
    theirs = saved_options if isinstance(saved_options, dict) else {}
    names = [name for name, value in content_options(settings).items() if theirs.get(name) != value]
    if names:
        raise VaeganError(f"{subject} with other options ({', '.join(map(flag_name, names))}): {way_out}")


class PreprocessPipeline:
    """The steps of a preparation, on an open ledger."""

    def __init__(self, request: PreprocessRequest, sources: list[Path], db: PreprocessDB, emit: EventHandler) -> None:
        """Check that the ledger is of this preparation, and look at the set that is there. Raises VaeganError."""
        self.request, self.sources, self.db, self.emit = request, sources, db, emit
        self.settings = request.settings
        saved = db.meta_value("options")
        self.is_resumed = saved is not None
        if saved is not None:
            way_out = "give the same to go on, or add --force to start over"
            _check_same_options(f"{request.out} was begun", json.loads(saved), self.settings, way_out)
            if db.meta_value("pipeline_version") != str(PIPELINE_VERSION):
                raise VaeganError(f"{request.out} was begun by another vaegan: add --force to start over")
        db.meta_value("options", json.dumps(content_options(self.settings)))
        db.meta_value("pipeline_version", str(PIPELINE_VERSION))
        use = is_dataset(request.out) and not request.force
        self.older = Older(db, request.out, read_json(request.out / "set.json") if use else None, sources)
        self.retry_tasks: deque[Task] = deque()
        self.manifest = ManifestBuilder(db, self.settings)

    def run(self) -> PreprocessSummary:
        """Do all steps; squares that turn out damaged are made again."""
        self._find_files()
        pool = self._make_pool()
        try:
            while True:
                self._process_files(pool)
                self.manifest.dedupe_and_split()
                summary = summarize_manifest(self.manifest, self.settings)
                self._check_summary(summary)
                try:
                    self._write_and_report(summary, pool)
                    return summary
                except CorruptImage as damaged:
                    self._redo_corrupt_image(damaged)
        finally:
            pool.close()
            self.older.close()

    def _make_pool(self) -> WorkerPool:
        settings = self.settings
        if settings.pool == "ray":
            from vaegan.data.preprocess.ray_workers import RayWorkerPool

            return RayWorkerPool(settings, settings.workers, settings.ray_address)
        total, done, _ = self.db.file_counts()
        return LocalWorkerPool(
            settings, min(settings.workers or available_cores(), max(1, (total - done) // MIN_FILES_PER_WORKER))
        )

    def _find_files(self) -> None:
        """Take note of every file there is."""
        passed: Counter[str] = Counter()

        def unpack(archive: Path) -> Path:
            key = f"unpacked {encode_name(str(archive)).hex()}"  # names come in any bytes, and SQLite takes text
            number = self.db.meta_value(key) or str(len(list(self.db.work_dir.glob("unpacked-*"))))
            self.db.meta_value(key, number)
            return self.db.work_dir / f"unpacked-{number}"

        self.db.begin_search()
        out = self.request.out.resolve()
        for number, found in enumerate(find_files(self.sources, out, unpack, lambda what: passed.update([what])), 1):
            self.db.add_file(found)
            if number % SEARCH_PROGRESS_INTERVAL == 0:
                self.emit(Note(f"{number:,} files found so far"))
        self.db.end_search()
        if passed:
            told = ", ".join(f"{count} {what}{'s' if count > 1 else ''}" for what, count in sorted(passed.items()))
            self.emit(Note(f"Left alone: {told}"))
        if not self.db.file_counts()[0]:
            raise VaeganError(f"{self.request.sources[0]} holds no files: give a folder of pictures")

    def _task_batches(self) -> Iterator[list[Task]]:
        batch: list[Task] = []
        size = (
            ANIMATIONS_PER_BATCH if self.settings.frames == "all" else FILES_PER_BATCH
        )  # an animation's outcome may be 4 MiB
        for task in self.db.pending_tasks():
            batch.append(self.older.expect(task))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _process_files(self, pool: WorkerPool) -> None:
        """Do what is not done."""
        total, done, skipped = self.db.file_counts()
        if self.is_resumed and done < total:
            self.emit(Note(f"Going on: {done:,} of {total:,} files are done"))
        batches, began, before = self._task_batches(), time.monotonic(), done

        def feed() -> list[Task] | None:
            return [self.retry_tasks.popleft()] if self.retry_tasks else next(batches, None)

        for outcomes in pool.run_batches(feed):
            for outcome in outcomes:
                if outcome.next_frame:
                    self.db.save_result(outcome)
                    place = self.db.file_location(outcome.file_id)
                    self.retry_tasks.append(Task(outcome.file_id, place, first_frame=outcome.next_frame))
                elif outcome.same and not self.older.take(outcome):
                    self.retry_tasks.append(Task(outcome.file_id, self.db.file_location(outcome.file_id)))
                else:
                    if not outcome.same:
                        self.db.save_result(outcome)
                    done, skipped = done + 1, skipped + bool(outcome.reason)
            self.db.commit(COMMIT_SECONDS)
            rate = (done - before) / max(1e-6, time.monotonic() - began)
            detail = f"{done - skipped:,} kept, {skipped:,} skipped"
            self.emit(TaskProgress("Preparing", done, total, "files", rate, detail))
        self.db.commit()

    def _redo_corrupt_image(self, corrupt: CorruptImage) -> None:
        if corrupt.older:
            self.emit(WarningMessage(f"{self.request.out} holds a damaged picture, which is prepared again"))
            self.older.distrust(corrupt.file_id)
        else:
            self.db.reset_file(corrupt.file_id)
        self.db.commit()

    def _check_summary(self, summary: PreprocessSummary) -> None:
        """Raise VaeganError when there is nothing to keep, or --strict finds something skipped."""
        told = ", ".join(f"{count} {why}" for why, count in sorted(summary.skip_counts.items()))
        if not summary.num_images:
            raise VaeganError(f"{self.request.sources[0]} holds no readable picture ({told}): nothing was written")
        bad = summary.skip_counts.total() - summary.skip_counts[METADATA_FILE]
        if self.settings.strict and bad:
            worst = next(fate for fate in self.manifest if fate.reason not in ("", METADATA_FILE))
            raise VaeganError(
                f"--strict: {bad} files are skipped ({told}), the first {worst.name!r} ({worst.reason}); nothing was"
                " written. Mend or remove them and run it again, or leave --strict out"
            )

    def _write_and_report(self, summary: PreprocessSummary, pool: WorkerPool) -> None:
        written = False
        if not self.request.dry_run:
            publisher = DatasetWriter(self.db, self.older, self.manifest, self.settings)
            written = publisher.write(self.request.out, self.sources, summary, pool)
        report_summary(summary, self.settings, self.emit, self.request.dry_run)
        if self.request.dry_run:
            self.emit(Note("Dry run: nothing was written"))
        elif written:
            self.emit(FileWritten("set", self.request.out))
        else:
            self.emit(Note(f"{self.request.out} is up to date"))


def report_summary(summary: PreprocessSummary, settings: PreprocessSettings, emit: EventHandler, dry_run: bool) -> None:
    """Say what the set holds, or would, and why the rest is not in it."""
    train, held_out = summary.split_counts["train"], summary.split_counts["val"]
    emit(Note(f"{summary.num_images} pictures kept: {train} to train on, {held_out} held out"))
    reasons = Counter(summary.skip_counts)
    if reasons.pop(METADATA_FILE, 0):
        emit(Note("files beside the pictures that describe them were passed over"))
    if reasons:
        told = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        named = "" if dry_run else "; manifest.jsonl names them"
        emit(WarningMessage(f"{reasons.total()} files skipped ({told}){named}"))
        width = max(map(len, reasons))
        for why, count in reasons.most_common():
            emit(Note(f"  {count:>8,}  {why:<{width}}  {SKIP_REASONS[why]}"))
    if summary.num_upscaled:
        emit(
            WarningMessage(f"{summary.num_upscaled} pictures are smaller than {settings.size} pixels and were enlarged")
        )
    if not held_out and settings.val_fraction > 0:
        emit(WarningMessage("one picture (or group) only: nothing is held out, so nothing can be validated"))
