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

from vaegan.config.options import flag_of
from vaegan.config.settings import PrepareSettings
from vaegan.data.dataset import foreign, is_prepared
from vaegan.data.preprocess.database import COMMIT_SECONDS, Ledger, discard
from vaegan.data.preprocess.dedupe import Fates
from vaegan.data.preprocess.previous import Older
from vaegan.data.preprocess.records import Task, to_bytes
from vaegan.data.preprocess.skip_reasons import METADATA, REASONS
from vaegan.data.preprocess.sources import find, resolve
from vaegan.data.preprocess.workers import LocalPool, Pool, cores
from vaegan.data.preprocess.writer import RECIPE, Damaged, Publisher, Summary, fixed_options, summarise
from vaegan.errors import Interrupted, VaeganError, reason
from vaegan.events import Counted, Emit, Note, Warned, Wrote
from vaegan.utils.files import read_json, recover

WORK = ".preparing-"
BATCH = 32
ANIMATIONS = 2
SMALL = 64
SHOWN_EVERY = 100_000


@dataclass(frozen=True)
class Request:
    """What is asked for: sources as given, where the set goes, and how."""

    sources: list[Path]
    out: Path
    settings: PrepareSettings
    force: bool
    dry_run: bool


def run(request: Request, emit: Emit) -> Summary:
    """Prepare a set and return what it holds.

    Raises VaeganError for all that the user can mend, Interrupted (with the state saved) on Ctrl-C.
    """
    sources = resolve(request.sources)
    recover(request.out)
    refuse_existing(request, sources)
    with _workplace(request) as work:
        square_bytes = request.settings.size**2 * (1 if request.settings.grayscale else 3)
        ledger, useless = None, False
        try:
            ledger = Ledger(work, square_bytes, keep=not request.dry_run)
            summary = Job(request, sources, ledger, emit).run()
            useless = not request.dry_run
        except Interrupted as stop:
            raise Interrupted(_stopped(ledger, request.dry_run)) from stop
        except VaeganError:
            useless = not request.dry_run and ledger is not None and ledger.one("SELECT 1 FROM squares") is None
            raise
        except sqlite3.Error as error:
            raise VaeganError(f"cannot keep the state in {work}: {reason(error)}; nothing is lost") from error
        except OSError as error:
            raise VaeganError(f"cannot write {work}: {reason(error)}; run the same command again to go on") from error
        finally:
            if ledger is not None:
                ledger.close()
            if useless:
                shutil.rmtree(work, ignore_errors=True)
    return summary


def _stopped(ledger: Ledger | None, dry_run: bool) -> str:
    """Save what is done, and say how far that is."""
    way = "nothing was written" if dry_run else "run the same command again to go on"
    if ledger is None:
        return f"interrupted: {way}"
    with contextlib.suppress(sqlite3.Error):
        ledger.commit()
    total, done, _ = ledger.counts()
    return f"interrupted: {done:,} of {total:,} files are done; {way}"


@contextlib.contextmanager
def _workplace(request: Request) -> Iterator[Path]:
    """Where the state lies: beside the set; for a dry run in a temporary place."""
    if request.dry_run:
        with tempfile.TemporaryDirectory(prefix="vaegan-", ignore_cleanup_errors=True) as place:
            yield Path(place)
        return
    work = request.out.with_name(WORK + request.out.name)
    if request.force:
        discard(work)
    fresh = not work.parent.exists()
    try:
        yield work
    finally:
        if fresh:
            with contextlib.suppress(OSError):
                work.parent.rmdir()  # only when nothing came of it


