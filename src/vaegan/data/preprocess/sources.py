"""Finding the files of folders and archives, in one order and under names that do not depend on how they were given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vaegan.data.preprocess.archives import SUFFIXES, is_archive, members
from vaegan.data.preprocess.file_reader import stamp_of
from vaegan.data.preprocess.records import Found, Place, to_bytes
from vaegan.data.preprocess.skip_reasons import UNREADABLE
from vaegan.errors import VaeganError, reason

LOOPS = "link to a folder that is looked through anyway"
Unpack = Callable[[Path], Path]
"""Where the contents of a compressed tar may be laid out for a while: archive -> a new file."""


def labels(sources: Sequence[Path]) -> dict[Path, str]:
    """What the names of each source's files begin with: nothing for a single source, else the source's own name.

    sources: resolved. Where two have the same name, all are told apart by their whole paths.
    """
    if len(sources) == 1:
        return {sources[0]: ""}
    short = len({source.name for source in sources}) == len(sources)
    return {source: source.name if short else source.as_posix() for source in sources}


def resolve(sources: Sequence[Path]) -> list[Path]:
    """Absolute sources, each once, sorted. Raises VaeganError for one that does not exist."""
    for source in sources:
        if not source.exists():
            raise VaeganError(f"{source} does not exist: give a folder of pictures, a picture, or an archive")
    found = {source.resolve() for source in sources}
    inner = {path for path in found if any(parent in found and parent.is_dir() for parent in path.parents)}
    return sorted(found - inner, key=lambda path: to_bytes(str(path)))


def find(sources: Sequence[Path], avoid: Path, unpack: Unpack, passed: Callable[[str], None]) -> Iterator[Found]:
    """Yield every file of the resolved `sources`, in no order: a folder of millions is not held in memory.

    avoid: a directory that is no source (the set itself); passed: told of each thing that is left alone, in a word.
    """
    for source, label in labels(sources).items():
        if source.is_dir():
            yield from _folder(source, label, sources, avoid, unpack, passed)
        else:
            yield from _file(str(source), label or source.name, label if is_archive(source) else None, unpack)


def _folder(
    root: Path, label: str, sources: Sequence[Path], avoid: Path, unpack: Unpack, passed: Callable[[str], None]
) -> Iterator[Found]:
    """Walk a folder. A link to a folder is followed once, and only out of the sources: so no loop is endless.

    Links are followed after all else, the one that leads furthest out first: file systems list them in any order.
    """
    followed: set[Path] = set()
    waiting, links = [root], list[tuple[int, bytes, bytes, Path]]()
    while waiting or links:
        if not waiting:
            links.sort()
            _, _, _, link = links.pop(0)
            if not _leads_out(link.resolve(), sources, followed):
                passed(LOOPS)
                continue
            followed.add(link.resolve())
            waiting.append(link)
        folder = waiting.pop()
        if folder == avoid or ((folder / "set.json").is_file() and (folder / "manifest.jsonl").is_file()):
            passed("prepared set")
            continue
        try:
            prefix = _join(label, folder.relative_to(root).as_posix() if folder != root else "")
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        passed("hidden entry")
                    elif not _is_folder(entry):
                        name = _join(prefix, entry.name)
                        archive = name if entry.name.lower().endswith(SUFFIXES) else None
                        yield from _file(entry.path, name, archive, unpack)
                    elif not entry.is_symlink():
                        waiting.append(Path(entry.path))
                    else:
                        target = Path(entry.path).resolve()
                        place = to_bytes(str(target)), to_bytes(entry.path)
                        links.append((len(target.parts), *place, Path(entry.path)))
        except OSError as error:
            name = _join(label, folder.relative_to(root).as_posix())
            yield Found(name, Place(str(folder)), "", UNREADABLE, reason(error))


def _join(label: str, name: str) -> str:
    return f"{label}/{name}" if label and name else label or name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _leads_out(target: Path, sources: Sequence[Path], followed: set[Path]) -> bool:
    """Say whether a linked folder neither lies in a source, nor holds one, nor was followed before."""
    inside = any(target.is_relative_to(source) or source.is_relative_to(target) for source in sources)
    return not inside and not any(target.is_relative_to(other) for other in followed)


def _file(path: str, name: str, archive: str | None, unpack: Unpack) -> Iterator[Found]:
    """One file, or the members of an archive, whose names begin with `archive` (which may be empty)."""
    try:
        stamp = stamp_of(os.stat(path))  # noqa: PTH116 - a million of these are felt
    except OSError as error:
        why = "a link to nothing" if Path(path).is_symlink() else reason(error)
        yield Found(name, Place(path), "", UNREADABLE, why)
        return
    if archive is None:
        yield Found(name, Place(path), stamp)
        return
    for found in members(Path(path), stamp, unpack):
        yield replace(found, name=_join(archive, found.name) if found.name else name)
