"""Where the faces come from that are judged: tables, and pictures that no table holds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer import table
from face_organizer.deepface import Area, open_detector
from face_organizer.embed import embed
from face_organizer.embed.events import Event, Made, Planned, Progress, Report, Warned
from face_organizer.embed.pictures import Picture, choose, files_of
from face_organizer.embed.setup import EmbedOptions
from face_organizer.errors import FaceOrganizerError, ImageError
from face_organizer.files import printable
from face_organizer.gender.journal import Journal, key_of
from face_organizer.geometry import align
from face_organizer.machine import in_order
from face_organizer.media import images
from face_organizer.networks.child import Child
from face_organizer.networks.devices import Device
from face_organizer.types import Detections, Faces, FaceTable, Files, Float32

OnProgress = Callable[[str, int, int], object]
OnWarning = Callable[[str], object]


def merged(tables: Sequence[FaceTable | str | Path]) -> FaceTable:
    """The faces of some tables, whatever embedded them, without their embeddings. Raises
    `FaceOrganizerError` for one that does not know where its faces are."""
    read = [_bare(Faces.empty(), Files.empty())]
    for one in tables:
        whole = one if isinstance(one, FaceTable) else table.read(one)
        if len(whole) and not np.isfinite(whole.faces.landmarks).any():
            name = "a table" if isinstance(one, FaceTable) else printable(one)
            why = f"{name} does not say where the faces are on their pictures (it is not of this program)"
            raise FaceOrganizerError(why, "embed them again, or give their folders instead")
        read.append(_bare(whole.faces, whole.files, whole.unnamed_files))
    return table.merge(read[1:] or read)


def _bare(faces: Faces, files: Files, unnamed: int = 0) -> FaceTable:
    """Without embeddings and stamp: whatever embedded a face, its place is its place."""
    return FaceTable(np.empty((len(faces), 0), np.float32), faces, files, None, unnamed)


def completed(
    known: FaceTable, homes: Mapping[str, str], find: Callable[[Sequence[str]], FaceTable]
) -> tuple[FaceTable, FaceTable]:
    """The table of the pictures of `homes`, of which each lies at its value now: from the `known` one where
    it holds them, else by `find`; and what that found."""
    known = known.take_files(np.array([path in homes for path in known.files.path], np.bool_))
    now = {homes[path]: path for path in homes.keys() - set(known.files.path)}
    found = find(sorted(now, key=os.fsencode)) if now else _bare(Faces.empty(), Files.empty())
    files = dataclasses.replace(found.files, path=[now[path] for path in found.files.path])
    return table.merge([known, _bare(found.faces, files)]), found


def by_pack(
    paths: Sequence[str], place: Path, faces: str, tell: OnProgress, *, warn: OnWarning, **options: Any
) -> FaceTable:
    """The `faces` on each of `paths` (sorted), "largest" or "all", as `embed` finds them with its `options`.
    They are kept in `place`. Raises as `embed`."""
    done = 0

    def on_event(event: Event) -> None:
        nonlocal done
        if isinstance(event, Planned | Progress):
            done += event.pictures - (event.left if isinstance(event, Planned) else 0)
            tell("find", done, len(paths))
        elif isinstance(event, Warned):
            warn(event.text)
        elif isinstance(event, Made):
            for note in event.report.notes:
                warn(note)

    options |= {"replace": True, "faces": faces, "on_event": on_event}
    return embed(paths, place / "faces.pkl", **options)


def by_detector(
    paths: Sequence[str], place: Path, faces: str, tell: OnProgress, name: str, device: Device, threads: int
) -> FaceTable:
    """As `by_pack`, with DeepFace's detector `name`, which takes pictures one by one, as DeepFace does;
    threads read them. Raises as `deepface.open_detector`."""
    pictures = [Picture.at(path) for path in paths]
    keys = [key_of(picture.path, (picture.bytes, picture.mtime_ns)) for picture in pictures]
    with Journal(place / "found.jsonl", {"detector": name}) as journal, ExitStack() as processes:
        todo = [i for i, picture in enumerate(pictures) if not _take(picture, journal.get(keys[i]))]
        tell("find", len(paths) - len(todo), len(paths))
        if todo:
            child = processes.enter_context(Child(open_detector, name, device, name="DeepFace's"))
        looked = in_order(todo, lambda i: _look(pictures[i], child), threads)
        for left, (i, value) in enumerate(zip(todo, looked, strict=True), 1 - len(todo)):
            if _take(pictures[i], value):
                journal[keys[i]] = value
            tell("find", len(paths) + left, len(paths))
    choose(pictures, EmbedOptions(faces=faces, min_face_size=1), Report())
    found = Detections.concatenate([picture.found for picture in pictures])
    places = [(i, k) for i, picture in enumerate(pictures) for k in range(len(picture.found))]
    index = np.array(places, np.int64).reshape(-1, 2)
    known = {"file_index": index[:, 0], "face_index": index[:, 1].astype(np.int32), "score": found.scores}
    rows = Faces.empty(len(found), box=found.boxes, landmarks=found.landmarks, **known)
    return _bare(rows, files_of(pictures))


def _look(picture: Picture, child: Child) -> list[Any] | None:
    """For the journal: content, width and height of the picture, and 15 numbers for each face on it. None for
    a picture that cannot be used."""
    try:
        source = images.open_source(picture.path)
        areas: Sequence[Area] = child.ask(source.pixels()[0])
    except ImageError as error:
        picture.fails(error)
        return None
    rows = [[*area.box, area.score or 0, *landmarks_of(area).ravel().tolist()] for area in areas]
    return [source.content, source.width, source.height, rows]


def landmarks_of(area: Area) -> Float32:
    """(5, 2) landmarks: those that the detector found, else about where eyes are in such boxes."""
    found = align.about_eyes(align.eyes_in(area.box)) if area.landmarks is None else area.landmarks
    return found.astype(np.float32)


def _take(picture: Picture, value: Any) -> bool:
    """Put into `picture` what `_look` saw on it; False where `value` is something else."""
    try:
        content, width, height, rows = value
        numbers = np.array(rows, np.float32).reshape(-1, 15)
        picture.content, picture.width, picture.height = map(int, (content, width, height))
    except (TypeError, ValueError, OverflowError):
        return False
    faces = Detections(numbers[:, :4], numbers[:, 4], numbers[:, 5:].reshape(-1, 5, 2))
    picture.seen = dataclasses.replace(picture.seen, faces=faces)
    return True
