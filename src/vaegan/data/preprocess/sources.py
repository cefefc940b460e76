"""Finding the files of folders and archives, in one order and under names that do not depend on how they were given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vaegan.data.preprocess.archives import ARCHIVE_SUFFIXES, is_archive, iter_members
from vaegan.data.preprocess.file_reader import size_and_mtime
from vaegan.data.preprocess.records import FileLocation, SourceFile, encode_name
from vaegan.data.preprocess.skip_reasons import UNREADABLE
from vaegan.errors import VaeganError, error_text

LINK_ALREADY_COVERED = "link to a folder that is looked through anyway"
SpoolPathFactory = Callable[[Path], Path]
"""Where the contents of a compressed tar may be laid out for a while: archive -> a new file."""


def name_prefixes(sources: Sequence[Path]) -> dict[Path, str]:
    """What the names of each source's files begin with: nothing for a single source, else the source's own name.

    sources: resolved. Where two have the same name, all are told apart by their whole paths.
    """
    if len(sources) == 1:
        return {sources[0]: ""}
    short = len({source.name for source in sources}) == len(sources)
    return {source: source.name if short else source.as_posix() for source in sources}


def resolve_sources(sources: Sequence[Path]) -> list[Path]:
    """Absolute sources, each once, sorted. Raises VaeganError for one that does not exist."""
    for source in sources:
        if not source.exists():
            raise VaeganError(f"{source} does not exist: give a folder of pictures, a picture, or an archive")
    found = {source.resolve() for source in sources}
    inner = {path for path in found if any(parent in found and parent.is_dir() for parent in path.parents)}
    return sorted(found - inner, key=lambda path: encode_name(str(path)))


def find_files(
    sources: Sequence[Path], excluded_dir: Path, make_spool_path: SpoolPathFactory, on_ignored: Callable[[str], None]
) -> Iterator[SourceFile]:
    """Yield every file of the resolved `sources`, in no order: a folder of millions is not held in memory.

    avoid: a directory that is no source (the set itself); passed: told of each thing that is left alone, in a word.
    """
    for source, label in name_prefixes(sources).items():
        if source.is_dir():
            yield from _walk_folder(source, label, sources, excluded_dir, make_spool_path, on_ignored)
        else:
            yield from _iter_source_file(
                str(source), label or source.name, label if is_archive(source) else None, make_spool_path
            )


def _walk_folder(
    root: Path,
    root_prefix: str,
    sources: Sequence[Path],
    excluded_dir: Path,
    make_spool_path: SpoolPathFactory,
    on_ignored: Callable[[str], None],
) -> Iterator[SourceFile]:
    """Walk a folder. A link to a folder is followed once, and only out of the sources: so no loop is endless.

    Links are followed after all else, the one that leads furthest out first: file systems list them in any order.
    """
    followed: set[Path] = set()
    waiting, links = [root], list[tuple[int, bytes, bytes, Path]]()
    while waiting or links:
        if not waiting:
            links.sort()
            _, _, _, link = links.pop(0)
            if not _is_outside_sources(link.resolve(), sources, followed):
                on_ignored(LINK_ALREADY_COVERED)
                continue
            followed.add(link.resolve())
            waiting.append(link)
        folder = waiting.pop()
        if folder == excluded_dir or ((folder / "set.json").is_file() and (folder / "manifest.jsonl").is_file()):
            on_ignored("prepared set")
            continue
        try:
            prefix = _join_name(root_prefix, folder.relative_to(root).as_posix() if folder != root else "")
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        on_ignored("hidden entry")
                    elif not _is_folder(entry):
                        name = _join_name(prefix, entry.name)
                        archive = name if entry.name.lower().endswith(ARCHIVE_SUFFIXES) else None
                        yield from _iter_source_file(entry.path, name, archive, make_spool_path)
                    elif not entry.is_symlink():
                        waiting.append(Path(entry.path))
                    else:
                        target = Path(entry.path).resolve()
                        place = encode_name(str(target)), encode_name(entry.path)
                        links.append((len(target.parts), *place, Path(entry.path)))
        except OSError as error:
            name = _join_name(root_prefix, folder.relative_to(root).as_posix())
            yield SourceFile(name, FileLocation(str(folder)), "", UNREADABLE, error_text(error))


def _join_name(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix and name else prefix or name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_outside_sources(target: Path, sources: Sequence[Path], followed: set[Path]) -> bool:
    """Say whether a linked folder neither lies in a source, nor holds one, nor was followed before."""
    inside = any(target.is_relative_to(source) or source.is_relative_to(target) for source in sources)
    return not inside and not any(target.is_relative_to(other) for other in followed)


def _iter_source_file(
    path: str, name: str, member_prefix: str | None, make_spool_path: SpoolPathFactory
) -> Iterator[SourceFile]:
    """One file, or the members of an archive, whose names begin with `archive` (which may be empty)."""
    try:
        stamp = size_and_mtime(os.stat(path))  # noqa: PTH116 - a million of these are felt
    except OSError as error:
        why = "a link to nothing" if Path(path).is_symlink() else error_text(error)
        yield SourceFile(name, FileLocation(path), "", UNREADABLE, why)
        return
    if member_prefix is None:
        yield SourceFile(name, FileLocation(path), stamp)
        return
    for found in iter_members(Path(path), stamp, make_spool_path):
        yield replace(found, name=_join_name(member_prefix, found.name) if found.name else name)
