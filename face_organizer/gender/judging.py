"""From the faces of a table to what a network says of them: one decode per picture, no detection, in threads.

A thread reads a chunk of pictures, cuts their faces and has them judged together; threads share the models,
of which each device has one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from face_organizer.errors import ImageError, ModelMissingError, UsageError
from face_organizer.gender.deepface import deepface
from face_organizer.gender.embedded import embedded
from face_organizer.gender.insightface import insightface
from face_organizer.gender.journal import key_of
from face_organizer.gender.models import GenderModel, Judged, from_json, judged, to_json
from face_organizer.geometry import align
from face_organizer.machine import in_order
from face_organizer.media import images, video
from face_organizer.networks.devices import Device
from face_organizer.types import Faces, FaceTable, Image, Outcome

MODELS = {"embedded": embedded, "insightface": insightface, "deepface": deepface}
"""In the order in which `auto` takes them: the first is the one whose accuracy was measured (docs/gender.md),
is free for any use and always comes along."""
WHY_NO_PLACE = "the table does not say where the face is; embed the picture again"


def open_model(choice: str, device: Device, *, attributes: bool = False) -> GenderModel:
    """The model of that name on `device`; `auto` is the first of `MODELS` that is installed.

    `attributes` asks for ages, and for what else the model can tell. Errors: UsageError for an unknown name,
    ModelMissingError, PackError (a file that cannot be used), DeviceError.
    """
    if choice in MODELS:
        return MODELS[choice](device, attributes)
    if choice != "auto":
        raise UsageError(f"no gender model is called {choice!r}", f"say auto, {', '.join(MODELS)}")
    missing = []
    for opener in MODELS.values():
        try:
            return opener(device, attributes)
        except ModelMissingError as error:
            missing.append(str(error))
    raise ModelMissingError("no gender model is installed: " + "; ".join(missing))


class Looked(NamedTuple):
    """`judged` has a row for each face of the table, `failed` the reason for each file that could not be
    used, `known` counts files that were judged by an earlier run."""

    judged: Judged
    failed: dict[int, str]
    known: int


def look(
    table: FaceTable,
    models: Sequence[GenderModel],
    journal: dict[str, Any],
    *,
    threads: int,
    homes: Mapping[str, str] | None = None,
    on_files: Callable[[int], object] = lambda count: None,
) -> Looked:
    """Judge every face of `table` with `models` (the same one on several devices) in so many threads.

    The answer depends on the files and the model alone. `on_files` gets the number of files done so far.
    Files that `journal` knows are not opened; others are opened where `homes` says that they lie now.
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
    on_files(known)

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
        on_files(len(found))
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
