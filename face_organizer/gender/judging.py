"""From the faces of a table to what a network says of them: one decode per picture, no detection, in threads.

A thread reads a chunk of pictures, cuts their faces and has them judged together; threads share the models,
of which each device has one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.gender.journal import key_of
from face_organizer.gender.models import GenderModel, Judged, from_json, judged, to_json
from face_organizer.geometry import align
from face_organizer.machine import in_order
from face_organizer.media import images, video
from face_organizer.types import Faces, FaceTable, Image, Outcome

WHY_NO_PLACE = "the table does not say where the face is; embed the picture again"


class Looked(NamedTuple):
    """A row for each face, why files could not be used, and how many files an earlier run has judged."""

    judged: Judged
    failed: dict[int, str]
    known: int


def look(
    table: FaceTable,
    models: Sequence[GenderModel],
    journal: dict[str, Any],
    threads: int,
    homes: Mapping[str, str] | None = None,
    tell: Callable[[str, int, int], object] = lambda stage, done, total: None,
) -> Looked:
    """Judge every face of `table` with `models` (the same one on several devices) in so many threads.

    The answer depends on the files and the model alone. `tell` gets "judge", the files done so far and their
    number. Files that `journal` knows are not opened; others are opened where `homes` says that they lie now.
    """
    files, faces = table.files, table.faces
    ends = np.searchsorted(faces.file_index, np.arange(len(files) + 1))
    rows = {i: np.arange(*ends[i : i + 2]) for i in np.flatnonzero(files.outcome == Outcome.FACES).tolist()}
    keys, found = {}, dict[int, Judged | str]()
    for i, own in rows.items():
        numbers = files.bytes[i], files.mtime_ns[i], files.content[i]
        keys[i] = key_of(files.path[i], numbers, faces.box[own], faces.landmarks[own], faces.turn[own])
        if (past := from_json(journal.get(keys[i]), len(own))) is not None:
            found[i] = past
    known, todo = len(found), [i for i in rows if i not in found]
    tell("judge", known, len(rows))

    def judge(work: tuple[Sequence[int], GenderModel]) -> list[Judged | str]:
        chunk, model = work
        places = [(homes or {}).get(files.path[i], files.path[i]) for i in chunk]
        return _judge(model, places, [faces.take(rows[i]) for i in chunk])

    size = models[0].at_once
    chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
    work = zip(chunks, itertools.cycle(models))
    for chunk, answers in zip(chunks, in_order(work, judge, threads), strict=True):
        for i, answer in zip(chunk, answers, strict=True):
            found[i] = answer
            if not isinstance(answer, str):
                journal[keys[i]] = to_json(answer)
        tell("judge", len(found), len(rows))
    whole, failed = judged(np.full(len(table), np.nan)), {}
    for i, answer in found.items():
        if isinstance(answer, str):
            failed[i] = answer
        else:
            whole[rows[i]] = answer
    return Looked(whole, failed, known)


def _judge(model: GenderModel, paths: Sequence[str], faces: Sequence[Faces]) -> list[Judged | str]:
    """What `model` says of the `faces` of each file, judged together; or why a file cannot be used."""
    crops: list[Image | str] = []
    for path, some in zip(paths, faces, strict=True):
        try:
            placed = np.isfinite(some.box).all() and align.usable(some.landmarks).all()
            crops.append(_crops(model, path, some) if placed else WHY_NO_PLACE)
        except ImageError as error:
            crops.append(error.reason)
    good = [cut for cut in crops if not isinstance(cut, str)]
    answers: Any = model.judge(np.concatenate(good)) if good else judged([])
    ends = iter(itertools.accumulate(map(len, good)))
    return [cut if isinstance(cut, str) else answers[(end := next(ends)) - len(cut) : end] for cut in crops]


def _crops(model: GenderModel, path: str, faces: Faces) -> Image:
    """The crops of one file's faces; those of a video are on frames of their own."""
    if not video.is_video(path):
        return model.crop(images.open_source(path), faces)
    frames = (video.picture(path, float(time)) for time in faces.time)
    return np.concatenate([model.crop(f, faces.take(np.array([row]))) for row, f in enumerate(frames)])
