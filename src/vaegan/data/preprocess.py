"""A folder of pictures of any kind becomes a prepared set of squares of one size."""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError
from torch import Tensor

from vaegan.config import build, flag_of
from vaegan.data.store import HELD_OUT, SPLITS, TRAIN, is_prepared, write_manifest, write_set
from vaegan.errors import UsageError, VaeganError, reason
from vaegan.events import Counted, Emit, Note, Warned, Wrote, ignore
from vaegan.files import directory_atomically, read_json
from vaegan.images import from_pil, grid, save_png
from vaegan.settings import SIZES, PrepareSettings
from vaegan.version import __version__

MAX_PIXELS = 200_000_000
METADATA_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".parquet", ".xml", ".yaml", ".html")
METADATA, EMPTY, NOT_A_PICTURE, BROKEN, UNREADABLE, TOO_LARGE = (
    "metadata",
    "empty file",
    "not a picture",
    "broken picture",
    "cannot be read",
    "too large",
)


@dataclass(frozen=True)
class Source:
    """One file to prepare: where it is, and the name that the manifest gives it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Prepared:
    """What became of one file: a uint8 [C, S, S] picture, or None and the reason."""

    source: Source
    picture: Tensor | None
    reason: str = ""
    detail: str = ""
    digest: str = ""
    original: tuple[int, int] = (0, 0)


def find(sources: Sequence[Path]) -> list[Source]:
    """List the files of `sources` (folders recursively, hidden ones left out), sorted by name."""
    found = []
    for source in sources:
        if source.is_dir():
            for folder, folders, files in os.walk(source, followlinks=False):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                found += [Path(folder, name) for name in files if not name.startswith(".")]
        elif source.exists():
            found.append(source)
        else:
            raise VaeganError(f"{source} does not exist: give a folder of pictures")
    root = sources[0] if len(sources) == 1 and sources[0].is_dir() else None
    named = [Source(path, (path.relative_to(root) if root else path).as_posix()) for path in found]
    return sorted(named, key=lambda source: os.fsencode(source.name))


def square(picture: Image.Image, size: int, fit: str) -> Image.Image:
    """Make a `size` x `size` picture: the centre square (crop), edges continued (pad), or all of it (stretch)."""
    width, height = picture.size
    side = min(width, height)
    if fit == "crop":
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return picture.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if fit == "stretch":
        return picture.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    scale = size / max(width, height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = picture.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    padded = torch.nn.functional.pad(
        from_pil(small)[None].float(),
        (left, size - inner[0] - left, top, size - inner[1] - top),
        mode="replicate",
    )
    flat = bytes(padded[0].to(torch.uint8).permute(1, 2, 0).contiguous().flatten().numpy())
    canvas = Image.frombytes("RGB", (size, size), flat)
    if max(left, top) > 1:  # continued edges are streaks: soften them, then lay the picture back
        canvas = canvas.filter(ImageFilter.GaussianBlur(size / 32))
        canvas.paste(small, (left, top))
    return canvas


def to_rgb(picture: Image.Image) -> Image.Image:
    """Upright RGB on white, whatever the mode."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I;16", "I;16B", "I;16L", "I"):
        picture = picture.convert("I").point(lambda value: value / 257).convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        canvas = Image.new("RGB", picture.size, "white")
        canvas.paste(picture, mask=picture.getchannel("A"))
        return canvas
    return picture.convert("RGB")


