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
    files = np.flatnonzero(table.files.outcome == Outcome.FACES).tolist()
    ends = np.searchsorted(table.faces.file_index, np.arange(len(table.files) + 1))
    rows = {file: np.arange(ends[file], ends[file + 1], dtype=np.int64) for file in files}
    keys = {file: key_of(table, file, rows[file]) for file in files}
    todo = [file for file in files if not is_answer(journal.get(keys[file]), len(rows[file]))]
    done = known = len(files) - len(todo)
    on_files(done)
    failed: dict[int, str] = {}

    def judge(work: tuple[Sequence[int], GenderModel]) -> list[Judged | str]:
        chunk, model = work
        places = [homes.get(table.files.path[file], table.files.path[file]) for file in chunk]
        return _judge(model, places, [table.faces.take(rows[file]) for file in chunk])

    size = models[0].at_once
    chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
    work = zip(chunks, itertools.cycle(models))
    for chunk, answers in zip(chunks, in_order(work, judge, threads), strict=True):
        told = dict(zip(chunk, answers, strict=True))
        failed |= {file: answer for file, answer in told.items() if isinstance(answer, str)}
        journal.add({keys[file]: rows_of(a) for file, a in told.items() if isinstance(a, Judged)})
        done += len(chunk)
        on_files(done)
    unknown = rows_of(Judged.empty(1))
    found = [unknown * len(rows[file]) if file in failed else journal.get(keys[file]) for file in files]
    return Looked(judged_of([row for answer in found for row in answer]), failed, known)


def _judge(model: GenderModel, paths: Sequence[str], faces: Sequence[Faces]) -> list[Judged | str]:
    """What `model` says of the `faces` of each file, judged together; or why a file cannot be used."""
    crops: list[Image | str] = []
    for path, some in zip(paths, faces, strict=True):
        try:
            if not (np.isfinite(some.box).all() and align.usable(some.landmarks).all()):
                raise ImageError(Outcome.UNREADABLE, WHY_NO_PLACE)
            crops.append(_crops(model, path, some))
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


def judged_of(rows: Sequence[Sequence[Any]]) -> Judged:
    """The reverse of `rows_of`."""
    return Judged(
        woman=np.array([row[0] for row in rows], np.float32),
        age=np.array([math.nan if row[1] is None else row[1] for row in rows], np.float32),
        emotion=[row[2] for row in rows],
        race=[row[3] for row in rows],
    )


def is_answer(rows: Any, count: int) -> bool:
    """Whether this is what `rows_of` returns for `count` faces."""

    def is_row(row: Any) -> bool:
        types = [type(value) for value in row] if isinstance(row, list) else []
        fit = types[2:] == [str, str] and types[0] in (float, int) and types[1] in (float, int, type(None))
        return fit and 0 <= row[0] <= 1

    return isinstance(rows, list) and len(rows) == count and all(map(is_row, rows))
