"""A face table as a folder of plain files: `meta.json` names the file of each column.

Every column is a `.npy` file. Texts are two: `NAME` holds their bytes in UTF-8, `NAME.ends` where each
ends; older tables hold them as JSON lists. A new table is written beside the old one, under names of its own,
until `meta.json` is replaced in one step. Arrays are memory-mapped, which no array of objects can be, so that
nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import tokenize
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from face_organizer.files import atomic_write, write_json
from face_organizer.table.document import FORMAT, assemble
from face_organizer.types import FaceTable, Texts

META = "meta.json"
_ENDS = ".ends"
_OURS = re.compile(
    r"\.?(embeddings|(faces|files)\.\w+(\.ends)?)-[0-9a-f]{8}\.(npy|json)(\.\w+\.part)?|\.meta\.json\.\w+\.part"
)


def write(table: FaceTable, folder: Path) -> None:
    """Write `table` into `folder`, made if need be; of what is there, only an old table's files are removed.

    Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generation = secrets.token_hex(4)
    arrays: dict[str, Any] = {"embeddings": table.embeddings}
    for group, values in (("faces", table.faces), ("files", table.files)):
        for spec in type(values).specs():
            name, column = f"{group}.{spec.name}", getattr(values, spec.name)
            if isinstance(column, np.ndarray):
                arrays[name] = column
            else:
                texts = Texts.of(column)
                arrays[name], arrays[name + _ENDS] = texts.data, texts.starts[1:]
    columns = {name: f"{name}-{generation}.npy" for name in arrays}
    stamp = dataclasses.asdict(table.stamp) if table.stamp else None
    meta = {"format": FORMAT, "total_images": table.total_files, "columns": columns, "stamp": stamp}
    try:
        for name, column in arrays.items():
            with atomic_write(folder / columns[name]) as file:
                _save(file, column)
    except BaseException:
        _remove(folder, set(columns.values()))
        raise
    write_json(folder / META, meta)
    _remove(folder, {name for name in os.listdir(folder) if _OURS.fullmatch(name)} - set(columns.values()))


def read(folder: Path) -> FaceTable:
    """The table in `folder`, its embeddings memory-mapped. Raises `OSError`, `ValueError` and its kin."""
    meta = json.loads((folder / META).read_text("ascii"))
    columns: dict[str, dict[str, Any]] = {"": {}, "faces": {}, "files": {}}
    files: dict[str, str] = meta["columns"]
    for file in files.values():
        if os.path.basename(file) != file or file in ("", ".", ".."):
            raise ValueError(f"meta.json names a file outside the folder: {file!r}")
    for name, file in files.items():
        group, _, column = name.rpartition(".")
        if group not in columns:
            continue
        columns[group][column] = _column(folder / file)
        if ends := files.get(name + _ENDS):
            columns[group][column] = Texts(columns[group][column], _column(folder / ends))
    return assemble(columns[""]["embeddings"], columns["faces"], columns["files"], meta)


def _save(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write a `.npy` as `numpy.save` does, without a copy, and with the system's own words where it fails."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


def _column(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text("ascii"))
    try:
        with warnings.catch_warnings(action="error"):
            return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except (SyntaxError, Warning, tokenize.TokenError) as error:
        raise ValueError(f"{path.name} is no array: {error}") from error


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(folder / name)
