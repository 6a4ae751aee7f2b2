"""Which pictures are known, and by what: their path, size and time, or their bytes wherever they lie now."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.files import MARKER, is_inside
from face_organizer.media import images
from face_organizer.types import Faces, FaceTable, Files, Int64, Outcome

_READERS = 8  # files that are read at a time, to compare their bytes


@dataclass(frozen=True, slots=True)
class Known:
    """What a table knows of the pictures that are listed now.

    `fresh` are paths that are as they were. `moved` are paths whose bytes the table knows from another place:
    path → row of its files; `back` are those that its backup knows (of a disk that was away). `twins` are new
    paths whose bytes another new one has too: path → that one, which is looked at. `stay` are rows of the
    table that are kept although nobody lists them now.
    """

    fresh: set[str] = field(default_factory=set)
    moved: dict[str, int] = field(default_factory=dict)
    back: dict[str, int] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    stay: dict[str, int] = field(default_factory=dict)


def fresh(made: FaceTable, again: str | None) -> set[str]:
    """The files of `made` that are as they were when they were looked at, and need no other look; those that
    failed for a reason that may pass always do."""
    repeat = _repeated(made, again)
    files = made.files

    def is_still(path: str, size: int, mtime_ns: int, content: int) -> bool:
        try:
            status = os.stat(path)
            same = (status.st_size, status.st_mtime_ns) == (size, mtime_ns)
            read = same and content and again == "changed"
            return same and (not read or images.content_of_file(path) == content)
        except OSError:
            return size < 0  # it could not be read then either
        except ImageError:
            return False

    columns = (files.bytes.tolist(), files.mtime_ns.tolist(), files.content.tolist(), repeat.tolist())
    rows = zip(files.path, *columns, strict=True)
    return {path for path, *was, look in rows if not look and is_still(path, *was)}


def _repeated(made: FaceTable, again: str | None) -> np.ndarray:
    repeat = made.files.retry.astype(bool)
    if again == "failed":
        repeat |= np.isin(made.files.outcome, [Outcome.UNREADABLE, Outcome.UNSUPPORTED])
    return repeat


def find(
    paths: Sequence[str],
    before: FaceTable | None,
    again: str | None,
    unlisted: Sequence[str],
    backup: Callable[[], FaceTable | None],
) -> Known:
    """What the table `before`, and its `backup`, know of the listed `paths`; `unlisted` are folders that
    should have been looked into and could not be.

    Rows stay whose picture lies in such a folder, or was moved into an output folder of this program, which
    is never listed. A picture that is gone from there is looked for among the listed ones (it came home), and
    in that output folder (a user put it with somebody else).
    """
    found = Known()
    listed = set(paths)
    by_content: dict[int, int] = {}
    sizes: set[int] = set()
    if before is not None:
        found.fresh.update(fresh(before, again) & listed)
        by_content, sizes = _by_content(before, again)
        _keep(found, before, listed, unlisted)
    new = [path for path in paths if path not in found.fresh]
    old: dict[int, int] = {}
    if new and before is not None and (kept := backup()) is not None:
        old, more = _by_content(kept, again)
        sizes |= more
    contents = _contents(new, sizes)
    first: dict[int, str] = {}
    for path in new:
        content = contents.get(path)
        if content is None:
            continue
        if content in by_content:
            found.moved[path] = by_content[content]
        elif content in old:
            found.back[path] = old[content]
        elif first.setdefault(content, path) != path:
            found.twins[path] = first[content]
    if before is not None:
        _follow(found, before, listed)
    return found


def _by_content(table: FaceTable, again: str | None) -> tuple[dict[int, int], set[int]]:
    """The row of each file by its content, and the sizes of these files."""
    usable = np.flatnonzero(~_repeated(table, again) & (table.files.content != 0))
    rows = dict(zip(table.files.content[usable].tolist(), usable.tolist(), strict=True))
    return rows, set(table.files.bytes[usable].tolist())


def _contents(paths: Sequence[str], sizes: set[int]) -> dict[str, int]:
    """The content of each file whose size is one of `sizes`, or that of another one; others are not read."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        try:
            by_size[os.stat(path).st_size].append(path)
        except OSError:
            continue
    alike = [path for size, group in by_size.items() if size in sizes or len(group) > 1 for path in group]
    return dict(_read(alike))


