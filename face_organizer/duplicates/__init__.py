"""Pictures that are there twice: files of the same bytes, and near ones, recompressed, resized, of one burst.

Near are two pictures whose perceptual hashes differ in few bits and on which the same faces are seen:
portraits of different people may be alike in every line but the face.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster import faiss_device, person_threshold
from face_organizer.errors import ImageError
from face_organizer.files import write_csv, write_json
from face_organizer.machine import available_cores
from face_organizer.media import images
from face_organizer.media.video import is_video
from face_organizer.organize import Placed, View
from face_organizer.types import FaceTable, Int64

__all__ = ["Duplicates", "Group", "duplicates"]

CSV, JSON = "duplicates.csv", "duplicates.json"
COLUMNS = ("group", "picture", "kind", "best", "width", "height", "sharpness", "bytes", "placed")
_MOST_BITS = 10
"""Bits, of 64, in which the DCT hashes (pHash, Zauner 2010) of near pictures differ at most: so crops by 2 %
are found at 96 %, and 1 of 18,700 pairs of different portraits, whose faces then differ (see
benchmarks/README.md)."""
_BLOCK = 4096


class Copy(NamedTuple):
    """A picture that is there again: its `path`, and whether it is `exact` or near the best of its group."""

    path: str
    exact: bool
    bytes: int


class Group(NamedTuple):
    """The `best` picture of a group (most pixels, then sharper faces, then most bytes, then first by path),
    which stays, and the `others`."""

    best: str
    others: Sequence[Copy]


@dataclass(frozen=True)
class Duplicates:
    """Groups of pictures of `table` that are one picture, the one with the most to gain first; `unreadable`
    are (path, reason)."""

    table: FaceTable
    groups: Sequence[Group]
    unreadable: Sequence[tuple[str, str]] = field(default=())

    @property
    def bytes(self) -> int:
        """What the others take on the disk."""
        return sum(copy.bytes for group in self.groups for copy in group.others)

    def rows(self, placed: Placed | None = None) -> Iterator[dict[str, Any]]:
        """A dict of `COLUMNS` for each picture of a group, the best first."""
        files, sharp = self.table.files, _sharpness(self.table)
        row_of = {path: row for row, path in enumerate(files.path)}
        places = {source: target for (source, _), target in (placed or {}).items()}
        for number, group in enumerate(self.groups, 1):
            kinds = {copy.path: "exact" if copy.exact else "near" for copy in group.others}
            for path in (group.best, *kinds):
                row = row_of[path]
                size = int(files.width[row]), int(files.height[row])
                sharpness = None if np.isnan(sharp[row]) else round(float(sharp[row]), 2)
                values = (number, path, kinds.get(path, ""), path == group.best, *size, sharpness)
                line = (*values, int(files.bytes[row]), places.get(path, ""))
                yield dict(zip(COLUMNS, line, strict=True))

    def view(self) -> View:
        """The others, all in one folder, and two lists beside them."""
        entries = [(copy.path, "") for group in self.groups for copy in group.others]

        def write(folder: Path, placed: Placed, on_step: object) -> None:
            write_csv(folder / CSV, COLUMNS, self.rows(placed))
            write_json(folder / JSON, {"bytes": self.bytes, "groups": list(self.rows(placed))})

        return View(entries, [CSV, JSON], write)


def duplicates(table: FaceTable, *, kind: Literal["all", "exact", "near"] = "all") -> Duplicates:
    """Pictures of `table` that are there more than once.

    `exact` are files of the same bytes, read anew and compared by their hash; names of one file (hard and
    symbolic links) are one. `near` are pictures (no videos) whose perceptual hashes differ in at most 10 of
    64 bits, with as many faces, each as alike to one of the other as faces of one person are in this table
    (on pictures without faces: in at most 5 bits). Every one is near the best of its group, which stays;
    there are no chains.
    """
    rows, unreadable = _files(table)
    order = _best_first(table, rows)
    content = _contents(table, order, unreadable)
    best_of: dict[int, int] = {}
    exact: dict[int, list[int]] = defaultdict(list)
    for row in (row for row in order if row in content):
        first = best_of.setdefault(content[row], row)
        if first != row:
            exact[first].append(row)
    singles = list(best_of.values()) if kind != "near" else [row for row in order if row in content]
    near = _near(table, singles, unreadable) if kind != "exact" else {}
    taken = {row for others in near.values() for row in others}
    groups = []
    for first in singles:
        if first in taken:
            continue
        same = exact.get(first, []) if kind != "near" else []
        like = near.get(first, [])
        like += [row for other in like for row in (exact.get(other, []) if kind != "near" else [])]
        others = [_copy(table, row, row in set(same)) for row in (*same, *like)]
        if others:
            groups.append(Group(table.files.path[first], others))
    groups.sort(key=lambda group: (-sum(copy.bytes for copy in group.others), group.best))
    return Duplicates(table, groups, sorted(unreadable))


def _copy(table: FaceTable, row: int, exact: bool) -> Copy:
    return Copy(table.files.path[row], exact, int(table.files.bytes[row]))


def _files(table: FaceTable) -> tuple[list[int], list[tuple[str, str]]]:
    """Rows of files that are there and not empty, one for each file on the disk."""
    seen: set[tuple[int, int]] = set()
    rows, unreadable = [], []
    for row, path in enumerate(table.files.path):
        try:
            status = os.stat(path)
        except OSError as error:
            unreadable.append((path, error.strerror or "cannot be read"))
            continue
        if status.st_size and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            rows.append(row)
    return rows, unreadable


def _sharpness(table: FaceTable) -> NDArray[np.float64]:
    """Mean sharpness (f,) of the faces on each picture, NaN without any."""
    count = np.bincount(table.faces.file_index, minlength=len(table.files))
    total = np.bincount(table.faces.file_index, np.nan_to_num(table.faces.sharpness), len(table.files))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _best_first(table: FaceTable, rows: Sequence[int]) -> list[int]:
    files = table.files
    pixels = files.width.astype(np.int64) * files.height
    # In steps of a quarter: compression alone sharpens a little, and there the larger file is the better one.
    steps = np.round(np.log(np.maximum(np.nan_to_num(_sharpness(table)), 1e-6)) / np.log(1.25))

    def worth(row: int) -> tuple[float, ...]:
        return -float(pixels[row]), -float(steps[row]), -float(files.bytes[row])

    return sorted(rows, key=lambda row: (*worth(row), os.fsencode(files.path[row])))


def _contents(table: FaceTable, rows: Sequence[int], unreadable: list[tuple[str, str]]) -> dict[int, int]:
    """The hash of each file's bytes as they are now; that of the table for those whose size no other has."""
    files = table.files
    sizes: dict[int, int] = defaultdict(int)
    for row in rows:
        sizes[os.stat(files.path[row]).st_size] += 1
    read = [row for row in rows if sizes[os.stat(files.path[row]).st_size] > 1]
    found = {row: -1 - row for row in set(rows).difference(read)}  # alone of its size: equal to none
    for row, value in zip(
        read, _each(images.content_of_file, [files.path[row] for row in read]), strict=True
    ):
        if isinstance(value, ImageError):
            unreadable.append((files.path[row], str(value)))
        else:
            found[row] = value
    return found


