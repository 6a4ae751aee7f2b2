"""Faces by one of DeepFace's detectors, for who wants what the original did: `--detector`.

The detector lives in DeepFace's process and takes pictures one by one, as DeepFace does; lanes read them.
A picture in which it finds nothing has no face: DeepFace's `enforce_detection=False`, which would make the
whole picture a face, is not asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from face_organizer import table
from face_organizer.deepface.child import Area, Setup
from face_organizer.deepface.process import Process, engine
from face_organizer.embed.pictures import Picture, files_of
from face_organizer.errors import ImageError
from face_organizer.geometry import align, quality
from face_organizer.geometry.main_face import prominence
from face_organizer.media import images
from face_organizer.networks.devices import Device
from face_organizer.types import Faces, FaceTable, Float32, Outcome

BLOCK = 256
"""Pictures after which what was found is saved: what a kill costs at most."""


def find(
    paths: Sequence[str],
    name: str,
    device: Device,
    workplace: Path,
    *,
    lanes: int,
    every: bool,
    on_files: Callable[[int], object] = lambda count: None,
) -> FaceTable:
    """The faces that DeepFace's detector `name` finds in `paths` (sorted), without embeddings.

    `every` keeps all faces of a picture, not the main one alone. Blocks of pictures that an earlier run has
    finished are taken from `workplace`, as long as none of them changed. Raises as `Process`.
    """
    process: Process | None = None
    tables = []
    try:
        for start in range(0, len(paths), BLOCK):
            block = paths[start : start + BLOCK]
            place = workplace / f"found-{_key(block, name, every)}.pkl"
            if place.exists():
                tables.append(table.read(place))
            else:
                process = process or Process(Setup(engine(), str(device), detector=name))
                made = _table(_looked(block, process, lanes), every)
                table.write(made, place)
                tables.append(made)
            on_files(len(block))
    finally:
        if process:
            process.close()
    return table.merge(tables, [name] * len(tables))


def _key(paths: Sequence[str], name: str, every: bool) -> str:
    digest = hashlib.blake2b(f"{name} {every}".encode(), digest_size=12)
    for path in paths:
        digest.update(os.fsencode(path))
        with contextlib.suppress(OSError):
            status = os.stat(path)
            digest.update(f" {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _looked(paths: Sequence[str], process: Process, lanes: int) -> Sequence[tuple[Picture, Sequence[Area]]]:
    def look(path: str) -> tuple[Picture, Sequence[Area]]:
        picture = Picture.at(path)
        try:
            source = images.open_source(path)
            picture.content, picture.width, picture.height = source.content, source.width, source.height
            return picture, process.ask(source.pixels()[0])
        except ImageError as error:
            picture.fails(error)
            return picture, ()

    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
        return list(pool.map(look, paths))


def _table(looked: Sequence[tuple[Picture, Sequence[Area]]], every: bool) -> FaceTable:
    faces = []
    for index, (picture, areas) in enumerate(looked):
        areas = [area for area in areas if area.box[2] > area.box[0] and area.box[3] > area.box[1]]
        if not areas:
            continue
        picture.outcome = Outcome.FACES
        boxes = np.array([area.box for area in areas], np.float32)
        order = np.argsort(-prominence(boxes, picture.width, picture.height), kind="stable")
        order = order if every else order[:1]
        landmarks = np.stack([five_points(areas[i]) for i in order])
        faces.append(
            Faces.empty(
                len(order),
                file_index=np.full(len(order), index, np.int64),
                face_index=np.arange(len(order), dtype=np.int32),
                box=boxes[order],
                landmarks=landmarks,
                score=np.array([areas[i].score for i in order], np.float32),
                size=quality.size(boxes[order]),
                roll=align.roll(landmarks),
            )
        )
    found = Faces.concatenate(faces)
    files = files_of([picture for picture, _ in looked])
    return FaceTable(np.empty((len(found), 0), np.float32), found, files, None)


def five_points(area: Area) -> Float32:
    """(5, 2) landmarks: the eyes that the detector found, else where eyes are in such boxes; nose and mouth
    where they belong by `align.TEMPLATE`."""
    eyes = np.array(area.eyes, np.float64) if area.eyes else None
    if eyes is None or np.linalg.norm(eyes[1] - eyes[0]) < 1:
        eyes = align.eyes_in(area.box)
    return align.about_eyes(eyes).astype(np.float32)