def _read(paths: Sequence[str]) -> Iterator[tuple[str, int]]:
    def content(path: str) -> int:
        try:
            return images.content_of_file(path)
        except ImageError:
            return 0  # whoever looks at it says why

    with ThreadPoolExecutor(_READERS, thread_name_prefix="content") as pool:
        for path, value in zip(paths, pool.map(content, paths), strict=True):
            if value:
                yield path, value


def _keep(found: Known, before: FaceTable, listed: set[str], unlisted: Sequence[str]) -> None:
    outputs: dict[str, Path | None] = {}
    for row, path in enumerate(before.files.path):
        if path in listed:
            continue
        in_output = _output_of(os.path.dirname(path), outputs) is not None and os.path.lexists(path)
        if in_output or any(is_inside(path, Path(folder)) for folder in unlisted):
            found.stay[path] = row


def _output_of(folder: str, known: dict[str, Path | None]) -> Path | None:
    """The output folder of this program that `folder` is or lies in."""
    if folder not in known:
        above = os.path.dirname(folder)
        is_one = os.path.isdir(os.path.join(folder, MARKER))
        known[folder] = Path(folder) if is_one else _output_of(above, known) if above != folder else None
    return known[folder]


def _follow(found: Known, before: FaceTable, listed: set[str]) -> None:
    """Find again what a user dragged within an output folder."""
    outputs: dict[str, Path | None] = {}
    lost: dict[Path, dict[int, int]] = defaultdict(dict)
    home = set(found.moved.values())
    for row, path in enumerate(before.files.path):
        if path in listed or path in found.stay or row in home or not before.files.content[row]:
            continue
        if (output := _output_of(os.path.dirname(path), outputs)) is not None:
            lost[output][int(before.files.content[row])] = row
    for output, rows in lost.items():
        sizes = {int(before.files.bytes[row]) for row in rows.values()}
        held = (os.path.join(place, name) for place, _, names in os.walk(output) for name in names)
        there = [path for path in sorted(held) if path not in found.stay and f"/{MARKER}/" not in path]
        for path, content in _contents(there, sizes).items():
            if content in rows:
                found.moved[path] = rows.pop(content)
                found.stay[path] = -1


def at_new_places(table: FaceTable, places: Mapping[str, int]) -> FaceTable:
    """The rows `places` (path → row of the files) of `table`, each under that path and its time there."""
    paths = sorted(places, key=os.fsencode)
    rows = np.array([places[path] for path in paths], np.int64)
    starts = np.searchsorted(table.faces.file_index, np.arange(len(table.files) + 1))
    counts = np.diff(starts)[rows] if len(rows) else np.empty(0, np.int64)
    faces_at = _ranges(starts[rows], counts)
    files: Files = table.files.take(rows)
    moved = replace(files, path=paths, mtime_ns=np.array(list(_times(paths)), np.int64).reshape(-1))
    faces: Faces = table.faces.take(faces_at)
    index = np.repeat(np.arange(len(rows)), counts).astype(np.int64)
    return FaceTable(table.embeddings[faces_at], replace(faces, file_index=index), moved, table.stamp)


def _times(paths: Iterable[str]) -> Iterator[int]:
    for path in paths:
        try:
            yield os.stat(path).st_mtime_ns
        except OSError:
            yield -1


def _ranges(starts: Int64, counts: Int64) -> Int64:
    """The numbers starts[0], starts[0] + 1 … and so on for each range."""
    steps = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(starts, counts) + steps, np.int64)
