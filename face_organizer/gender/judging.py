"""From the faces of a table to what a network says of them: one decode a picture, no detection, in lanes.

A lane is a thread that reads pictures, cuts their faces and judges them in batches; several lanes share a
model, each model has a device of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.gender import GenderModel, Judged
from face_organizer.gender.journal import Journal, key_of
from face_organizer.geometry import align
from face_organizer.machine import in_order
from face_organizer.media import images, video
from face_organizer.types import Faces, FaceTable, Image, Int64, Outcome

WHY_UNTOLD = "the table does not tell where the face is; embed the picture again"


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """`judged` has a row for each face of the table, `failed` the reason for each file that could not be
    used, `known` counts files that were judged by an earlier run."""

    judged: Judged
    failed: dict[int, str]
    known: int


@dataclass(slots=True)
class _Part:
    """Some files with faces: row of `Files`, key, rows of `Faces`; and what came of them."""

    files: list[tuple[int, str, Int64]]
    answers: list[Judged | None] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def look(
    table: FaceTable,
    models: Sequence[GenderModel],
    journal: Journal | None,
    *,
    lanes: int,
    on_files: Callable[[int], object] = lambda count: None,
) -> Looked:
    """Judge every face of `table` with `models` (the same one on several devices) in `lanes` threads.

    The answer depends on the files and the model alone. `on_files` gets numbers of files done. Files that
    `journal` knows are not opened.
    """
    starts = np.searchsorted(table.faces.file_index, np.arange(len(table.files) + 1))
    found: list[tuple[Int64, Judged]] = []
    failed: dict[int, str] = {}
    todo: list[tuple[int, str, Int64]] = []
    for file in np.flatnonzero(table.files.outcome == Outcome.FACES).tolist():
        rows = np.arange(starts[file], starts[file + 1], dtype=np.int64)
        key = key_of(table, file, rows)
        known = journal.known(key, len(rows)) if journal else None
        if known is not None:
            found.append((rows, known))
        else:
            todo.append((file, key, rows))
    counted = len(found)
    on_files(counted)
    at_once = models[0].at_once
    parts = [_Part(todo[i : i + at_once]) for i in range(0, len(todo), at_once)]
    work = zip(parts, itertools.cycle(models))
    for part in in_order(work, lambda item: _judge(item[0], table, item[1]), lanes):
        whole = []
        for (file, key, rows), judged, reason in zip(part.files, part.answers, part.reasons, strict=True):
            if judged is None:
                failed[file] = reason
            else:
                found.append((rows, judged))
                whole.append((key, judged))
        if journal:
            journal.add(whole)
        on_files(len(part.files))
    return Looked(_placed(found, len(table.faces)), failed, counted)


def _judge(part: _Part, table: FaceTable, model: GenderModel) -> _Part:
    """Read the files of `part`, cut their faces and judge them together."""
    crops = []
    for file, _, rows in part.files:
        reason, cut = "", None
        try:
            faces = table.faces.take(rows)
            if not (np.isfinite(faces.box).all() and align.usable(faces.landmarks).all()):
                raise ImageError(Outcome.UNREADABLE, WHY_UNTOLD)
            cut = _crops(model, table.files.path[file], faces)
        except ImageError as error:
            reason = error.reason
        crops.append(cut)
        part.reasons.append(reason)
    good = [cut for cut in crops if cut is not None]
    judged = model.judge(np.concatenate(good)) if good else Judged.empty()
    start = 0
    for cut in crops:
        count = 0 if cut is None else len(cut)
        part.answers.append(None if cut is None else judged.take(np.arange(start, start + count)))
        start += count
    return part


def _crops(model: GenderModel, path: str, faces: Faces) -> Image:
    """The crops of one file's faces; those of a video are on frames of their own."""
    if not video.is_video(path):
        return model.crop(images.open_source(path), faces)
    return np.concatenate(
        [
            model.crop(video.picture(path, float(time)), faces.take(np.array([row])))
            for row, time in enumerate(faces.time)
        ]
    )


def _placed(found: Sequence[tuple[Int64, Judged]], faces: int) -> Judged:
    """One row a face, in the table's order; those that were not judged are 'not known'."""
    rows = np.concatenate([rows for rows, _ in found]) if found else np.empty(0, np.int64)
    everything = Judged.concatenate([judged for _, judged in found])
    back = np.full(faces, len(everything), np.int64)
    back[rows] = np.arange(len(rows))
    return Judged.concatenate([everything, Judged.empty(1)]).take(back)