def refuse_existing(request: Request, sources: list[Path]) -> None:
    """Raise VaeganError when `out` holds something else, which even --force does not replace, or another set."""
    out, settings = request.out, request.settings
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_prepared(out):
        raise VaeganError(f"{out} exists and is not a prepared set: choose another --out")
    inside = next((source for source in sources if source.is_relative_to(out.resolve())), None)
    if inside is not None:
        raise VaeganError(f"{inside} lies in --out {out}, which is replaced whole: choose another --out")
    if other := foreign(out):
        raise VaeganError(
            f"{out} also holds {other}, which is no part of a set, and is replaced whole: move it away, or choose"
            " another --out"
        )
    if request.force:
        return
    info = read_json(out / "set.json")
    way_out = "choose another --out, or add --force to replace it"
    if info.get("recipe") != RECIPE:
        raise VaeganError(f"{out} was prepared by another vaegan ({info.get('vaegan')}), by other rules: {way_out}")
    _refuse_others(f"{out} was prepared", info.get("options"), settings, way_out)
    before = [Path(source) for source in info.get("source", [])]
    missing = [path for path in before if not any(path.is_relative_to(source) for source in sources)]
    if missing:
        raise VaeganError(
            f"{out} was prepared from {missing[0]}: name it too, as the set is what its SRC hold; {way_out}"
        )


def _refuse_others(what: str, saved: Any, settings: PrepareSettings, way_out: str) -> None:
    theirs = saved if isinstance(saved, dict) else {}
    names = [name for name, value in fixed_options(settings).items() if theirs.get(name) != value]
    if names:
        raise VaeganError(f"{what} with other options ({', '.join(map(flag_of, names))}): {way_out}")


