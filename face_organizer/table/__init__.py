"""The face table on disk: one pickle, or one folder for large collections.

A pickle is the interchange file of the original scripts: a dict with `embeddings`, `image_paths`,
`no_face_count` and `total_images`, which any script may go on reading, and beside them the columns and the
stamp of this program (`table_document`). A folder `NAME.faces` holds the same as plain files, so that
embeddings are memory-mapped (`table_folder`). Neither can run code when read.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import SpaceMismatchError, TableError
from face_organizer.files import atomic_write, printable
from face_organizer.table import document, folder, safe_pickle
from face_organizer.types import Faces, FaceTable, Files, Float32, Int64, Stamp

__all__ = ["PICKLE_PROTOCOL", "describe", "merge", "read", "safe_pickle", "write"]

FOLDER_ENDING = ".faces"
PICKLE_PROTOCOL = 4  # protocol 5, written under numpy 2, does not load under numpy 1
_DAMAGES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def write(table: FaceTable, path: str | Path) -> None:
    """Write `table` to `path`: a folder where the name ends in `.faces`, else a pickle.

    Whole or not at all: until the new table is complete on disk, the old one under that name stays.
    Raises `TableError` where it cannot be written.
    """
    path = Path(path)
    try:
        if path.suffix == FOLDER_ENDING:
            folder.write(table, path)
        else:
            with atomic_write(path) as file:
                pickle.dump(document.to_document(table), file, protocol=PICKLE_PROTOCOL)
    except OSError as error:
        raise TableError(f"{printable(path)}: cannot be written: {error.strerror or error}") from error


def read(path: str | Path) -> FaceTable:
    """The table at `path`, pickle or folder; its embeddings are read-only and, from a folder, memory-mapped.

    A pickle of the original script, with its four keys alone, is accepted: what it does not tell is 'not
    known', and its embeddings are brought to unit length. Raises `TableError`, and `UnsafePickleError`
    for a pickle that names anything a table does not need.
    """
    path = Path(path)
    if path.is_dir() and path.suffix != FOLDER_ENDING and not (path / "meta.json").is_file():
        raise TableError(f"{printable(path)} is a folder and no table; embed its pictures first")
    try:
        if path.is_dir():
            return folder.read(path)
        return document.from_document(safe_pickle.load(path))
    except OSError as error:
        raise TableError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error
    except _DAMAGES as error:
        what = printable(str(error)) or type(error).__name__
        raise TableError(f"{printable(path)}: not a face table, or damaged: {what}") from error


def merge(tables: Sequence[FaceTable], names: Sequence[str]) -> FaceTable:
    """One table of all faces and files, sorted by path; the order of `tables` makes no difference.

    A file that stands in several tables is kept once: from a table where it has faces before one where it
    has none, and from the one that saw it last. One table alone is given back as it is. `names` stand for
    the tables in errors. Raises `SpaceMismatchError` for embeddings that cannot be compared.
    """
    check_spaces(tables, names)
    if len(tables) == 1:
        return tables[0]
    files = Files.concatenate([t.files for t in tables])
    faces = Faces.concatenate([t.faces for t in tables])
    embeddings = np.concatenate([t.embeddings for t in tables if len(t)] or [tables[0].embeddings])
    first_file = np.cumsum([0] + [len(t.files) for t in tables[:-1]])
    file_index = faces.file_index + np.repeat(first_file, [len(t) for t in tables])
    kept = _one_a_path(files, dataclasses.replace(faces, file_index=file_index), embeddings)
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
        min((t.stamp for t in tables if t.stamp), key=_canonical, default=None),
        sum(t.untold_files for t in tables),
    )


def _key(column: Any, rows: Any) -> Any:
    """The values of some rows, in a form that can be ordered."""
    return column[rows].tobytes() if isinstance(column, np.ndarray) else [column[row] for row in rows]


def _one_a_path(files: Files, faces: Faces, embeddings: Float32) -> Int64:
    """The rows of `files` to keep, one a path, sorted by path; their choice rests on content alone."""
    by_file = np.argsort(faces.file_index, kind="stable")
    starts = np.searchsorted(faces.file_index[by_file], np.arange(len(files) + 1))

    faceless, age = (np.diff(starts) == 0).tolist(), (-files.mtime_ns).tolist()
    of_file = [getattr(files, s.name) for s in Files.specs()]
    of_face = [embeddings, *(getattr(faces, s.name) for s in Faces.specs() if s.name != "file_index")]

    def is_better(i: int, j: int) -> bool:
        if (faceless[i], age[i]) != (faceless[j], age[j]):
            return (faceless[i], age[i]) < (faceless[j], age[j])
        return content(i) < content(j)

    def content(i: int) -> tuple[object, ...]:
        rows = by_file[starts[i] : starts[i + 1]]
        return [_key(column, [i]) for column in of_file], [_key(column, rows) for column in of_face]

    paths = [os.fsencode(p) for p in files.path]
    kept: list[int] = []
    for i in sorted(range(len(paths)), key=paths.__getitem__):
        if not kept or paths[kept[-1]] != paths[i]:
            kept.append(i)
        elif is_better(i, kept[-1]):
            kept[-1] = i
    return np.array(kept, np.int64)


def check_spaces(tables: Sequence[FaceTable], names: Sequence[str]) -> None:
    """Raise `SpaceMismatchError` unless the embeddings of all `tables` may be compared with one another."""
    told = [(t, name) for t, name in zip(tables, names, strict=True) if t.stamp or len(t)]
    for table, name in told[1:]:
        first, first_name = told[0]
        if _space(table) != _space(first):
            raise SpaceMismatchError(
                f"{first_name} ({describe(first)}) and {name} ({describe(table)}) hold embeddings of "
                "different models, which cannot be compared: embed one of them again with the other's --pack"
            )


def describe(table: FaceTable) -> str:
    """The table's embedder in a few words, for messages."""
    dim = table.embeddings.shape[1]
    return f"pack {printable(table.stamp.pack)}, {dim}-d" if table.stamp else f"no stamp, {dim}-d"


def _space(table: FaceTable) -> tuple[str, ...]:
    return table.stamp.space if table.stamp else ("no stamp", str(table.embeddings.shape[1]))


def _canonical(stamp: Stamp) -> str:
    return repr(dataclasses.asdict(stamp))
