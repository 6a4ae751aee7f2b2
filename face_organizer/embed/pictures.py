"""One picture's way into the table: `look` is all of it, stage by stage."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

import numpy as np

from face_organizer.detect import Detector, Found, canvases, finder
from face_organizer.embed.events import Report
from face_organizer.embed.setup import EmbedOptions, Models
from face_organizer.errors import ImageError
from face_organizer.faceswap import DEEPFACELAB, FACESWAP, Header
from face_organizer.faceswap.trust import Crops
from face_organizer.geometry import align, boxes, quality
from face_organizer.media import images
from face_organizer.types import NO_FACES, Detections, Faces, FaceTable, Files, Float32, Image, Int64, Outcome

COMPANION = 0.7
"""Of the main face's size: another face that large may be whom the photo is of."""
BATCH_PIXELS = 64_000_000  # pixels of the pictures that a thread holds at a time, about 200 MB


@dataclass(slots=True)
class Picture:
    """One picture, a file or a frame of a video, on its way: what is known of it so far."""

    path: str
    source: images.Shrinkable | None = None
    width: int = 0
    height: int = 0
    bytes: int = -1
    mtime_ns: int = -1
    content: int = 0
    outcome: Outcome = Outcome.NO_FACE
    reason: str = ""
    retry: bool = False
    header: Header | None = None
    seen: Found = field(default_factory=Found)  # every face on it
    found: Detections = NO_FACES  # those that become rows of the table, the main one first
    turns: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))  # of those, as in `Found`

    @classmethod
    def at(cls, path: str) -> Picture:
        """The file at `path` with its size and time, where it has any."""
        with contextlib.suppress(OSError):
            status = os.stat(path)
            return cls(path, bytes=status.st_size, mtime_ns=status.st_mtime_ns)
        return cls(path)

    def fails(self, error: ImageError) -> None:
        """Settle the outcome of a picture that cannot be used."""
        self.outcome, self.reason, self.retry = error.outcome, error.reason, error.passing
        self.source, self.seen, self.found, self.turns = None, Found(), NO_FACES, np.zeros(0, np.int64)


def look(
    waiting: Iterable[Picture], models: Models, options: EmbedOptions, crops: Crops | None = None
) -> tuple[FaceTable, Report]:
    """The whole way of some pictures, files or frames: read, detect, choose, align, embed, measure.

    They are read and let go of in batches of bounded memory. `crops` knows whose headers of FaceSwap
    and DeepFaceLab are believed. The table has no stamp."""
    report, looked, chips = Report(), [], []
    waiting = iter(waiting)
    while True:
        with report.stage("read"):
            if not (batch := read(waiting, options)):
                break
        with report.stage("detect"):
            unknown = [p for p in batch if p.source and not (crops and by_header(p, crops))]
            detect(unknown, models.detector, options, report)
        with report.stage("choose"):
            choose(batch, options, report)
        with report.stage("align"):
            chips += cut_faces(batch)
        for picture in batch:
            picture.source = None
        looked += batch
    with report.stage("embed"):
        raw = models.embedder.embed(np.array(chips, np.uint8).reshape(-1, align.SIZE, align.SIZE, 3))
    with report.stage("measure"):
        made = measure(looked, chips, raw)
    for program in (FACESWAP, DEEPFACELAB):
        mine = [p for p in looked if p.header and p.header.program == program and len(p.found)]
        report.counts[f"by {program} header"] += sum(bool(np.isnan(p.found.scores).any()) for p in mine)
    return made, report


def read(waiting: Iterator[Picture], options: EmbedOptions) -> list[Picture]:
    """The next pictures with the pixels of their first look, or with the outcome and the reason why they have
    none; as many as memory allows."""
    batch: list[Picture] = []
    pixels = 0
    for picture in waiting:
        try:
            if picture.source is None:
                _open(picture, options)
        except ImageError as error:
            picture.fails(error)
        batch.append(picture)
        pixels += picture.width * picture.height
        if pixels >= BATCH_PIXELS:
            break
    return batch


def _open(picture: Picture, options: EmbedOptions) -> None:
    source = options.source(picture.path)
    picture.source, picture.content = source, source.content
    picture.width, picture.height = source.width, source.height
    source.pixels(canvases.LARGEST_LOOK if options.faces == "all" else canvases.FIRST_LOOK)


def by_header(picture: Picture, crops: Crops) -> bool:
    """Take the face from the header of a crop; False where it has none that can be believed."""
    assert isinstance(picture.source, images.Source)
    crop = crops.read(picture.path, picture.source)
    picture.header, picture.reason = crop.header, crop.reason
    if crop.header is None or crop.found is None:
        return False
    picture.seen, picture.reason = Found(crop.found), f"aligned by its {crop.header.program} header"
    return True