class Job:
    """The steps of a preparation, on an open ledger."""

    def __init__(self, request: Request, sources: list[Path], ledger: Ledger, emit: Emit) -> None:
        """Check that the ledger is of this preparation, and look at the set that is there. Raises VaeganError."""
        self.request, self.sources, self.ledger, self.emit = request, sources, ledger, emit
        self.settings = request.settings
        saved = ledger.note("options")
        self.resumed = saved is not None
        if saved is not None:
            way_out = "give the same to go on, or add --force to start over"
            _refuse_others(f"{request.out} was begun", json.loads(saved), self.settings, way_out)
            if ledger.note("recipe") != str(RECIPE):
                raise VaeganError(f"{request.out} was begun by another vaegan: add --force to start over")
        ledger.note("options", json.dumps(fixed_options(self.settings)))
        ledger.note("recipe", str(RECIPE))
        use = is_prepared(request.out) and not request.force
        self.older = Older(ledger, request.out, read_json(request.out / "set.json") if use else None, sources)
        self.again: deque[Task] = deque()
        self.fates = Fates(ledger, self.settings)

    def run(self) -> Summary:
        """Do all steps; squares that turn out damaged are made again."""
        self._search()
        pool = self._pool()
        try:
            while True:
                self._work(pool)
                self.fates.decide()
                summary = summarise(self.fates, self.settings)
                self._refuse(summary)
                try:
                    self._finish(summary, pool)
                    return summary
                except Damaged as damaged:
                    self._distrust(damaged)
        finally:
            pool.close()
            self.older.close()

    def _pool(self) -> Pool:
        settings = self.settings
        if settings.pool == "ray":
            from vaegan.data.preprocess.ray_workers import RayPool

            return RayPool(settings, settings.workers, settings.ray_address)
        total, done, _ = self.ledger.counts()
        return LocalPool(settings, min(settings.workers or cores(), max(1, (total - done) // SMALL)))

    def _search(self) -> None:
        """Take note of every file there is."""
        passed: Counter[str] = Counter()

        def unpack(archive: Path) -> Path:
            key = f"unpacked {to_bytes(str(archive)).hex()}"  # names come in any bytes, and SQLite takes text
            number = self.ledger.note(key) or str(len(list(self.ledger.folder.glob("unpacked-*"))))
            self.ledger.note(key, number)
            return self.ledger.folder / f"unpacked-{number}"

        self.ledger.begin_search()
        out = self.request.out.resolve()
        for number, found in enumerate(find(self.sources, out, unpack, lambda what: passed.update([what])), 1):
            self.ledger.add(found)
            if number % SHOWN_EVERY == 0:
                self.emit(Note(f"{number:,} files found so far"))
        self.ledger.end_search()
        if passed:
            told = ", ".join(f"{count} {what}{'s' if count > 1 else ''}" for what, count in sorted(passed.items()))
            self.emit(Note(f"Left alone: {told}"))
        if not self.ledger.counts()[0]:
            raise VaeganError(f"{self.request.sources[0]} holds no files: give a folder of pictures")

    def _batches(self) -> Iterator[list[Task]]:
        batch: list[Task] = []
        size = ANIMATIONS if self.settings.frames == "all" else BATCH  # an animation's outcome may be 4 MiB
        for task in self.ledger.todo():
            batch.append(self.older.expect(task))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _work(self, pool: Pool) -> None:
        """Do what is not done."""
        total, done, skipped = self.ledger.counts()
        if self.resumed and done < total:
            self.emit(Note(f"Going on: {done:,} of {total:,} files are done"))
        batches, began, before = self._batches(), time.monotonic(), done

        def feed() -> list[Task] | None:
            return [self.again.popleft()] if self.again else next(batches, None)

        for outcomes in pool.run(feed):
            for outcome in outcomes:
                if outcome.more:
                    self.ledger.save(outcome)
                    place = self.ledger.place(outcome.id)
                    self.again.append(Task(outcome.id, place, start=outcome.more))
                elif outcome.same and not self.older.take(outcome):
                    self.again.append(Task(outcome.id, self.ledger.place(outcome.id)))
                else:
                    if not outcome.same:
                        self.ledger.save(outcome)
                    done, skipped = done + 1, skipped + bool(outcome.reason)
            self.ledger.commit(COMMIT_SECONDS)
            rate = (done - before) / max(1e-6, time.monotonic() - began)
            detail = f"{done - skipped:,} kept, {skipped:,} skipped"
            self.emit(Counted("Preparing", done, total, "files", rate, detail))
        self.ledger.commit()

    def _distrust(self, damaged: Damaged) -> None:
        if damaged.older:
            self.emit(Warned(f"{self.request.out} holds a damaged picture, which is prepared again"))
            self.older.distrust(damaged.number)
        else:
            self.ledger.undo(damaged.number)
        self.ledger.commit()

    def _refuse(self, summary: Summary) -> None:
        """Raise VaeganError when there is nothing to keep, or --strict finds something skipped."""
        told = ", ".join(f"{count} {why}" for why, count in sorted(summary.reasons.items()))
        if not summary.kept:
            raise VaeganError(f"{self.request.sources[0]} holds no readable picture ({told}): nothing was written")
        bad = summary.reasons.total() - summary.reasons[METADATA]
        if self.settings.strict and bad:
            worst = next(fate for fate in self.fates if fate.reason not in ("", METADATA))
            raise VaeganError(
                f"--strict: {bad} files are skipped ({told}), the first {worst.name!r} ({worst.reason}); nothing was"
                " written. Mend or remove them and run it again, or leave --strict out"
            )

    def _finish(self, summary: Summary, pool: Pool) -> None:
        written = False
        if not self.request.dry_run:
            publisher = Publisher(self.ledger, self.older, self.fates, self.settings)
            written = publisher.publish(self.request.out, self.sources, summary, pool)
        report(summary, self.settings, self.emit, self.request.dry_run)
        if self.request.dry_run:
            self.emit(Note("Dry run: nothing was written"))
        elif written:
            self.emit(Wrote("set", self.request.out))
        else:
            self.emit(Note(f"{self.request.out} is up to date"))


def report(summary: Summary, settings: PrepareSettings, emit: Emit, dry_run: bool) -> None:
    """Say what the set holds, or would, and why the rest is not in it."""
    train, held_out = summary.sides["train"], summary.sides["held-out"]
    emit(Note(f"{summary.kept} pictures kept: {train} to train on, {held_out} held out"))
    reasons = Counter(summary.reasons)
    if reasons.pop(METADATA, 0):
        emit(Note("files beside the pictures that describe them were passed over"))
    if reasons:
        told = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        named = "" if dry_run else "; manifest.jsonl names them"
        emit(Warned(f"{reasons.total()} files skipped ({told}){named}"))
        width = max(map(len, reasons))
        for why, count in reasons.most_common():
            emit(Note(f"  {count:>8,}  {why:<{width}}  {REASONS[why]}"))
    if summary.enlarged:
        emit(Warned(f"{summary.enlarged} pictures are smaller than {settings.size} pixels and were enlarged"))
    if not held_out and settings.held_out > 0:
        emit(Warned("one picture (or group) only: nothing is held out, so nothing can be validated"))