def _each(function: Any, paths: Sequence[str]) -> Iterator[Any]:
    """What `function` gives for each path, or the `ImageError` that it raises; a thread for each core."""

    def guarded(path: str) -> Any:
        try:
            return function(path)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(available_cores().count, thread_name_prefix="duplicates") as pool:
        yield from pool.map(guarded, paths)


def hashed(path: str) -> NDArray[np.uint8]:
    """The DCT hash of a picture, (8,) uint8. Raises `ImageError`."""
    import cv2

    pixels, _ = images.open_source(path).pixels(64)
    return np.asarray(cv2.img_hash.pHash(np.ascontiguousarray(pixels[..., ::-1])), np.uint8).reshape(8)


def _near(table: FaceTable, rows: Sequence[int], unreadable: list[tuple[str, str]]) -> dict[int, list[int]]:
    """For each picture that stays the near ones, `rows` given the best first."""
    pictures = [row for row in rows if not is_video(table.files.path[row])]
    hashes, kept = [], []
    for row, value in zip(pictures, _each(hashed, [table.files.path[row] for row in pictures]), strict=True):
        if isinstance(value, ImageError):
            unreadable.append((table.files.path[row], str(value)))
        else:
            hashes.append(value)
            kept.append(row)
    if not kept:
        return {}
    starts = np.searchsorted(table.faces.file_index, np.arange(len(table.files) + 1))
    least = person_threshold(table) if len(table) else 1.0
    close: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for a, b, bits in _pairs(np.stack(hashes)):
        close[a].append((b, bits))
    found: dict[int, list[int]] = {}
    taken: set[int] = set()
    for a in range(len(kept)):  # the best first, so that whoever is near it stays with it
        if a in taken:
            continue
        for b, bits in sorted(close[a]):
            if b > a and b not in taken and _same_faces(table, starts, kept[a], kept[b], bits, least):
                taken.add(b)
                found.setdefault(kept[a], []).append(kept[b])
    return found


def _pairs(hashes: NDArray[np.uint8]) -> Iterator[tuple[int, int, int]]:
    """Each two of (n, 8) hashes that differ in few bits, twice, and in how many."""
    index = faiss_device.faiss().IndexBinaryFlat(64)
    index.add(hashes)
    for at in range(0, len(hashes), _BLOCK):
        limits, bits, others = index.range_search(hashes[at : at + _BLOCK], _MOST_BITS + 1)
        own = np.repeat(np.arange(at, at + len(limits) - 1), np.diff(limits.astype(np.int64)))
        yield from zip(own.tolist(), others.tolist(), bits.astype(int).tolist(), strict=True)


def _same_faces(table: FaceTable, starts: Int64, a: int, b: int, bits: int, least: float) -> bool:
    one, two = (table.embeddings[starts[row] : starts[row + 1]] for row in (a, b))
    if len(one) != len(two):
        return False
    if not len(one):
        return bits <= _MOST_BITS // 2
    cosines = np.asarray(one) @ np.asarray(two).T
    return bool((cosines.max(axis=1) >= least).all() and (cosines.max(axis=0) >= least).all())