def detect(pictures: Sequence[Picture], detector: Detector, options: EmbedOptions, report: Report) -> None:
    """Find the faces of each of `pictures`. One that is damaged far in, and could be decoded small, fails."""
    try:
        found = finder.find([p.source for p in pictures if p.source], detector, options.look)
    except ImageError as error:
        if len(pictures) == 1:
            pictures[0].fails(error)
        else:
            for picture in pictures:
                detect([picture], detector, options, report)
        return
    for picture, picture.seen in zip(pictures, found, strict=True):
        report.counts["looked again"] += picture.seen.again
        if picture.source and (missing := picture.source.missing):
            if boxes.shared(picture.seen.faces.boxes, np.array([missing], np.float32)).any():
                picture.fails(ImageError(Outcome.UNREADABLE, "damaged: cut off, through a face"))
            else:
                picture.reason = "its file is cut off; no face is where pixels are missing"
        report.counts["false faces"] += picture.seen.none
        report.counts["maybe with smaller faces"] += picture.seen.smaller


def choose(pictures: Sequence[Picture], options: EmbedOptions, report: Report) -> None:
    """Keep of the faces seen on each picture those that the options ask for, the main face first, and settle
    the picture's outcome."""
    faces = Detections.concatenate([p.seen.faces for p in pictures])
    turns = np.concatenate([np.zeros(0, np.int64), *(p.seen.turns for p in pictures)])
    owner = np.repeat(np.arange(len(pictures)), [len(p.seen.faces) for p in pictures])
    sides = np.array([(p.width, p.height) for p in pictures])[owner]
    size = quality.size(faces.boxes)
    prominence = boxes.prominence(faces.boxes, *sides.T)
    order = np.lexsort((faces.boxes[:, 0], -faces.scores, -prominence, owner))
    order = order[align.usable(faces.landmarks)[order]]
    ends = np.searchsorted(owner[order], np.arange(len(pictures) + 1)).tolist()
    for picture, (start, stop) in zip(pictures, pairwise(ends), strict=True):
        rows = order[start:stop]
        large = rows[size[rows] >= options.min_face_size]
        if len(large):
            picture.outcome = Outcome.FACES
            chosen = large[:1] if options.faces == "largest" else large
            picture.found, picture.turns = faces.take(chosen), turns[chosen]
            tilts = np.abs((picture.turns + 180) % 360 - 180)
            report.counts["turned"] += bool((tilts >= 45).any())
            report.counts["straightened"] += bool(((tilts > 0) & (tilts < 45)).any())
            if options.faces == "all":
                report.counts["with smaller faces left out"] += len(large) < len(rows)
            elif len(large) > 1:
                report.counts["with a companion"] += bool(size[large[1:]].max() >= COMPANION * size[large[0]])
        elif len(rows):
            picture.outcome = Outcome.TOO_SMALL
            picture.reason = f"largest face {size[rows].max():.0f} px, the least is {options.min_face_size:g}"


def cut_faces(pictures: Sequence[Picture]) -> list[Image]:
    """The faces of `pictures`, aligned, as 112 x 112 RGB chips in the order of their `found`.
    A small face comes from the whole picture: pixels are shrunk no further than the chip shrinks them."""
    matrices = iter(align.estimate(np.concatenate([p.found.landmarks for p in pictures])))
    chips: list[Image] = []
    for picture in pictures:
        own = list(islice(matrices, len(picture.found)))
        try:
            chips += [align.cut(picture.source, matrix) for matrix in own if picture.source]
        except ImageError as error:
            picture.fails(error)
    return chips


def measure(pictures: Sequence[Picture], chips: Sequence[Image], raw: Float32) -> FaceTable:
    """The rows of `pictures`, from their faces, the aligned `chips` and the (n, d) `raw` embeddings."""
    found = Detections.concatenate([p.found for p in pictures])
    of = [p for p in pictures for _ in range(len(p.found))]
    places = [(i, k) for i, p in enumerate(pictures) for k in range(len(p.found))]
    file_index, face_index = np.array(places, np.int64).reshape(-1, 2).T
    widths, heights = np.array([(p.width, p.height) for p in of], np.int32).reshape(-1, 2).T
    headers = [p.header for p in of]
    frames = [(h and h.frame_dims) or (0, 0) for h in headers]
    frame_height, frame_width = np.array(frames, np.int32).reshape(-1, 2).T
    norm = np.linalg.norm(raw, axis=1)
    yaw, pitch, roll = quality.angles(found.landmarks)
    sharpness, brightness = quality.light(chips)
    faces = Faces.empty(
        len(found),
        file_index=file_index,
        face_index=face_index.astype(np.int32),
        box=found.boxes,
        landmarks=found.landmarks,
        score=found.scores,
        turn=np.concatenate([[0], *(p.turns for p in pictures)])[1:].astype(np.int16),
        size=quality.size(found.boxes),
        sharpness=sharpness,
        brightness=brightness,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        norm=norm.astype(np.float32),
        outside=quality.outside(found.boxes, widths, heights),
        source_filename=[h.source_filename if h else "" for h in headers],
        source_face=np.array([h.face_index if h else -1 for h in headers], np.int32),
        frame_width=frame_width,
        frame_height=frame_height,
    )
    return FaceTable(np.asarray(raw / norm[:, None], np.float32), faces, files_of(pictures), None)


def files_of(pictures: Sequence[Picture]) -> Files:
    """A row of `Files` for each picture: what became of it."""
    columns: dict[str, Any] = {}
    for spec in Files.specs():  # a picture's attributes are called like the columns
        values = [getattr(picture, spec.name) for picture in pictures]
        columns[spec.name] = np.array(values, spec.metadata["dtype"]) if "dtype" in spec.metadata else values
    return Files(**columns)
