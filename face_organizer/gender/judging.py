"""What a gender network is, and from the faces of a table to what it says of them: one decode per picture, no
detection, in threads, which share the models, of which each device has one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.gender.journal import key_of
from face_organizer.geometry import align
from face_organizer.machine import in_order
from face_organizer.media import images, video
from face_organizer.types import Faces, FaceTable, Float32, Image, Outcome

WHY_NO_PLACE = "the table does not say where the face is; embed the picture again"
Judged = np.recarray[Any, Any]
"""What a network says of faces, one row per face: `woman`, the probability that it is a woman's, 0 to 1 (NaN:
not looked at); `age` in years (NaN: unknown); `emotion` and `race`, DeepFace's words (empty: unknown)."""
_COLUMNS = [("woman", "f4"), ("age", "f4"), ("emotion", "U16"), ("race", "U16")]


def judged(woman: Any, **more: Any) -> Judged:
    """Rows of these columns; those that are not given are unknown."""
    rows = np.zeros(len(woman), _COLUMNS).view(np.recarray)
    for name, values in {"woman": woman, "age": np.nan, **more}.items():
        rows[name] = values
    return rows


def to_json(rows: Judged) -> list[list[Any]]:
    """One list per face, exact: float32 survives as a double. An unknown age is None."""
    return [[woman, age if age == age else None, *words] for woman, age, *words in rows.tolist()]


def from_json(value: Any, count: int) -> Judged | None:
    """What `to_json` got, of `count` faces; None where `value` is something else."""
    try:
        rows = np.array([tuple(row) for row in value], _COLUMNS).view(np.recarray)
    except (TypeError, ValueError, OverflowError):
        return None
    return rows if len(rows) == count and bool(((rows.woman >= 0) & (rows.woman <= 1)).all()) else None


@dataclass(frozen=True, slots=True, eq=False)
class GenderModel:
    """A gender network on a device. Its functions may be called from several threads at once.

    `name` is what `--model` calls it; `description` says what it is and where it lies; `identity`, stamped on
    results, what makes answers comparable: hash of the weights, preprocessing. `matrices` are (n, 2, 3) from
    pixels of the picture to those of the `size`-pixel crop of each face; `ask` gives what the network says of
    n ≥ 1 crops. `at_once` faces are best judged together; an answer below `min_confidence`, 0.5 to 1, is
    better not believed. `finish` is done to the crops of the faces.
    """

    name: str
    description: str
    licence: str
    identity: str
    size: int
    matrices: Callable[[Faces], Float32]
    ask: Callable[[Image], Judged]
    at_once: int = 32
    min_confidence: float = 0.9
    finish: Callable[[Image, Faces], object] = lambda crops, faces: None
    close: Callable[[], object] = lambda: None

    def crop(self, source: images.Shrinkable, faces: Faces) -> Image:
        """(n, size, size, 3) RGB uint8, the n `faces` of one picture cut as the network wants them; it is
        decoded once, as large as the smallest face needs it. Raises `ImageError`."""
        matrices = self.matrices(faces)
        crops = np.empty((len(matrices), self.size, self.size, 3), np.uint8)
        for i in np.argsort(-np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])):  # the finest first
            crops[i] = align.cut(source, matrices[i], self.size)
        self.finish(crops, faces)
        return crops

    def judge(self, crops: Image) -> Judged:
        """What the network says of n ≥ 0 crops. A face's answer does not depend on the others."""
        return self.ask(crops) if len(crops) else judged([])


def around(boxes: Float32, margin: float, clockwise: Any, size: int) -> Float32:
    """(n, 2, 3) matrices that bring the middle of each of (n, 4) `boxes` to that of a `size`-pixel crop, its
    longer side to `size` / `margin` pixels, and turn back `clockwise` degrees."""
    scale = size / ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * margin)
    middle = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) @ np.array([0.5, 0.5j])
    turn = scale * np.exp(-1j * np.radians(clockwise.astype(np.float64)))
    shift = (1 + 1j) * size / 2 - turn * middle
    rows = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], np.float32)
    return np.ascontiguousarray(rows.transpose(2, 0, 1))


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
    whole, keys = judged(np.full(len(table), np.nan)), {}
    todo, failed = list[int](), dict[int, str]()
    for i, own in rows.items():
        numbers = files.bytes[i], files.mtime_ns[i], files.content[i]
        keys[i] = key_of(files.path[i], numbers, faces.box[own], faces.landmarks[own], faces.turn[own])
        past = from_json(journal.get(keys[i]), len(own))
        if past is None:
            todo.append(i)
        else:
            whole[own] = past
    known = done = len(rows) - len(todo)
    tell("judge", done, len(rows))

    def judge(work: tuple[Sequence[int], GenderModel]) -> list[Judged | str]:
        chunk, model = work
        places = [(homes or {}).get(files.path[i], files.path[i]) for i in chunk]
        return _judge(model, places, [faces.take(rows[i]) for i in chunk])

    size = models[0].at_once
    chunks = [todo[i : i + size] for i in range(0, len(todo), size)]
    work = zip(chunks, itertools.cycle(models))
    for chunk, answers in zip(chunks, in_order(work, judge, threads), strict=True):
        for i, answer in zip(chunk, answers, strict=True):
            if isinstance(answer, str):
                failed[i] = answer
            else:
                whole[rows[i]], journal[keys[i]] = answer, to_json(answer)
        done += len(chunk)
        tell("judge", done, len(rows))
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
