"""Find the files in folders and archives, under names that do not depend on the sources' order."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vaegan.data.dataset import is_dataset
from vaegan.data.preprocess.archives import ARCHIVE_SUFFIXES, SpoolPathFactory, UnpackBudget, is_archive, iter_members
from vaegan.data.preprocess.file_reader import size_and_mtime
from vaegan.data.preprocess.records import FileLocation, SourceFile, encode_name
from vaegan.data.preprocess.skip_reasons import UNREADABLE
from vaegan.errors import VaeganError, error_text
from vaegan.utils.files import real_path

HIDDEN_ENTRY, PREPARED_DATASET, REDUNDANT_LINK = "hidden", "dataset", "link"
IGNORED = {
    HIDDEN_ENTRY: ("hidden entry", "hidden entries"),
    PREPARED_DATASET: ("prepared dataset",),
    REDUNDANT_LINK: ("link to a folder that is searched anyway", "links to folders that are searched anyway"),
}
"""What is ignored, and its name in singular and plural."""


ArchiveIterator = Callable[[Path, str], Iterator[SourceFile]]
"""From the path and the stamp of an archive to its members."""


def name_prefixes(sources: Sequence[Path]) -> dict[Path, str]:
    """Map each resolved source to the prefix of its files' names.

    A single source has no prefix. Several have their own names, or their absolute paths where two names are equal.

    Args:
        sources: resolved sources.

    Returns:
        prefix by source.
    """
    if len(sources) == 1:
        return {sources[0]: ""}
    has_unique_names = len({source.name for source in sources}) == len(sources)
    return {source: source.name if has_unique_names else source.as_posix() for source in sources}


def resolve_sources(sources: Sequence[Path]) -> list[Path]:
    """Return the sources as absolute paths: sorted, and without those that lie in another one.

    Args:
        sources: paths as the user gave them.

    Returns:
        the resolved paths.

    Raises:
        VaeganError: A source does not exist, or is a prepared dataset.
    """
    for source in sources:
        if not source.exists():
            raise VaeganError(f"{source} does not exist: give a folder of images, an image, or an archive")
        if is_dataset(source):
            way_out = f"train on it (vaegan train-vae {source}), or give the folder that it was made from"
            raise VaeganError(f"{source} is a prepared dataset already: {way_out}")
    resolved = {real_path(source) for source in sources}
    nested = {path for path in resolved if any(parent in resolved and parent.is_dir() for parent in path.parents)}
    return sorted(resolved - nested, key=lambda path: encode_name(str(path)))


def find_files(
    sources: Sequence[Path], excluded_dir: Path, make_spool_path: SpoolPathFactory, on_ignored: Callable[[str], None]
) -> Iterator[SourceFile]:
    """Find every file in the sources, in any order: a folder of millions is not held in memory.

    Args:
        sources: resolved sources.
        excluded_dir: the output, which is not searched.
        make_spool_path: see `iter_members`.
        on_ignored: called with the kind of each entry that is ignored.

    Yields:
        the files.
    """
    budget = UnpackBudget()
    iter_archive = functools.partial(iter_members, make_spool_path=make_spool_path, budget=budget)
    for source, prefix in name_prefixes(sources).items():
        if source.is_dir():
            yield from _walk_folder(source, prefix, sources, excluded_dir, iter_archive, on_ignored)
        else:
            member_prefix = prefix if is_archive(source) else None
            yield from _iter_source_file(str(source), prefix or source.name, member_prefix, iter_archive)


def _walk_folder(
    root: Path,
    root_prefix: str,
    sources: Sequence[Path],
    excluded_dir: Path,
    iter_archive: ArchiveIterator,
    on_ignored: Callable[[str], None],
) -> Iterator[SourceFile]:
    """Yield the files under a folder.

    A link to a folder is followed once, and only to a folder outside the sources, so that no loop is endless. Links
    are followed after all else, those to the shallowest folders first: file systems list them in any order, and which
    of two links is followed decides the names of the files.
    """
    followed: set[Path] = set()
    pending = [root]
    links: list[tuple[int, bytes, bytes, Path]] = []  # depth and path of the target, path of the link
    while pending or links:
        if not pending:
            links.sort()
            link = links.pop(0)[-1]
            target = real_path(link)
            if not _is_outside_sources(target, sources, followed):
                on_ignored(REDUNDANT_LINK)
                continue
            followed.add(target)
            pending.append(link)

        folder = pending.pop()
        prefix = _join_name(root_prefix, folder.relative_to(root).as_posix() if folder != root else "")
        try:
            if folder == excluded_dir or (is_dataset(folder) and (folder / "manifest.jsonl").is_file()):
                on_ignored(PREPARED_DATASET)
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        on_ignored(HIDDEN_ENTRY)
                    elif not _is_folder(entry):
                        name = _join_name(prefix, entry.name)
                        member_prefix = name if entry.name.lower().endswith(ARCHIVE_SUFFIXES) else None
                        yield from _iter_source_file(entry.path, name, member_prefix, iter_archive)
                    elif not entry.is_symlink():
                        pending.append(Path(entry.path))
                    else:
                        target = real_path(Path(entry.path))
                        sort_key = len(target.parts), encode_name(str(target)), encode_name(entry.path)
                        links.append((*sort_key, Path(entry.path)))
        except OSError as error:
            yield SourceFile(prefix or ".", FileLocation(str(folder)), "", UNREADABLE, error_text(error))


def _join_name(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix and name else prefix or name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_outside_sources(target: Path, sources: Sequence[Path], followed: set[Path]) -> bool:
    """Check that a linked folder neither lies in a source, nor holds one, nor lies in a folder followed before."""
    overlaps = any(target.is_relative_to(source) or source.is_relative_to(target) for source in sources)
    return not overlaps and not any(target.is_relative_to(other) for other in followed)


def _iter_source_file(
    path: str, name: str, member_prefix: str | None, iter_archive: ArchiveIterator
) -> Iterator[SourceFile]:
    """Yield a file; for an archive (`member_prefix` is not None), its members, named `member_prefix`/MEMBER."""
    try:
        stamp = size_and_mtime(os.stat(path))  # noqa: PTH116 - a Path per file is slow for a million files
    except OSError as error:
        detail = "a link to nothing" if Path(path).is_symlink() else error_text(error)
        yield SourceFile(name, FileLocation(path), "", UNREADABLE, detail)
        return
    if member_prefix is None:
        yield SourceFile(name, FileLocation(path), stamp)
        return
    for member in iter_archive(Path(path), stamp):
        yield replace(member, name=_join_name(member_prefix, member.name) if member.name else name)
