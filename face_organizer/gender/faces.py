"""Where the faces come from that are judged: tables, and pictures that no table holds."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer import table
from face_organizer.deepface import Area, detector
from face_organizer.embed import embed
from face_organizer.embed.events import Event, Made, Planned, Progress, Warned
from face_organizer.embed.pictures import Picture, files_of
from face_organizer.errors import FaceOrganizerError, ImageError
from face_organizer.files import printable
from face_organizer.gender.journal import Journal
from face_organizer.geometry import align, quality
from face_organizer.geometry.main_face import prominence
from face_organizer.machine import in_order
from face_organizer.media import images
from face_organizer.networks import packs
from face_organizer.networks.child import Child
from face_organizer.networks.devices import Device
from face_organizer.types import Faces, FaceTable, Files, Float32, Outcome


@dataclass(frozen=True, slots=True)
class Search:
    """How faces are looked for: with `detector`, one of DeepFace's, else with a `pack`; the main one of each
    picture, or `every` one; by so many `threads` on each device. What is found is kept in `place`."""

    pack: str
    detector: str | None
    device: str | None
    devices: Sequence[Device]
    threads: int
    every: bool
    place: Path
    warn: Callable[[str], object]

    @property
    def name(self) -> str:
        """What looks, in words."""
        return (
            f"DeepFace's detector {self.detector}"
            if self.detector
            else f"pack {packs.resolve(self.pack).name}"
        )

    def find(self, paths: Sequence[str], on_progress: Callable[[int], object]) -> FaceTable:
        """The faces in `paths` (sorted), without embeddings, those that an earlier run found too.

        `on_progress` gets the number of pictures done so far. Raises as `embed`, or `deepface.detector`.
        """
        if self.detector:
            return self._by_deepface(paths, self.detector, on_progress)
        done = 0

        def on_event(event: Event) -> None:
            nonlocal done
            if isinstance(event, Planned | Progress):
                done += event.pictures - (event.left if isinstance(event, Planned) else 0)
                on_progress(done)
            elif isinstance(event, Warned):
                self.warn(event.text)
            elif isinstance(event, Made):
                for note in event.report.notes:
                    self.warn(note)

        made = embed(
            paths,
            self.place / "faces.pkl",
            pack=self.pack,
            device=self.device,
            workers=self.threads,
            faces="all" if self.every else "largest",
            replace=True,
            on_event=on_event,
        )
        return bare(made)

    def _by_deepface(
        self, paths: Sequence[str], name: str, on_progress: Callable[[int], object]
    ) -> FaceTable:
        """The detector takes pictures one by one, as DeepFace does; threads read them. A picture in which it
        finds nothing has no face."""
        pictures = [Picture.at(path) for path in paths]
        with Journal(self.place / "found.jsonl", {"detector": name}) as journal:
            found = [_areas(picture, journal.get(_key(picture))) for picture in pictures]
            todo = [i for i, areas in enumerate(found) if areas is None]
            on_progress(len(paths) - len(todo))
            if todo:
                with detector(name, self.devices[0]) as child:
                    looked = in_order(todo, lambda i: _look(pictures[i], child), self.threads)
                    for left, (i, areas) in enumerate(zip(todo, looked, strict=True), 1 - len(todo)):
                        found[i] = areas
                        if pictures[i].outcome is Outcome.NO_FACE:
                            journal.add({_key(pictures[i]): _value(pictures[i], areas)})
                        on_progress(len(paths) + left)
        rows = [_faces(i, picture, found[i] or (), self.every) for i, picture in enumerate(pictures)]
        faces = Faces.concatenate([row for row in rows if row])
        return FaceTable(np.empty((len(faces), 0), np.float32), faces, files_of(pictures), None)


def merged(tables: Sequence[FaceTable | str | Path]) -> FaceTable:
    """The faces of some tables, whatever embedded them, without their embeddings.

    Raises `FaceOrganizerError` for one that does not know where its faces are.
    """
    names = [printable(one) if isinstance(one, str | Path) else "a table" for one in tables]
    read = [one if isinstance(one, FaceTable) else table.read(Path(one)) for one in tables]
    for one, name in zip(read, names, strict=True):
        if len(one) and not np.isfinite(one.faces.landmarks).any():
            raise FaceOrganizerError(
                f"{name} does not say where the faces are on their pictures (it is not of this program)",
                "embed them again, or give their folders instead",
            )
    nothing = FaceTable(np.empty((0, 0), np.float32), Faces.empty(), Files.empty(), None)
    return table.merge([bare(one) for one in read] or [nothing], names or [""])


def bare(whole: FaceTable) -> FaceTable:
    """Without embeddings and stamp: whatever embedded a face, its place is its place."""
    return dataclasses.replace(whole, embeddings=np.empty((len(whole), 0), np.float32), stamp=None)


def _look(picture: Picture, child: Child) -> Sequence[Area]:
    try:
        source = images.open_source(picture.path)
        picture.content, picture.width, picture.height = source.content, source.width, source.height
        areas: Sequence[Area] = child.ask(source.pixels()[0])
    except ImageError as error:
        picture.fails(error)
        return ()
    return areas


def _key(picture: Picture) -> str:
    """What a picture is known by: name, size, time."""
    digest = hashlib.blake2b(os.fsencode(picture.path), digest_size=12)
    digest.update(f" {picture.bytes} {picture.mtime_ns}".encode())
    return digest.hexdigest()


def _value(picture: Picture, areas: Sequence[Area]) -> list[Any]:
    rows = [[a.box, None if a.landmarks is None else a.landmarks.tolist(), a.score] for a in areas]
    return [picture.content, picture.width, picture.height, rows]


def _areas(picture: Picture, value: Any) -> Sequence[Area] | None:
    """The reverse of `_value`; None where it is none."""
    try:
        content, width, height, rows = value
        areas = [
            Area(
                (float(x1), float(y1), float(x2), float(y2)),
                None if points is None else np.array(points, np.float32).reshape(5, 2),
                None if score is None else float(score),
            )
            for (x1, y1, x2, y2), points, score in rows
        ]
        if not isinstance(content, int) or not isinstance(width, int) or not isinstance(height, int):
            return None
    except (TypeError, ValueError):
        return None
    picture.content, picture.width, picture.height = content, width, height
    return areas


def _faces(number: int, picture: Picture, areas: Sequence[Area], every: bool) -> Faces | None:
    """The rows of a picture's faces, the main one first; None where it has none."""
    if not areas:
        return None
    picture.outcome = Outcome.FACES
    boxes = np.array([area.box for area in areas], np.float32)
    order = np.argsort(-prominence(boxes, picture.width, picture.height), kind="stable")
    order = order if every else order[:1]
    boxes, areas = boxes[order], [areas[i] for i in order]
    landmarks = np.stack([landmarks_of(area) for area in areas])
    return Faces.empty(
        len(order),
        file_index=np.full(len(order), number, np.int64),
        face_index=np.arange(len(order), dtype=np.int32),
        box=boxes,
        landmarks=landmarks,
        score=np.array([area.score or 0 for area in areas], np.float32),
        size=quality.size(boxes),
        roll=align.roll(landmarks),
    )


def landmarks_of(area: Area) -> Float32:
    """(5, 2) landmarks: those that the detector found, else about where eyes are in such boxes."""
    if area.landmarks is not None:
        return area.landmarks
    return align.about_eyes(align.eyes_in(area.box)).astype(np.float32)
