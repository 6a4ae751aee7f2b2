"""Which face is which: a face is the bytes of its picture and a box, wherever the picture lies."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.library.store import transaction
from face_organizer.types import Faces, FaceTable, Float32, Int64

_SAME_BOX = 0.3
"""Intersection over union from which two boxes on one picture are one face. Boxes that two detectors give one
face overlap by more than half; those of neighbours in a crowd hardly touch."""
_BLOCK = 50_000


def contents(table: FaceTable) -> Int64:
    """What each file of `table` is known by (f,): the hash of its bytes, or of its path where those are not
    known (a table from elsewhere), as signed numbers, which is what SQLite holds."""
    found = table.files.content.copy()
    for row in np.flatnonzero(found == 0).tolist():
        digest = hashlib.blake2b(os.fsencode(table.files.path[row]), digest_size=8).digest()
        found[row] = int.from_bytes(digest, "big")
    return found.view(np.int64)


def enter(connection: sqlite3.Connection, table: FaceTable) -> Int64:
    """Enter files, places and faces of `table` that the library does not hold yet; the number (n,) that each
    face has there. Equal faces on copies of one picture have one number."""
    content = contents(table)
    with transaction(connection):
        _enter_files(connection, table, content)
        return _enter_faces(connection, table.faces, content[table.faces.file_index])


def _enter_files(connection: sqlite3.Connection, table: FaceTable, content: Int64) -> None:
    digest = hashlib.blake2b(content.tobytes(), digest_size=16)
    for path in table.files.path:
        digest.update(os.fsencode(path) + b"\0")
    (seen,) = connection.execute("SELECT seen FROM library").fetchone()
    if seen == digest.digest():
        return
    sizes, keys = table.files.bytes.tolist(), content.tolist()
    connection.executemany("INSERT OR IGNORE INTO files VALUES (?, ?)", zip(keys, sizes, strict=True))
    connection.executemany(
        "INSERT INTO places VALUES (?, ?) ON CONFLICT (path) DO UPDATE SET content = excluded.content "
        "WHERE content != excluded.content",
        zip(map(os.fsencode, table.files.path), keys, strict=True),
    )
    connection.execute("UPDATE library SET seen = ?", (digest.digest(),))


def _enter_faces(connection: sqlite3.Connection, faces: Faces, content: Int64) -> Int64:
    """The number of each face; those that are new get the next ones."""
    key = _key(content, np.nan_to_num(faces.time, nan=-1.0))
    order = np.lexsort((faces.face_index, key))
    new = np.ones(len(key), np.bool_)
    new[1:] = (np.diff(key[order]) != 0) | (np.diff(faces.face_index[order]) != 0)
    rows, inverse = order[new], np.empty(len(key), np.int64)
    inverse[order] = np.cumsum(new) - 1
    there = _read(connection)
    some = _There(rows, key[rows], faces.face_index[rows].astype(np.int64), faces.box[rows])
    found = _matched(some, there)
    numbers = np.where(found >= 0, there.id[found] if len(there.id) else 0, 0)
    lost = np.flatnonzero(found < 0)
    numbers[lost] = np.arange(len(lost)) + 1 + int(there.id.max(initial=0))
    connection.executemany(
        "INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, 0)",
        _lines(numbers[lost], content[rows[lost]], faces.take(rows[lost])),
    )
    return numbers[inverse]


def _lines(numbers: Int64, content: Int64, faces: Faces) -> Iterator[tuple[object, ...]]:
    for at in range(0, len(numbers), _BLOCK):
        part = slice(at, at + _BLOCK)
        boxes = faces.box[part].tolist()  # NaN is NULL to SQLite
        columns = (numbers[part], content[part], faces.face_index[part], faces.time[part])
        for line, box in zip(zip(*(c.tolist() for c in columns), strict=True), boxes, strict=True):
            yield (*line, *box)


class _There(NamedTuple):
    """The faces of a library as columns."""

    id: Int64
    key: Int64
    number: Int64
    box: Float32


def _read(connection: sqlite3.Connection) -> _There:
    (count,) = connection.execute("SELECT count(*) FROM faces").fetchone()
    columns = np.zeros((3, count), np.int64)
    moments, boxes = np.zeros(count), np.zeros((count, 4), np.float32)
    cursor = connection.execute("SELECT id, content, number, coalesce(time, -1), x1, y1, x2, y2 FROM faces")
    at = 0
    while part := cursor.fetchmany(_BLOCK):
        number, content, index, moment, *box = zip(*part, strict=True)
        place = slice(at, at + len(part))
        columns[:, place], moments[place] = (number, content, index), moment
        boxes[place] = np.array(box, np.float32).T
        at += len(part)
    return _There(columns[0], _key(columns[1], moments), columns[2], boxes)


def _key(content: Int64, time: NDArray[np.floating[Any]]) -> Int64:
    """What faces of one picture share; faces of a video are told apart by moment too."""
    moment = np.round(time * 100).astype(np.int64) + 1
    with np.errstate(over="ignore"):
        return content ^ (moment * np.int64(0x1E3779B97F4A7C15))


def _matched(mine: _There, theirs: _There) -> Int64:
    """For each of my faces the row of the one among theirs that it is, by picture and overlap; -1 for none.

    The pairs that overlap most are taken first, and each face once. Where there is no box, the number of the
    face on its picture decides.
    """
    pairs = _on_one_picture(mine.key, theirs.key)
    a, b = pairs.T
    equal = mine.number[a] == theirs.number[b]
    unknown = np.isnan(mine.box[a]).any(axis=1) | np.isnan(theirs.box[b]).any(axis=1)
    overlap = np.where(unknown, equal, _overlap(mine.box[a], theirs.box[b]))
    good = np.flatnonzero(overlap >= _SAME_BOX)
    pairs = pairs[good[np.argsort(-overlap[good], kind="stable")]]
    found = np.full(len(mine.id), -1, np.int64)
    while len(pairs):
        # The first pair of a face and of the other one is the best of both.
        first = np.zeros(len(pairs), np.bool_)
        first[np.unique(pairs[:, 0], return_index=True)[1]] = True
        second = np.zeros(len(pairs), np.bool_)
        second[np.unique(pairs[:, 1], return_index=True)[1]] = True
        best = pairs[first & second]
        found[best[:, 0]] = best[:, 1]
        taken = np.isin(pairs[:, 0], best[:, 0]) | np.isin(pairs[:, 1], best[:, 1])
        pairs = pairs[~taken]
    return found


def _on_one_picture(mine: Int64, theirs: Int64) -> Int64:
    """All pairs (m, 2) of rows with equal keys."""
    order = np.argsort(theirs, kind="stable")
    start, end = (np.searchsorted(theirs[order], mine, side) for side in ("left", "right"))
    times = end - start
    first = np.repeat(np.arange(len(mine)), times)
    steps = np.arange(len(first)) - np.repeat(np.cumsum(times) - times, times)
    return np.stack([first, order[np.repeat(start, times) + steps]], axis=1)


def _overlap(mine: Float32, theirs: Float32) -> Float32:
    """Intersection over union of boxes (m, 4), pair by pair."""
    low, high = np.maximum(mine[:, :2], theirs[:, :2]), np.minimum(mine[:, 2:], theirs[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = [np.prod(np.maximum(box[:, 2:] - box[:, :2], 0), axis=1) for box in (mine, theirs)]
    overlap = common / np.maximum(areas[0] + areas[1] - common, 1e-9)
    return np.where((mine == theirs).all(axis=1), np.float32(1), overlap).astype(np.float32)
