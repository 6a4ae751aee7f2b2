"""From pictures that were looked at to rows of the face table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from face_organizer.embed.picture import Picture, Run
from face_organizer.geometry import quality
from face_organizer.types import Detections, Faces, FaceTable, Files, Float32, Image, Stamp


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows that some consecutive files became; `faces.file_index` counts from the chunk's first file."""

    embeddings: Float32
    faces: Faces
    files: Files
    run: Run


def chunk_of(pictures: Sequence[Picture], chips: Sequence[Image], raw: Float32, run: Run) -> Chunk:
    counts = np.array([len(p.found) for p in pictures], np.int64)
    found = Detections.concatenate([p.found for p in pictures])
    norm = np.linalg.norm(raw, axis=1)
    with_face = [p for p in pictures for _ in range(len(p.found))]
    yaw, pitch, roll = quality.angles(found.landmarks)
    sharpness, brightness = quality.light(chips)
    widths, heights = (
        np.array([getattr(p, side) for p in with_face], np.int32) for side in ("width", "height")
    )
    headers = [p.header for p in with_face]
    frames = [(h.frame_dims or (0, 0)) if h else (0, 0) for h in headers]
    faces = Faces.empty(
        len(found),
        file_index=np.repeat(np.arange(len(pictures), dtype=np.int64), counts),
        face_index=(np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)).astype(np.int32),
        box=found.boxes,
        landmarks=found.landmarks,
        score=found.scores,
        turn=np.array([p.turn for p in with_face], np.int16),
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
        frame_width=np.array([width for _, width in frames], np.int32),
        frame_height=np.array([height for height, _ in frames], np.int32),
    )
    run.counts["by FaceSwap header"] += int(np.isnan(found.scores).sum())
    return Chunk(np.asarray(raw / norm[:, None], np.float32), faces, files_of(pictures), run)


def files_of(pictures: Sequence[Picture]) -> Files:
    """A row of `Files` each: what became of it."""
    return Files(
        path=[p.path for p in pictures],
        outcome=np.array([p.outcome for p in pictures], np.uint8),
        reason=[p.reason for p in pictures],
        width=np.array([p.width for p in pictures], np.int32),
        height=np.array([p.height for p in pictures], np.int32),
        bytes=np.array([p.bytes for p in pictures], np.int64),
        mtime_ns=np.array([p.mtime_ns for p in pictures], np.int64),
        content=np.array([p.content for p in pictures], np.uint64),
        retry=np.array([p.retry for p in pictures], np.uint8),
    )


def table_of(chunks: Sequence[Chunk], stamp: Stamp) -> FaceTable:
    starts = np.cumsum([0] + [len(c.files) for c in chunks])
    faces = Faces.concatenate([c.faces for c in chunks])
    file_index = faces.file_index + np.repeat(starts[:-1], [len(c.faces) for c in chunks])
    embeddings = (
        np.concatenate([c.embeddings for c in chunks]) if chunks else np.empty((0, stamp.dim), np.float32)
    )
    faces = replace(faces, file_index=file_index)
    return FaceTable(embeddings, faces, Files.concatenate([c.files for c in chunks]), stamp)
