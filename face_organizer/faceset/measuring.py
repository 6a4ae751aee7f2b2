"""From the faces of a table to their figures: each picture is decoded once, ever. What is measured is kept in
one file beside the table as it comes; a run that was killed goes on from there."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from face_organizer.errors import ImageError
from face_organizer.faceset.figures import Figures, matrices, measure
from face_organizer.faceswap import HeaderError, read_header
from face_organizer.files import os_errors
from face_organizer.geometry import align
from face_organizer.machine import available_cores, in_order
from face_organizer.media import images, video
from face_organizer.types import FaceTable, Int64, Outcome

_RECORD = np.dtype(
    [("key", "<u8")]
    + [(s.name, s.metadata["dtype"].newbyteorder("<"), s.metadata["shape"]) for s in Figures.specs()]
)
_VERSION = 1
"""One more whenever a figure is measured in another way: what older versions kept is measured anew."""
_FIRST = (
    json.dumps({"face_organizer_figures": _VERSION, "columns": list(_RECORD.names or ())}) + "\n"
).encode()
_BLOCK = 8192  # records that are read at a time
_CHUNK, _AT_ONCE = 256, 16  # files between two writes, and that a thread takes
WHY_NO_PLACE = "the table does not say where the face is; embed the picture again"


def measured(
    table: FaceTable,
    rows: Int64,
    kept: Path | None = None,
    on_face: Callable[[int], object] = lambda done: None,
    on_problem: Callable[[str, str], object] = lambda path, reason: None,
) -> Figures:
    """The figures of `rows` (r,) of `table`, (r,) in that order: NaN where a picture cannot be read any more,
    of which `on_problem` hears with its path and the reason. `kept` is the file that remembers them;
    `on_face` hears how many more are done. Raises `OSError` where `kept` cannot be written."""
    made = Figures.empty(len(rows))
    keys = _keys(table, rows)
    with os_errors(kept or "", "cannot be written"):
        at = _fill(made, kept, keys)
    on_face(len(at))
    todo = np.setdiff1d(np.arange(len(rows)), at)
    todo = todo[np.argsort(table.faces.file_index[rows[todo]], kind="stable")]
    of_file = table.faces.file_index[rows[todo]]
    files = np.split(todo, np.flatnonzero(np.diff(of_file)) + 1) if len(todo) else []
    chunks = [files[first : first + _AT_ONCE] for first in range(0, len(files), _AT_ONCE)]
    waiting: list[NDArray[np.void]] = []

    def look(chunk: Sequence[Int64]) -> list[Figures | ImageError]:
        return [_look(table, rows[own]) for own in chunk]

    for chunk, looked in zip(chunks, in_order(chunks, look, available_cores().count), strict=True):
        for own, found in zip(chunk, looked, strict=True):
            if isinstance(found, ImageError):
                on_problem(table.files.path[table.faces.file_index[rows[own[0]]]], found.reason)
            else:
                record = np.zeros(len(own), _RECORD)
                record["key"] = keys[own]
                for spec in Figures.specs():
                    record[spec.name] = getattr(made, spec.name)[own] = getattr(found, spec.name)
                waiting.append(record)
            on_face(len(own))
        if kept and len(waiting) >= _CHUNK:
            _keep(kept, waiting)
    if kept:
        _keep(kept, waiting)
    return made


def _look(table: FaceTable, rows: Int64) -> Figures | ImageError:
    """The figures of `rows`, which are of one file."""
    faces, path = table.faces.take(rows), table.files.path[table.faces.file_index[rows[0]]]
    if not align.usable(faces.landmarks).all():
        return ImageError(Outcome.NO_FACE, WHY_NO_PLACE)
    found = []
    try:
        source = None if video.is_video(path) else images.open_source(path)
        for i, matrix in enumerate(matrices(faces.landmarks)):
            seen, header = source or video.picture(path, float(faces.time[i])), None
            if isinstance(seen, images.Source) and faces.source_face[i] >= 0 and math.isnan(faces.score[i]):
                header = read_header(seen.data)
            found.append(measure(seen, matrix, faces.landmarks[i], header))
    except ImageError as error:
        return error
    except HeaderError as error:
        return ImageError(Outcome.UNREADABLE, str(error))
    return Figures.concatenate(found)


def _keys(table: FaceTable, rows: Int64) -> NDArray[np.uint64]:
    """(r,) what each face is known by: the bytes of its picture, and where it is on it."""
    faces, files = table.faces, table.files
    keys = []
    for row, index in zip(rows.tolist(), faces.file_index[rows].tolist(), strict=True):
        digest = hashlib.blake2b(faces.landmarks[row].tobytes() + faces.time[row].tobytes(), digest_size=8)
        content = files.content[index]
        digest.update(content.tobytes() if content else os.fsencode(files.path[index]))
        digest.update(b"" if content else files.mtime_ns[index].tobytes())
        keys.append(int.from_bytes(digest.digest(), "little"))
    return np.array(keys, np.uint64)


def _fill(made: Figures, kept: Path | None, keys: NDArray[np.uint64]) -> Int64:
    """Take over what the file knows, and tell of which of `keys` it does. Of a record that a kill cut off
    nothing is taken, and the file ends before it."""
    none = np.zeros(0, np.int64)
    if kept is None or not kept.exists():
        return none
    with open(kept, "r+b") as file:
        if file.readline(4096) != _FIRST:
            return none
        count = (os.fstat(file.fileno()).st_size - len(_FIRST)) // _RECORD.itemsize
        file.truncate(len(_FIRST) + count * _RECORD.itemsize)
    if not count:
        return none
    records = np.memmap(kept, _RECORD, "r", len(_FIRST), count)
    known = np.array(records["key"])
    order = np.argsort(known, kind="stable")
    place = order[np.minimum(np.searchsorted(known, keys, sorter=order), count - 1)]
    at = np.flatnonzero(known[place] == keys)
    for spec in Figures.specs():
        column = getattr(made, spec.name)
        for first in range(0, len(at), _BLOCK):
            some = at[first : first + _BLOCK]
            column[some] = records[spec.name][place[some]]
    return at


def _keep(kept: Path, waiting: list[NDArray[np.void]]) -> None:
    """Append records, and forget them; a file of another version begins anew."""
    with os_errors(kept, "cannot be written"), open(kept, "a+b") as file:
        file.seek(0)
        if file.readline(4096) != _FIRST:
            file.truncate(0)
            file.write(_FIRST)
        for record in waiting:
            file.write(record.tobytes())
        file.flush()
        os.fsync(file.fileno())
    waiting.clear()
