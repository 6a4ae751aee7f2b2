"""From the faces of a table to what a network says of them: one decode per picture, no detection, in threads.

A thread reads a chunk of pictures, cuts their faces and has them judged together; threads share the models,
of which each device has one.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.gender.journal import Journal
from face_organizer.gender.models import GenderModel, Judged
from face_organizer.geometry import align
from face_organizer.machine import in_order
from face_organizer.media import images, video
from face_organizer.types import Faces, FaceTable, Image, Int64, Outcome

WHY_NO_PLACE = "the table does not say where the face is; embed the picture again"
NOWHERE_ELSE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """`judged` has a row for each face of the table, `failed` the reason for each file that could not be
    used, `known` counts files that were judged by an earlier run."""

    judged: Judged
    failed: dict[int, str]
    known: int


@dataclass(frozen=True, slots=True)
class _File:
    """A file with faces: its row of `Files`, the rows of its faces, and what it is known by."""

    number: int
    rows: Int64
    key: str


def look(
    table: FaceTable,
    models: Sequence[GenderModel],
    journal: Journal,
    *,
    threads: int,
    homes: Mapping[str, str] = NOWHERE_ELSE,
    on_files: Callable[[int], object] = lambda count: None,
) -> Looked:
    """Judge every face of `table` with `models` (the same one on several devices) in so many threads.

    The answer depends on the files and the model alone. `on_files` gets the number of files done so far.
    Files that `journal` knows are not opened; others are opened where `homes` says that they lie now.
    """
    starts = np.searchsorted(table.faces.file_index, np.arange(len(table.files) + 1))
    found: list[tuple[Int64, Judged]] = []
    failed: dict[int, str] = {}
    todo: list[_File] = []
    for number in np.flatnonzero(table.files.outcome == Outcome.FACES).tolist():
        rows = np.arange(starts[number], starts[number + 1], dtype=np.int64)
        file = _File(number, rows, key_of(table, number, rows))
        known = judged_of(journal.get(file.key), len(rows))
        if known is None:
            todo.append(file)
        else:
            found.append((rows, known))
    done = counted = len(found)
    on_files(done)
    size = models[0].at_once
    chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
    work = zip(chunks, itertools.cycle(models))
    for chunk, answers in zip(
        chunks, in_order(work, lambda item: _judge(table, homes, *item), threads), strict=True
    ):
        journal.add({f.key: rows_of(a) for f, a in zip(chunk, answers, strict=True) if isinstance(a, Judged)})
        for file, answer in zip(chunk, answers, strict=True):
            if isinstance(answer, Judged):
                found.append((file.rows, answer))
            else:
                failed[file.number] = answer
        done += len(chunk)
        on_files(done)
    return Looked(_placed(found, len(table.faces)), failed, counted)


def _judge(
    table: FaceTable, homes: Mapping[str, str], chunk: Sequence[_File], model: GenderModel
) -> list[Judged | str]:
    """What `model` says of the faces of each file, judged together; or why a file cannot be used."""
    crops: list[Image | str] = []
    for file in chunk:
        try:
            faces = table.faces.take(file.rows)
            if not (np.isfinite(faces.box).all() and align.usable(faces.landmarks).all()):
                raise ImageError(Outcome.UNREADABLE, WHY_NO_PLACE)
            path = table.files.path[file.number]
            crops.append(_crops(model, homes.get(path, path), faces))
        except ImageError as error:
            crops.append(error.reason)
    good = [cut for cut in crops if not isinstance(cut, str)]
    judged = model.judge(np.concatenate(good)) if good else Judged.empty()
    parts = iter(np.split(np.arange(len(judged)), np.cumsum([len(cut) for cut in good])))
    return [cut if isinstance(cut, str) else judged.take(next(parts)) for cut in crops]


def _crops(model: GenderModel, path: str, faces: Faces) -> Image:
    """The crops of one file's faces; those of a video are on frames of their own."""
    if not video.is_video(path):
        return model.crop(images.open_source(path), faces)
    frames = (video.picture(path, float(time)) for time in faces.time)
    return np.concatenate([model.crop(f, faces.take(np.array([row]))) for row, f in enumerate(frames)])


def _placed(found: Sequence[tuple[Int64, Judged]], faces: int) -> Judged:
    """One row per face, in the table's order; those that were not judged are unknown."""
    rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in found)])
    judged = Judged.concatenate([*(judged for _, judged in found), Judged.empty(1)])
    back = np.full(faces, len(rows), np.int64)
    back[rows] = np.arange(len(rows))
    return judged.take(back)


def key_of(table: FaceTable, file: int, rows: Int64) -> str:
    """What a file's faces are known by: its name, size, time and contents, and where the faces are."""
    files, faces = table.files, table.faces
    digest = hashlib.blake2b(os.fsencode(files.path[file]), digest_size=12)
    for value in (files.bytes[file], files.mtime_ns[file], files.content[file]):
        digest.update(int(value).to_bytes(9, "little", signed=True))
    for column in (faces.box, faces.landmarks, faces.turn):
        digest.update(np.ascontiguousarray(column[rows]).tobytes())
    return digest.hexdigest()


def rows_of(judged: Judged) -> list[list[Any]]:
    """For the journal, one row per face: woman, age (None where unknown), emotion, race. Exact: float32
    survives as a double."""
    ages = [None if math.isnan(age) else age for age in judged.age.tolist()]
    columns = (judged.woman.tolist(), ages, judged.emotion, judged.race)
    return [list(row) for row in zip(*columns, strict=True)]


def judged_of(rows: Any, count: int) -> Judged | None:
    """The reverse of `rows_of`, None where these are not the rows of `count` faces."""
    try:
        woman, age, emotion, race = map(list, zip(*rows, strict=True))
        numbers = np.array(woman), np.array([math.nan if a is None else a for a in age])
        if len(woman) != count or not all(n.dtype.kind in "if" for n in numbers):
            return None
        sure, years = (n.astype(np.float32) for n in numbers)
        judged = Judged(woman=sure, age=years, emotion=emotion, race=race)
    except (TypeError, ValueError):
        return None
    return judged if ((judged.woman >= 0) & (judged.woman <= 1)).all() else None
