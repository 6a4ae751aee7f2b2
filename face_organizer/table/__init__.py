"""The face table on disk: one pickle, or one folder for large collections; neither can run code when read.

A pickle is the interchange file of the original scripts, with the columns of this program beside their four
keys (`document`). A folder `NAME.faces` holds the same as plain files, so that embeddings are memory-mapped.
Others may import the functions here and `safe_pickle`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import SpaceMismatchError, TableError
from face_organizer.files import atomic_write, os_errors, printable, write_csv
from face_organizer.table import document, folder, safe_pickle
from face_organizer.types import Columns, Faces, FaceTable, Files, Float32, Int64

__all__ = [
    "PICKLE_PROTOCOL",
    "check_quality",
    "describe",
    "figures_beside",
    "fingerprint",
    "merge",
    "quality",
    "read",
    "relocate",
    "safe_pickle",
    "write",
    "write_quality",
]

FOLDER_ENDING = ".faces"
PICKLE_PROTOCOL = 4  # protocol 5, written under numpy 2, does not load under numpy 1


def figures_beside(path: str | Path) -> Path:
    """The file beside a table that keeps what `faceset` measured on its pictures."""
    return Path(path).with_suffix(".figures")


QUALITY = ("score", "size", "sharpness", "brightness", "yaw", "pitch", "roll", "norm", "outside")
"""The columns of `types.Faces` that tell how good a face is, for spreadsheets."""


def quality(faces: Faces) -> Iterator[dict[str, float | None]]:
    """The `QUALITY` of each face, rounded; None for what is not known."""
    columns = [getattr(faces, name).tolist() for name in QUALITY]
    for values in zip(*columns, strict=True):
        yield {n: None if v != v else round(v, 4) for n, v in zip(QUALITY, values, strict=True)}


_LINE = ("source", "face_index", "time", *QUALITY)


def check_quality(path: Path) -> None:
    """Raise `TableError` where `write_quality` would write over what it did not write."""
    head = ",".join(_LINE).encode() + b"\r\n"
    with os_errors(path, kind=TableError), contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        if file.readline(len(head)) != head:
            raise TableError(f"{printable(path)} is there and holds something else", "move it away")


def write_quality(table: FaceTable, path: Path) -> None:
    """Write a CSV with a line per face: its picture, its number and second there, and its `QUALITY`. Raises
    `TableError` as `check_quality`."""
    check_quality(path)
    faces = table.faces
    places = zip(table.face_paths(), faces.face_index.tolist(), faces.time.tolist(), strict=True)
    rows = (
        {"source": source, "face_index": index, "time": None if time != time else round(time, 3), **more}
        for (source, index, time), more in zip(places, quality(faces), strict=True)
    )
    write_csv(path, _LINE, rows)


def write(table: FaceTable, path: str | Path) -> None:
    """Write `table` to `path`: a folder where the name ends in `.faces`, else a pickle.

    Missing folders above it are made. A killed write leaves the old table or the new one, never half of
    either. Raises `TableError` where it cannot be written.
    """
    path = Path(path)
    with os_errors(path, "cannot be written", TableError):
        if path.suffix == FOLDER_ENDING:
            folder.write(table, path)
        else:
            with atomic_write(path) as file:
                pickle.dump(document.to_document(table), file, protocol=PICKLE_PROTOCOL)


def read(*paths: str | Path) -> FaceTable:
    """The table at a path, pickle or folder; of several paths, their tables merged into one (see `merge`).

    Embeddings are read-only and, from a folder, memory-mapped. A pickle of the original scripts, with its
    four keys alone, is read too: what it does not hold is 'not known', and its embeddings are brought to unit
    length. Raises `TableError` for what is no table, or damaged; its kinds `UnsafePickleError` for a pickle
    that names anything a table does not need, and `SpaceMismatchError` for tables that cannot be merged.
    """
    return merge([_read(Path(path)) for path in paths], [printable(path) for path in paths])


def _read(path: Path) -> FaceTable:
    if path.is_dir() and path.suffix != FOLDER_ENDING and not (path / folder.META).is_file():
        raise TableError(f"{printable(path)} is a folder and no table; embed its pictures first")
    try:
        with os_errors(path, "cannot be read", TableError):
            return folder.read(path) if path.is_dir() else document.from_document(safe_pickle.load(path))
    except safe_pickle.DAMAGES as error:
        what = printable(str(error)) or type(error).__name__
        raise TableError(f"{printable(path)}: not a face table, or damaged: {what}") from error


def merge(tables: Sequence[FaceTable], names: Sequence[str] | None = None) -> FaceTable:
    """One table of all faces and files, sorted by path; the order of `tables` makes no difference.

    A file that is in several tables is kept once: from a table where it has faces rather than one where it
    has none, then from the one with the latest modification time. One table alone is returned as it is.
    `names` stand for the tables in errors. Raises `ValueError` without tables, and `SpaceMismatchError` for
    embeddings that cannot be compared.
    """
    if not tables:
        raise ValueError("there is no table to read or merge")
    _check_spaces(tables, names or [f"table {number + 1}" for number in range(len(tables))])
    if len(tables) == 1:
        return tables[0]
    files = Files.concatenate([t.files for t in tables])
    faces = Faces.concatenate([t.faces for t in tables])
    embeddings = np.concatenate([t.embeddings for t in tables if len(t)] or [tables[0].embeddings])
    first_file = np.cumsum([0] + [len(t.files) for t in tables[:-1]])
    file_index = faces.file_index + np.repeat(first_file, [len(t) for t in tables])
    kept = _one_per_path(files, faces, file_index, embeddings)
    new_index = np.full(len(files), -1, np.int64)
    new_index[kept] = np.arange(len(kept))
    moved = new_index[file_index]
    rows = np.flatnonzero(moved >= 0)
    rows = rows[np.lexsort((faces.face_index[rows], moved[rows]))]
    in_order = len(rows) == len(embeddings) and bool(np.all(rows[1:] > rows[:-1]))
    return FaceTable(
        embeddings if in_order else embeddings[rows],
        dataclasses.replace(faces.take(rows), file_index=moved[rows]),
        files.take(kept),
        min((t.stamp for t in tables if t.stamp), key=lambda s: repr(dataclasses.asdict(s)), default=None),
        sum(t.unnamed_files for t in tables),
    )


def fingerprint(table: FaceTable) -> str:
    """A short text that changes with the pictures of a table, where they lie, and the faces on them."""
    digest = hashlib.blake2b(digest_size=8)
    for path in table.files.path:
        digest.update(os.fsencode(path) + b"\0")
    for column in (table.files.content, table.files.outcome, table.faces.file_index, table.faces.face_index):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def relocate(table: FaceTable, places: Mapping[str, str]) -> FaceTable:
    """`table` with pictures at other places: `places` maps paths that it may hold to new ones. The same table
    where it holds none of them."""
    paths = [places.get(path, path) for path in table.files.path]
    if paths == list(table.files.path):
        return table
    order = np.array(sorted(range(len(paths)), key=lambda i: os.fsencode(paths[i])), np.int64)
    new_index = np.empty(len(paths), np.int64)
    new_index[order] = np.arange(len(paths))
    moved = new_index[table.faces.file_index]
    rows = np.lexsort((table.faces.face_index, moved))
    faces = dataclasses.replace(table.faces.take(rows), file_index=moved[rows])
    files = dataclasses.replace(table.files, path=paths).take(order)
    return dataclasses.replace(table, embeddings=table.embeddings[rows], faces=faces, files=files)


def _one_per_path(files: Files, faces: Faces, file_index: Int64, embeddings: Float32) -> Int64:
    """The rows of `files` to keep, one per path, sorted by path; their choice rests on content alone."""
    by_file = np.argsort(file_index, kind="stable")
    starts = np.searchsorted(file_index[by_file], np.arange(len(files) + 1))

    def rank(i: int) -> tuple[Any, ...]:
        rows = by_file[starts[i] : starts[i + 1]]
        content = _content(files, [i]), embeddings[rows].tobytes(), _content(faces, rows)
        return len(rows) == 0, -files.mtime_ns[i], content

    paths = [os.fsencode(path) for path in files.path]
    by_path = groupby(sorted(range(len(paths)), key=paths.__getitem__), key=paths.__getitem__)
    groups = (list(group) for _, group in by_path)
    return np.array([min(group, key=rank) if len(group) > 1 else group[0] for group in groups], np.int64)


def _content(columns: Columns, rows: Any) -> list[Any]:
    """The values of some rows in a form that can be ordered."""
    values = [getattr(columns, s.name) for s in columns.specs() if s.name != "file_index"]
    return [v[rows].tobytes() if isinstance(v, np.ndarray) else [v[row] for row in rows] for v in values]


def _check_spaces(tables: Sequence[FaceTable], names: Sequence[str]) -> None:
    known = [(t, name) for t, name in zip(tables, names, strict=True) if t.stamp or len(t)]
    spaces = [table.stamp.space if table.stamp else table.embeddings.shape[1] for table, _ in known]
    for (table, name), space in zip(known, spaces, strict=True):
        if space != spaces[0]:
            first, first_name = known[0]
            raise SpaceMismatchError(
                f"{first_name} ({describe(first)}) and {name} ({describe(table)}) hold embeddings of "
                "different models, which cannot be compared: embed one of them again with the other's --pack"
            )


def describe(table: FaceTable) -> str:
    """The table's embedder in a few words, for messages."""
    dim = table.embeddings.shape[1]
    return f"pack {printable(table.stamp.pack)}, {dim}-d" if table.stamp else f"no stamp, {dim}-d"
