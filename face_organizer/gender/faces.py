"""Where the faces come from that are judged: tables, and pictures that no table holds."""

from __future__ import annotations

import dataclasses
import hashlib
import operator
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
from face_organizer.geometry.boxes import prominence
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
        if self.detector:
            return f"DeepFace's detector {self.detector}"
        return f"pack {packs.resolve(self.pack).name}"

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
            todo = [picture for picture in pictures if _parsed(journal.get(_key(picture))) is None]
            done = len(paths) - len(todo)
            on_progress(done)
            if todo:
                with detector(name, self.devices[0]) as child:
                    looked = in_order(todo, lambda picture: _look(picture, child), self.threads)
                    for picture, value in zip(todo, looked, strict=True):
                        journal.add({_key(picture): value} if value else {})
                        on_progress(done := done + 1)
            known = [_parsed(journal.get(_key(picture))) for picture in pictures]
        faces = Faces.concatenate(
            [_faces(i, pictures[i], *value, self.every) for i, value in enumerate(known) if value]
        )
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


def _key(picture: Picture) -> str:
    """What a picture is known by: name, size, time."""
    digest = hashlib.blake2b(os.fsencode(picture.path), digest_size=12)
    digest.update(f" {picture.bytes} {picture.mtime_ns}".encode())
    return digest.hexdigest()


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
    if area.landmarks is not None:
        return area.landmarks
    return align.about_eyes(align.eyes_in(area.box)).astype(np.float32)


def _parsed(value: Any) -> tuple[int, int, int, Float32] | None:
    """What `_look` returned, as numbers; None where this is something else."""
    try:
        content, width, height, rows = value
        numbers = np.array(rows, np.float32).reshape(-1, 15)
        return operator.index(content), operator.index(width), operator.index(height), numbers
    except (TypeError, ValueError):
        return None


def _faces(
    number: int, picture: Picture, content: int, width: int, height: int, numbers: Float32, every: bool
) -> Faces:
    """The rows of a picture's faces, the main one first."""
    picture.content, picture.width, picture.height = content, width, height
    picture.outcome = Outcome.FACES if len(numbers) else Outcome.NO_FACE
    order = np.argsort(-prominence(numbers[:, :4], width, height), kind="stable")
    numbers = numbers[order if every else order[:1]]
    boxes, landmarks = numbers[:, :4], numbers[:, 5:].reshape(-1, 5, 2)
    return Faces.empty(
        len(numbers),
        file_index=np.full(len(numbers), number, np.int64),
        face_index=np.arange(len(numbers), dtype=np.int32),
        box=boxes,
        landmarks=landmarks,
        score=numbers[:, 4],
        size=quality.size(boxes),
        roll=align.roll(landmarks),
    )
