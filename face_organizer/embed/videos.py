"""A video's way into the table: frames now and then, each looked at like a picture, faces followed.

The calling thread decodes; others find and embed the faces of one small batch of frames each, so that memory
does not depend on the length of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from face_organizer.embed import pictures
from face_organizer.embed.events import Report
from face_organizer.embed.pictures import Picture
from face_organizer.embed.setup import EmbedOptions, Models, Setup
from face_organizer.embed.tracks import Tracker
from face_organizer.errors import ImageError
from face_organizer.files import printable
from face_organizer.machine import in_order
from face_organizer.media import images, video
from face_organizer.types import FaceTable, Image, Outcome

BATCH_FRAMES = 8
BATCH_PIXELS = 16_000_000  # pixels of the frames that one thread holds at a time, 48 MB

Batch = Sequence[tuple[float, Image]]  # some frames, each with the second at which it is shown


def look(
    path: str, models: Models, setup: Setup, threads: int, on_frames: Callable[[int], object]
) -> tuple[FaceTable, Report]:
    """The face table of the one video at `path`, and what it took, over `threads` threads.

    `on_frames` is called with the number of frames that were just looked at. A damaged video ends with what
    was readable: its reason says how far that is, and so does a note of the report.
    """
    # A face too small for a look at the whole frame tells little, and many frames show no face.
    options = replace(setup.options, tiles="all" if setup.options.tiles == "all" else "off")
    report, tracker, clip = Report(), Tracker(), Picture.at(path)
    outcomes: set[Outcome] = set()

    def frame(image: Image) -> Picture:
        source = images.Decoded(image, max_side=options.max_side, enhance=options.enhance == "clahe")
        return Picture(path, source, source.width, source.height)

    def work(batch: Batch) -> tuple[list[float], FaceTable, Report]:
        frames = (frame(image) for _, image in batch)
        return [time for time, _ in batch], *pictures.look(frames, models, options)

    try:
        with report.stage("read"):
            clip.content = images.content_of_file(path)
        with video.open_video(path, max_pixels=options.max_pixels) as source:
            for times, chunk, took in in_order(_batches(source, options, report), work, threads):
                report.add(took)
                outcomes.update(map(Outcome, chunk.files.outcome))
                for i, time in enumerate(times):
                    rows = np.flatnonzero(chunk.faces.file_index == i)
                    tracker.add(time, chunk.faces.take(rows), chunk.embeddings[rows])
                on_frames(len(times))
            clip.width, clip.height = source.width, source.height
            faces, embeddings = tracker.rows(setup.stamp.dim)
            _settle(clip, len(faces), outcomes, source.damage, options)
    except ImageError as error:
        clip.fails(error)
        faces, embeddings = Tracker().rows(setup.stamp.dim)
    if clip.outcome == Outcome.FACES and clip.reason:
        report.notes.append(f"{printable(path)}: {clip.reason}")
    report.notes += models.notes
    report.counts["blurred on a video"] += tracker.blurred
    return FaceTable(embeddings, faces, pictures.files_of([clip]), setup.stamp), report


def _batches(source: video.Video | video.Frames, options: EmbedOptions, report: Report) -> Iterator[Batch]:
    """The wanted frames, in batches of bounded memory."""
    samples = source.samples(options.fps)
    batch: list[tuple[float, Image]] = []
    pixels = 0
    while True:
        with report.stage("read"):
            if (sample := next(samples, None)) is None:
                break
        batch.append(sample)
        pixels += sample[1].shape[0] * sample[1].shape[1]
        if len(batch) == BATCH_FRAMES or pixels >= BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _settle(clip: Picture, faces: int, outcomes: set[Outcome], damage: str, options: EmbedOptions) -> None:
    """Set the outcome of a video that gave `faces` rows and whose frames had these outcomes."""
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
