"""What a user knows of the pictures: true boxes of faces, true genders. Its files may hold anything."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from face_organizer.errors import UsageError
from face_organizer.files import printable
from face_organizer.geometry.boxes import overlap
from face_organizer.types import Float32

IOU = 0.4
"""Least intersection over union of a found box with a true one. PASCAL VOC asks for 0.5; back ends draw the
box of one and the same face from brow to chin or from hair to neck, which alone brings it down to that."""
MAX_BYTES = 256 << 20

_WOMAN = frozenset({"woman", "female", "f", "w"})
_MAN = frozenset({"man", "male", "m"})
_KEYS = ("file", "path", "image", "filename", "person", "folder")


@dataclass(frozen=True, slots=True, eq=False)
class TrueFaces:
    """(n, 4) x1, y1, x2, y2 in pixels of the picture; (n,) whether a face may be found or not, as one likes
    (dlib's `ignore`)."""

    boxes: Float32
    ignored: Any


class Truth:
    """Values by picture, found by path, by path below the file that tells them, or by a name that is there
    once."""

    def __init__(self, values: Mapping[str, Any], beside: Path) -> None:
        self._by_path = {os.path.abspath(beside / name): value for name, value in values.items()}
        names = [os.path.basename(name) for name in values]
        self._by_name = {
            name: value
            for name, value in zip(names, values.values(), strict=True)
            if names.count(name) == 1 and name
        }

    def of(self, path: str) -> Any:
        """What is known of the picture at `path`, None where nothing is."""
        found = self._by_path.get(path)
        return found if found is not None else self._by_name.get(os.path.basename(path))


def read_boxes(path: Path) -> Truth:
    """True boxes: XML as dlib's imglab writes it, or JSON `{"picture": [[x1, y1, x2, y2], …]}`."""
    text = _bytes(path)
    try:
        values = _dlib(text) if text.lstrip()[:1] == b"<" else _json_boxes(json.loads(text))
    except (ValueError, KeyError, TypeError, expat.ExpatError, RecursionError) as error:
        raise UsageError(
            f"{printable(path)} holds no boxes ({str(error)[:120]}); XML as imglab writes it, or JSON "
            '{"picture.jpg": [[x1, y1, x2, y2]]}, is wanted'
        ) from error
    if not values:
        raise UsageError(f"{printable(path)} names no picture")
    return Truth(values, path.parent)


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"{printable(path)}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise UsageError(f"{printable(path)}: larger than {MAX_BYTES >> 20} MB")
    return path.read_bytes()


def _dlib(text: bytes) -> dict[str, TrueFaces]:
    """Read by events: nothing in it is expanded, declared entities are refused."""
    rows: dict[str, list[tuple[list[float], bool]]] = {}
    current: list[str] = []

    def begin(tag: str, attributes: dict[str, str]) -> None:
        if tag == "image":
            current[:] = [attributes["file"].replace("\\", "/")]
            rows.setdefault(current[0], [])
        elif tag == "box" and current:
            left, top, width, height = (float(attributes[key]) for key in ("left", "top", "width", "height"))
            rows[current[0]].append(
                ([left, top, left + width, top + height], attributes.get("ignore") in ("1", "true"))
            )

    def refuse(*_: Any) -> None:
        raise ValueError("it declares entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EntityDeclHandler = refuse
    parser.Parse(text, True)
    return {name: _faces([b for b, _ in found], [i for _, i in found]) for name, found in rows.items()}


def _json_boxes(tree: Any) -> dict[str, TrueFaces]:
    if not isinstance(tree, dict):
        raise ValueError("no object")
    return {str(name): _faces(boxes, [False] * len(boxes)) for name, boxes in tree.items()}


def _faces(boxes: Sequence[Sequence[float]], ignored: Sequence[bool]) -> TrueFaces:
    array = np.array(boxes, np.float32).reshape(-1, 4) if len(boxes) else np.empty((0, 4), np.float32)
    if len(array) != len(boxes) or not np.isfinite(array).all():
        raise ValueError("a box is four numbers")
    return TrueFaces(array, np.array(ignored, np.bool_))


def read_labels(path: Path) -> Truth:
    """True genders, `Woman` or `Man`: a CSV with a column gender and one of `_KEYS`.

    A person or folder stands for all pictures in the folder of that name. UsageError.
    """
    try:
        rows = list(csv.DictReader(_bytes(path).decode("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{printable(path)} is no CSV: {error}") from error
    columns = {name.strip().lower(): name for name in (rows[0] if rows else {}) if name}
    key = next((columns[k] for k in _KEYS if k in columns), None)
    if key is None or "gender" not in columns:
        raise UsageError(
            f"{printable(path)}: the columns gender and one of {', '.join(_KEYS)} are wanted; there are "
            f"{', '.join(columns) or 'none'}"
        )
    values = {}
    for row in rows:
        word = (row[columns["gender"]] or "").strip().lower()
        gender = "Woman" if word in _WOMAN else "Man" if word in _MAN else None
        if row[key] and gender:
            values[row[key].strip()] = gender
    if not values:
        raise UsageError(f"{printable(path)}: no row says Woman or Man (female, male, f, m are fine too)")
    return (
        _Folders(values, path.parent)
        if key.strip().lower() in ("person", "folder")
        else Truth(values, path.parent)
    )


class _Folders(Truth):
    def of(self, path: str) -> Any:
        return self._by_name.get(os.path.basename(os.path.dirname(path)))


def matches(found: Float32, true: TrueFaces) -> tuple[int, int, int]:
    """Found boxes (n, 4), the surest first, against true ones: right, wrong, missed.

    Each found box takes the true one that it overlaps most, if that is free and by at least `IOU`. Boxes on
    ignored faces count as nothing.
    """
    shares = overlap(found, true.boxes)
    free = np.ones(len(true.boxes), np.bool_)
    right = wrong = 0
    for row in shares:
        candidates = np.where(free, row, 0)
        best = int(candidates.argmax()) if len(row) else 0
        if len(row) and candidates[best] >= IOU:
            free[best] = False
            right += not true.ignored[best]
        elif not (len(row) and (row[true.ignored] >= IOU).any()):
            wrong += 1
    return right, wrong, int((free & ~true.ignored).sum())
