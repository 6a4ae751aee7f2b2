"""What was judged so far, on disk as it goes: a killed run goes on from here, and another `--min-confidence`
or `--mode` asks no network again."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.gender import Judged
from face_organizer.types import FaceTable

NAME = "gender.jsonl"
_LONGEST = 1 << 20  # bytes of a line; a file of more faces than that holds none of ours


def key_of(table: FaceTable, file: int, rows: np.ndarray[Any, Any]) -> str:
    """What a file's faces are known by: its name, size, time and contents, and where the faces are."""
    files, faces = table.files, table.faces
    digest = hashlib.blake2b(os.fsencode(files.path[file]), digest_size=12)
    for value in (files.bytes[file], files.mtime_ns[file], files.content[file]):
        digest.update(int(value).to_bytes(9, "little", signed=True))
    for column in (faces.box, faces.landmarks, faces.turn):
        digest.update(np.ascontiguousarray(column[rows]).tobytes())
    return digest.hexdigest()


class Journal:
    """One line a file, after a first line that says which model judged. Lines that are damaged (the last one
    of a killed run) or of another model count as not there. To be used in a `with` block."""

    def __init__(self, path: Path, stamp: Mapping[str, Any]) -> None:
        self._path = path
        self._stamp = json.dumps({"face_organizer_gender": 1, **stamp}, sort_keys=True)
        self._known = _read(path, self._stamp)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._known:
            self._file = open(path, "ab")  # noqa: SIM115
            self._file.write(b"\n")  # ends a line that a kill cut off
        else:
            self._file = open(path, "wb")  # noqa: SIM115
            self._file.write(self._stamp.encode("ascii") + b"\n")
        self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def known(self, key: str, faces: int) -> Judged | None:
        """What was said of the `faces` faces of a file; None where that is not known."""
        rows = self._known.get(key)
        return judged_of(rows) if rows is not None and len(rows) == faces else None

    def add(self, answers: Sequence[tuple[str, Judged]]) -> None:
        """Remember some files, each by its key."""
        lines = [json.dumps([key, rows_of(judged)], separators=(",", ":")) for key, judged in answers]
        if lines:
            self._file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
            self._file.flush()


def rows_of(judged: Judged) -> list[list[Any]]:
    """A row a face: woman, age (None where not known), emotion, race. Exact: float32 survives as a double."""
    return [
        [float(w), None if math.isnan(a) else float(a), e, r]
        for w, a, e, r in zip(judged.woman, judged.age, judged.emotion, judged.race, strict=True)
    ]


def judged_of(rows: Sequence[Sequence[Any]]) -> Judged:
    """The reverse of `rows_of`."""
    return Judged(
        woman=np.array([row[0] for row in rows], np.float32),
        age=np.array([math.nan if row[1] is None else row[1] for row in rows], np.float32),
        emotion=[row[2] for row in rows],
        race=[row[3] for row in rows],
    )


def _read(path: Path, stamp: str) -> dict[str, list[list[Any]]]:
    known: dict[str, list[list[Any]]] = {}
    try:
        with open(path, "rb") as file:
            if file.readline(_LONGEST).strip() != stamp.encode("ascii"):
                return {}
            while line := file.readline(_LONGEST):
                try:
                    key, rows = json.loads(line)
                except (ValueError, TypeError, RecursionError):
                    continue
                if isinstance(key, str) and isinstance(rows, list) and all(map(_is_row, rows)):
                    known[key] = rows
    except FileNotFoundError:
        pass
    return known


def _is_row(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != 4:
        return False
    woman, age, emotion, race = row
    numbers = isinstance(woman, float | int) and (age is None or isinstance(age, float | int))
    return numbers and 0 <= woman <= 1 and isinstance(emotion, str) and isinstance(race, str)
