"""The way of a video: frames now and then, each looked at like a picture, faces followed, a few rows each.

The calling thread decodes; lanes find and embed the faces of one small batch of frames each; faces are
followed in the order of time. Neither lanes nor the length of the video change what is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from face_organizer.embed import pictures
from face_organizer.embed.picture import ExtractOptions, Picture, Run
from face_organizer.embed.rows import Chunk, files_of
from face_organizer.embed.tracks import Tracker
from face_organizer.errors import ImageError
from face_organizer.files import printable
from face_organizer.machine import in_order
from face_organizer.media import images, video
from face_organizer.types import FaceTable, Image, Outcome, Stamp

BATCH_FRAMES = 8
BATCH_PIXELS = 16_000_000  # pixels of the frames that one lane holds at a time, 48 MB

Batch = Sequence[tuple[float, Image]]


@dataclass(frozen=True, slots=True)
class _Looked:
    """A batch that was looked at: the time of each frame, their faces, and each frame's outcome."""

    times: Sequence[float]
    chunk: Chunk
    outcomes: Sequence[Outcome]


def extract_clip(
    path: str,
    engine: pictures.Engine,
    options: ExtractOptions,
    *,
    stamp: Stamp,
    lanes: int,
    on_frames: Callable[[int], None] = lambda frames: None,
) -> tuple[FaceTable, Run]:
    """The face table of the one video at `path`, and what it took, over `lanes` threads.

    `on_frames` is called with the number of frames that were just looked at. A damaged video ends with what
    was readable: its reason tells how far that is, and so does a note of the run.
    """
    run, tracker, clip = Run(), Tracker(), Picture.at(path)
    outcomes: set[Outcome] = set()
    try:
        with run.stage("read"):
            clip.content = images.content_of_file(path)
        with video.Video(path, max_pixels=options.max_pixels) as source:
            batches = _batches(source, options, run)
            for looked in in_order(batches, lambda b: _look(path, b, engine, options), lanes):
                run.add(looked.chunk.run)
                outcomes.update(looked.outcomes)
                _follow(tracker, looked)
                on_frames(len(looked.times))
            clip.width, clip.height = source.width, source.height
            faces, embeddings = tracker.rows(stamp.dim)
            _settle(clip, len(faces), outcomes, source.damage, options)
    except ImageError as error:
        clip.fails(error)
        faces, embeddings = Tracker().rows(stamp.dim)
    if clip.outcome == Outcome.FACES and clip.reason:
        run.notes.append(f"{printable(path)}: {clip.reason}")
    run.notes += [*engine.detector.notes, *engine.embedder.notes]
    run.counts["blurred on a video"] += tracker.blurred
    return FaceTable(embeddings, faces, files_of([clip]), stamp), run


def _batches(source: video.Video, options: ExtractOptions, run: Run) -> Iterator[Batch]:
    """The wanted frames, in batches of bounded memory."""
    samples = source.samples(options.fps)
    batch: list[tuple[float, Image]] = []
    pixels = 0
    while True:
        with run.stage("read"):
            sample = next(samples, None)
        if sample is None:
            break
        batch.append(sample)
        pixels += sample[1].shape[0] * sample[1].shape[1]
        if len(batch) == BATCH_FRAMES or pixels >= BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _look(path: str, batch: Batch, engine: pictures.Engine, options: ExtractOptions) -> _Looked:
    """The faces of a batch of frames, each frame a picture of its own."""
    frames = []
    for _, image in batch:
        source = images.Decoded(image, max_side=options.max_side, enhance=options.enhance == "clahe")
        frames.append(Picture(path, source, source.width, source.height))
    chunk = pictures.look([frames], engine, options, None, Run())
    return _Looked([time for time, _ in batch], chunk, [frame.outcome for frame in frames])


def _follow(tracker: Tracker, looked: _Looked) -> None:
    faces = looked.chunk.faces
    for i, time in enumerate(looked.times):
        rows = np.flatnonzero(faces.file_index == i)
        tracker.add(time, faces.take(rows), looked.chunk.embeddings[rows])


def _settle(clip: Picture, faces: int, outcomes: set[Outcome], damage: str, options: ExtractOptions) -> None:
    """Set the outcome of a video that gave so many rows and whose frames had these outcomes."""
    clip.reason = damage
    if faces:
        clip.outcome = Outcome.FACES
    elif not outcomes:
        clip.outcome, clip.reason = Outcome.UNREADABLE, damage or "no frame of it can be decoded"
    elif damage:
        clip.outcome, clip.reason = Outcome.UNREADABLE, f"{damage}; no face in what can be read"
    elif Outcome.FACES in outcomes:
        clip.reason = "all faces are too blurred to tell whose they are"
    elif Outcome.TOO_SMALL in outcomes:
        clip.outcome = Outcome.TOO_SMALL
        clip.reason = f"all faces are smaller than {options.min_face_size:g} px"
