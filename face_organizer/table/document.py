"""A face table as one dict of plain values, and back: what the pickle holds.

`embeddings`, `image_paths`, `no_face_count` and `total_images` are the original scripts'; `faces` and
`files` hold the columns of this program and `stamp` where the embeddings come from.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from face_organizer.types import Faces, FaceTable, Files, Float32, Outcome, Stamp

FORMAT = "face-organizer 1"
_NORM_TOLERANCE = 1e-3


def to_document(table: FaceTable) -> dict[str, Any]:
    """The dict that the pickle of `table` holds."""
    return {
        "format": FORMAT,
        "embeddings": _plain(table.embeddings),
        "image_paths": table.face_paths(),
        "no_face_count": table.total_files - table.outcome_counts()[Outcome.FACES.label],
        "total_images": table.total_files,
        "faces": {s.name: _plain(getattr(table.faces, s.name)) for s in Faces.specs()},
        "files": {s.name: _plain(getattr(table.files, s.name)) for s in Files.specs()},
        "stamp": dataclasses.asdict(table.stamp) if table.stamp else None,
    }


def from_document(document: Any) -> FaceTable:
    """The table that a dict holds, this program's or the original's. Raises `ValueError` and its kin."""
    if not isinstance(document, dict) or not {"embeddings", "image_paths"} <= document.keys():
        raise ValueError("it holds no embeddings and image_paths")
    paths = document["image_paths"]
    if isinstance(paths, np.ndarray):
        paths = paths.tolist()
    if not isinstance(paths, list | tuple) or not {str}.issuperset(map(type, paths)):
        raise ValueError("image_paths must be a list of texts")
    embeddings = np.asarray(document["embeddings"], np.float32)
    if not len(paths) and embeddings.shape == (0,):
        embeddings = embeddings.reshape(0, 0)
    if embeddings.ndim != 2 or len(embeddings) != len(paths):
        raise ValueError(f"embeddings are no table of vectors (n, d) for {len(paths)} image_paths")
    if "format" in document:
        return assemble(embeddings, document.get("faces"), document.get("files"), document)
    return _foreign(embeddings, paths, document)


def assemble(embeddings: Float32, faces: Any, files: Any, document: Mapping[str, Any]) -> FaceTable:
    """The table of these columns: one that a later version added is ignored, a missing one is 'not known'."""
    if document.get("format") != FORMAT:
        raise ValueError(f"its format is {str(document.get('format'))[:40]!r}, this version reads {FORMAT!r}")
    if not isinstance(faces, dict) or not isinstance(files, dict):
        raise ValueError("it holds no columns of faces and files")
    unnamed = max(int(document.get("total_images", 0)) - len(files["path"]), 0)
    stamp = document.get("stamp")
    if stamp is not None:
        stamp = Stamp(**_known(dataclasses.fields(Stamp), stamp))
        options = json.loads(json.dumps(stamp.options))  # the same from a pickle and a folder
        stamp = dataclasses.replace(stamp, options=options)
    face_columns = Faces.empty(len(embeddings), **_known(Faces.specs(), faces))
    file_columns = Files.empty(len(files["path"]), **_known(Files.specs(), files))
    return FaceTable(embeddings, face_columns, file_columns, stamp, unnamed)


def _known(fields: Iterable[dataclasses.Field[Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields if field.name in values}


def _plain(column: Any) -> Any:
    """`column` with the one object of its dtype, and equal texts as one object: so equal tables make equal
    pickles, whether they were merged from several or not."""
    if isinstance(column, np.ndarray):
        return np.ascontiguousarray(column).view(column.dtype.str)
    one: dict[str, str] = {}
    return [one.setdefault(text, text) for text in column]


def _foreign(embeddings: Float32, paths: Sequence[str], document: Mapping[str, Any]) -> FaceTable:
    """A table of the original script: rows with paths, and counts of the other files, without names."""
    unique = sorted(set(paths), key=os.fsencode)
    row_of = {path: row for row, path in enumerate(unique)}
    unsorted = np.array([row_of[path] for path in paths], np.int64)
    order = np.argsort(unsorted, kind="stable")
    file_index = unsorted[order]
    face_index = (np.arange(len(paths)) - np.searchsorted(file_index, file_index)).astype(np.int32)
    if np.any(order[1:] < order[:-1]):
        embeddings = embeddings[order]
    total = int(document.get("total_images", len(unique) + int(document.get("no_face_count", 0))))
    faces = Faces.empty(len(paths), file_index=file_index, face_index=face_index)
    files = Files.empty(len(unique), path=unique, outcome=np.full(len(unique), Outcome.FACES, np.uint8))
    return FaceTable(_unit(embeddings), faces, files, None, max(total - len(unique), 0))


def _unit(embeddings: Float32) -> Float32:
    """`embeddings` at unit length; the same array where it is that already, so that none is held twice."""
    norms = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings))
    if bad := np.count_nonzero(~np.isfinite(norms) | (norms == 0)):
        raise ValueError(f"{bad} embeddings hold NaN or infinite values, or are zero vectors")
    if np.all(np.abs(norms - 1) < _NORM_TOLERANCE):
        return embeddings
    unit: Float32 = np.divide(embeddings, norms[:, None], dtype=np.float32)
    return unit