def prepare_one(source: Source, settings: PrepareSettings) -> Prepared:
    """Read one file and make its square. Never raises for what a file holds: the reason is returned."""
    try:
        if not source.path.is_file():  # a pipe would be waited for without end
            return Prepared(source, None, UNREADABLE, "no regular file, or a link to nothing")
        content = source.path.read_bytes()
    except OSError as error:
        return Prepared(source, None, UNREADABLE, reason(error))
    if not content:
        return Prepared(source, None, EMPTY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as picture:
                original = picture.size
                if original[0] * original[1] > MAX_PIXELS:
                    return Prepared(source, None, TOO_LARGE, f"{original[0]}x{original[1]} pixels")
                picture.draft("RGB", (settings.size * 2, settings.size * 2))
                small = square(to_rgb(picture), settings.size, settings.fit)
    except UnidentifiedImageError:
        beside = source.path.suffix.lower() in METADATA_SUFFIXES
        return Prepared(source, None, METADATA if beside else NOT_A_PICTURE)
    except Image.DecompressionBombError as error:
        return Prepared(source, None, TOO_LARGE, reason(error))
    except (OSError, ValueError, SyntaxError, TypeError, IndexError, KeyError, EOFError, MemoryError) as error:
        return Prepared(source, None, BROKEN, reason(error))
    return Prepared(source, from_pil(small), digest=hashlib.sha256(content).hexdigest(), original=original)


def split_of(key: str, share: float) -> int:
    """TRAIN or HELD_OUT from a hash of `key`: the same key is always on the same side."""
    number = int.from_bytes(hashlib.sha256(f"split/{key}".encode("utf-8", "surrogateescape")).digest()[:8])
    return HELD_OUT if number < share * 2**64 else TRAIN


def _pattern(group_by: str | None) -> re.Pattern[str] | None:
    try:
        return None if group_by is None else re.compile(group_by)
    except re.error as error:
        raise UsageError(f"--group-by {group_by}: not a regular expression ({reason(error)})") from error


def _key(item: Prepared, pattern: re.Pattern[str] | None) -> str:
    """What decides a picture's side: the text that the pattern finds in its name, else its content."""
    match = pattern.search(item.source.name) if pattern is not None else None
    return item.digest if match is None else "".join(match.groups(default="")) or match.group()


def assign_splits(keys: Sequence[str], share: float) -> list[int]:
    """Split by key; where the hash puts all keys on one side, the first in order is held out, a lone one never."""
    splits = [split_of(key, share) for key in keys]
    if share > 0 and len(set(splits)) == 1:
        chosen = min(keys) if len(set(keys)) > 1 else None
        splits = [HELD_OUT if key == chosen else TRAIN for key in keys]
    return splits


def _worked(sources: Sequence[Source], settings: PrepareSettings) -> Iterator[Prepared]:
    """Prepare in threads (Pillow decodes and resizes outside the interpreter lock), in order, a few ahead."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Any] = deque()
        try:
            for source in sources:
                ahead.append(pool.submit(prepare_one, source, settings))
                if len(ahead) >= workers * 8:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def default_out(sources: Sequence[Path], size: int) -> Path:
    """data/<name>-<size>, named after the first source."""
    return Path("data") / f"{sources[0].resolve().stem or 'faces'}-{size}"


def _refuse_existing(out: Path, settings: PrepareSettings, force: bool) -> None:
    """Raise VaeganError when `out` holds something else, which even --force does not replace, or other options."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_prepared(out):
        raise VaeganError(f"{out} exists and is not a prepared set: choose another --out")
    saved = read_json(out / "set.json").get("options")
    if force or saved == asdict(settings):
        return
    theirs = saved if isinstance(saved, dict) else {}
    flags = ", ".join(flag_of(name) for name, value in asdict(settings).items() if theirs.get(name) != value)
    raise VaeganError(
        f"{out} was prepared with other options ({flags}): choose another --out, or add --force to replace it"
    )


def prepare(
    sources: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    force: bool = False,
    on_event: Emit = ignore,
    **options: Any,
) -> Path:
    """Prepare every picture under `sources` and return the set's directory.

    sources: folders (searched recursively) or files; out: where the set goes (data/<name>-<size>), where an older set
    of ours with the same options is replaced whole; options: those of PrepareSettings. Raises VaeganError when
    nothing is readable, the disk refuses, or `out` holds something else.
    """
    settings = build(PrepareSettings, options)
    places = [Path(source) for source in ([sources] if isinstance(sources, (str, Path)) else sources)]
    if settings.size not in SIZES:
        raise UsageError(f"--size {settings.size}: expected one of {', '.join(map(str, SIZES))}")
    if not places:
        raise UsageError("no SRC: give a folder of pictures")
    out = Path(out) if out is not None else default_out(places, settings.size)
    _refuse_existing(out, settings, force)
    files = find(places)
    if not files:
        raise VaeganError(f"{places[0]} holds no files: give a folder of pictures")
    pattern = _pattern(settings.group_by)
    items = []
    for item in _worked(files, settings):
        items.append(item)
        on_event(Counted("Preparing", len(items), len(files), "files"))
    kept = [item for item in items if item.picture is not None]
    reasons = Counter(item.reason for item in items if item.picture is None)
    if not kept:
        told = ", ".join(f"{count} {why}" for why, count in reasons.items())
        raise VaeganError(f"{places[0]} holds no readable picture ({told}): nothing was written")
    splits = assign_splits([_key(item, pattern) for item in kept], settings.held_out)
    _write(out, items, splits, settings, places)
    _report(kept, splits, reasons, settings, on_event)
    on_event(Wrote("set", out))
    return out


def _lines(items: Sequence[Prepared], splits: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Lines of the manifest: what became of every file."""
    row = 0
    for item in items:
        if item.picture is None:
            yield {"path": item.source.name, "skipped": item.reason, "detail": item.detail}
        else:
            side, original = SPLITS[splits[row]], list(item.original)
            yield {"path": item.source.name, "row": row, "split": side, "sha256": item.digest, "original": original}
            row += 1


def _write(
    out: Path, items: Sequence[Prepared], splits: list[int], settings: PrepareSettings, sources: Sequence[Path]
) -> None:
    pictures = [item.picture for item in items if item.picture is not None]
    info = {
        "vaegan": __version__,
        "size": settings.size,
        "channels": 3,
        "fit": settings.fit,
        "options": asdict(settings),
        "source": [str(source.resolve()) for source in sources],
        "skipped": len(items) - len(pictures),
    }
    with directory_atomically(out) as place:
        write_set(place, pictures, splits, info)
        write_manifest(place, _lines(items, splits))
        step = max(1, len(pictures) // 64)
        save_png(grid(torch.stack(pictures[::step][:64])), place / "preview.png")


def _report(
    kept: Sequence[Prepared],
    splits: list[int],
    reasons: Counter[str],
    settings: PrepareSettings,
    on_event: Emit,
) -> None:
    held_out = splits.count(HELD_OUT)
    on_event(Note(f"{len(kept)} pictures kept: {len(kept) - held_out} to train on, {held_out} held out"))
    if reasons.pop(METADATA, 0):
        on_event(Note("files beside the pictures that describe them were passed over"))
    if reasons:
        told = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        on_event(Warned(f"{sum(reasons.values())} files skipped ({told}); manifest.jsonl names them"))
    small = sum(min(item.original) < settings.size for item in kept)
    if small:
        on_event(Warned(f"{small} pictures are smaller than {settings.size} pixels and were enlarged"))
    if not held_out and settings.held_out > 0:
        on_event(Warned("one picture (or group) only: nothing is held out, so nothing can be validated"))
