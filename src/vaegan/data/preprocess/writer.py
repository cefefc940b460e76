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

from vaegan.config.options import options_of
from vaegan.config.settings import PrepareSettings
from vaegan.data.dataset import SPLITS, write_manifest, write_set
from vaegan.data.preprocess.database import Ledger
from vaegan.data.preprocess.dedupe import Fate, Fates
from vaegan.data.preprocess.image_ops import from_planes
from vaegan.data.preprocess.preview import PAIRS, SHOWN, Pair, Spread, draw_sheet, write_sheet
from vaegan.data.preprocess.previous import Older
from vaegan.data.preprocess.records import Place, Task
from vaegan.data.preprocess.workers import Pool
from vaegan.utils.files import TEMPORARY, directory_atomically
from vaegan.version import __version__

RECIPE = 1
"""Grows when the same picture and options give other pixels, so that squares of two recipes never mix."""


class Damaged(Exception):
    """A square is not what it was when it was made; carries the file's number in the ledger."""

    def __init__(self, number: int, older: bool) -> None:
        """Keep both."""
        super().__init__(number, older)
        self.number, self.older = number, older


@dataclass
class Summary:
    """What the set holds, in numbers."""

    reasons: Counter[str] = field(default_factory=Counter)
    enlarged: int = 0
    splits: bytearray = field(default_factory=bytearray)

    @property
    def sides(self) -> dict[str, int]:
        """Pictures on each side of the split, by its name."""
        return {name: self.splits.count(number) for number, name in enumerate(SPLITS)}

    @property
    def kept(self) -> int:
        """Pictures in the set."""
        return len(self.splits)


def fixed_options(settings: PrepareSettings) -> dict[str, Any]:
    """The options that decide what the set is."""
    fields = options_of(PrepareSettings)
    return {name: value for name, value in dataclasses.asdict(settings).items() if fields[name].option.fixed}


def enlarged(original: tuple[int, int], settings: PrepareSettings) -> bool:
    """Say whether a picture had too few pixels for its square."""
    return (max if settings.fit == "pad" else min)(original) < settings.size


def summarise(fates: Fates, settings: PrepareSettings) -> Summary:
    """Count what becomes of everything; a byte a picture is all that is held in memory."""
    summary = Summary()
    for fate in fates:
        if fate.reason:
            summary.reasons[fate.reason] += 1
        else:
            summary.splits.append(fate.side)
            summary.enlarged += enlarged(fate.original, settings)
    return summary


class Publisher:
    """Writes the set from the ledger's squares and those of the older set."""

    def __init__(self, ledger: Ledger, older: Older, fates: Fates, settings: PrepareSettings) -> None:
        """Write nothing yet."""
        self.ledger, self.older, self.fates, self.settings = ledger, older, fates, settings
        self.channels = 1 if settings.grayscale else 3

    def publish(self, out: Path, sources: list[Path], summary: Summary, pool: Pool) -> bool:
        """Write the set to `out`; False when what is there is the same already. Raises Damaged, VaeganError."""
        remove_leftovers(out)
        write_manifest(self.ledger.folder, self._lines())
        manifest = self.ledger.folder / "manifest.jsonl"
        if self._same(out / "manifest.jsonl", manifest):
            return False
        with directory_atomically(out) as place:
            shown = range(0, summary.kept, max(1, summary.kept // SHOWN))[:SHOWN]
            kept: list[Image.Image] = []
            pairs = Spread(PAIRS)
            splits, size = bytes(summary.splits), self.settings.size
            pictures = self._pictures(shown, kept, pairs)
            write_set(place, pictures, splits, (self.channels, size, size), self._info(sources, summary))
            write_sheet(draw_sheet(kept, self._pairs(pairs, pool), size), place / "preview.png")
            manifest.replace(place / manifest.name)
            self.older.close()  # Windows moves no directory whose files are open
        return True

    def _info(self, sources: list[Path], summary: Summary) -> dict[str, Any]:
        return {
            "vaegan": __version__,
            "recipe": RECIPE,
            "fit": self.settings.fit,
            "options": fixed_options(self.settings),
            "source": [str(source) for source in sources],
            "counts": {"skipped": summary.reasons.total(), "enlarged": summary.enlarged},
            "reasons": dict(sorted(summary.reasons.items())),
        }

    def _same(self, before: Path, now: Path) -> bool:
        return self.older.rows is not None and before.is_file() and filecmp.cmp(before, now, shallow=False)

    def _lines(self) -> Iterator[dict[str, Any]]:
        row, frames = 0, self.settings.frames == "all"
        for fate in self.fates:
            line: dict[str, Any] = {"path": fate.name}
            if frames and (not fate.reason or fate.original != (0, 0)):
                line["frame"] = fate.frame
            if fate.reason:
                line |= {"skipped": fate.reason, "detail": fate.detail}
                yield line | ({"sha256": fate.sha} if fate.sha else {})
                continue
            line |= {"row": row, "split": SPLITS[fate.side], "sha256": fate.sha, "original": list(fate.original)}
            yield line | {"box": list(fate.box), "crc32": fate.crc}
            row += 1

    def _pictures(self, shown: range, kept: list[Image.Image], pairs: Spread) -> Iterator[bytes]:
        """Yield the pixels of every row, and put aside what the contact sheet shows."""
        row = 0
        for fate in self.fates:
            if fate.reason:
                continue
            pixels = self.older.read(-fate.spot - 1) if fate.spot < 0 else self.ledger.pixels(fate.spot)
            if zlib.crc32(pixels) != fate.crc:
                raise Damaged(fate.id, fate.spot < 0)
            if row in shown:
                kept.append(from_planes(pixels, self.channels, self.settings.size))
            if fate.original[0] != fate.original[1] and fate.frame == 0:
                pairs.add((fate, pixels))
            yield pixels
            row += 1

    def _pairs(self, spread: Spread, pool: Pool) -> list[Pair]:
        """Have the originals of some rectangles looked at again, small. One that is gone by now is not shown."""
        chosen: dict[int, tuple[Fate, bytes]] = dict(enumerate(spread.chosen()))  # type: ignore[arg-type]
        size = self.settings.size
        tasks = iter([Task(n, Place.parse(fate.place), before=size) for n, (fate, _) in chosen.items()])

        def feed() -> list[Task] | None:
            task = next(tasks, None)
            return None if task is None else [task]

        found = {outcome.id: outcome.squares[0] for done in pool.run(feed) for outcome in done if outcome.squares}
        pairs = []
        for number, (fate, pixels) in chosen.items():
            if number in found:
                whole = Image.frombytes("RGB", found[number].original, found[number].pixels)
                pairs.append((whole, fate.original, fate.box, from_planes(pixels, self.channels, size)))
        return pairs


def remove_leftovers(out: Path) -> None:
    """Remove what a process that was killed while it wrote `out` has left beside it."""
    ours = re.compile(re.escape(TEMPORARY) + r"\d+-" + re.escape(out.name))
    for path in out.parent.iterdir():
        if ours.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
