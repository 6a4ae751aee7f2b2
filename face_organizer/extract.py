"""The way of a picture: read, detect, align, embed, a row of the face table.

`extract_chunk` is the whole path. A lane is a thread that takes chunk after chunk; each lane runs the
networks on its own chunk, so that one decodes while another computes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from face_organizer import align, images
from face_organizer.detect import Detector, canvas
from face_organizer.embed import Embedder
from face_organizer.errors import ImageError
from face_organizer.types import Detections, Faces, FaceTable, Files, Float32, Image, Outcome, Stamp

CHUNK_FILES = 16
CHUNK_PIXELS = 64_000_000  # decoded pixels that one lane holds at a time, about 200 MB


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """What to look for. `faces` is `largest` (one row a picture) or `all`; sizes are source pixels."""

    faces: str = "largest"
    min_confidence: float = 0.5
    min_face_size: float = 20.0
    max_pixels: int = images.DEFAULT_MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Engine:
    """The networks of one pack on one device."""

    detector: Detector
    embedder: Embedder


@dataclass(slots=True)
class Stages:
    """Seconds spent in each stage, summed over lanes."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def add(self, other: Stages) -> None:
        """Add the seconds of another lane's chunk."""
        for stage, seconds in other.seconds.items():
            self.seconds[stage] += seconds


@dataclass(slots=True)
class Picture:
    """One input file on its way: what is known of it so far."""

    path: str
    pixels: Image | None = None
    width: int = 0
    height: int = 0
    bytes: int = -1
    mtime_ns: int = -1
    outcome: Outcome = Outcome.NO_FACE
    reason: str = ""
    found: Detections = field(default_factory=Detections.empty)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows that some consecutive files became; `faces.file_index` counts from the chunk's first file."""

    embeddings: Float32
    faces: Faces
    files: Files
    stages: Stages


def extract(
    paths: Sequence[str],
    engine: Engine,
    options: ExtractOptions,
    *,
    stamp: Stamp,
    lanes: int,
    on_chunk: Callable[[Chunk], None] = lambda chunk: None,
) -> tuple[FaceTable, Mapping[str, float]]:
    """The face table of `paths` (sorted), and the seconds spent in each stage, summed over `lanes` threads.

    The table depends on files and options alone, not on the number of lanes. `on_chunk` is called in order.
    """
    chunks = [paths[i : i + CHUNK_FILES] for i in range(0, len(paths), CHUNK_FILES)]
    done: list[Chunk] = []
    stages = Stages()
    for chunk in _in_order(chunks, lambda c: extract_chunk(c, engine, options), lanes):
        done.append(chunk)
        stages.add(chunk.stages)
        on_chunk(chunk)
    return _table(done, stamp), dict(stages.seconds)


def _in_order(
    chunks: Sequence[Sequence[str]], work: Callable[[Sequence[str]], Chunk], lanes: int
) -> Iterator[Chunk]:
    """`work` on every chunk in `lanes` threads, results in order; few wait at a time, so that memory is bounded."""
    waiting: deque[Future[Chunk]] = deque()
    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(work, chunk))
                if len(waiting) > 2 * lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def extract_chunk(paths: Sequence[str], engine: Engine, options: ExtractOptions) -> Chunk:
    """Read, detect, align and embed the pictures at `paths`, in parts of bounded memory."""
    stages = Stages()
    pictures: list[Picture] = []
    chips: list[Image] = []
    for part in _read_in_parts(paths, options, stages):
        with stages("detect"):
            detect(part, engine.detector, options)
        with stages("align"):
            chips += [chip for picture in part for chip in aligned(picture)]
        for picture in part:
            picture.pixels = None
        pictures += part
    with stages("embed"):
        embeddings = _unit(engine.embedder.embed(np.stack(chips))) if chips else _none(engine.embedder.dim)
    return _rows(pictures, embeddings, stages)


def _read_in_parts(paths: Sequence[str], options: ExtractOptions, stages: Stages) -> Iterator[list[Picture]]:
    part: list[Picture] = []
    pixels = 0
    for path in paths:
        with stages("read"):
            picture = read(path, options)
        part.append(picture)
        pixels += picture.width * picture.height
        if pixels >= CHUNK_PIXELS:
            yield part
            part, pixels = [], 0
    if part:
        yield part


def read(path: str, options: ExtractOptions) -> Picture:
    """The picture at `path` with its pixels, or with the outcome and the reason why it has none."""
    picture = Picture(path)
    try:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            picture.bytes, picture.mtime_ns = status.st_size, status.st_mtime_ns
        picture.pixels = images.read(path, max_pixels=options.max_pixels)
        picture.height, picture.width = picture.pixels.shape[:2]
    except ImageError as error:
        picture.outcome, picture.reason = error.outcome, error.reason
    return picture


def detect(pictures: Sequence[Picture], detector: Detector, options: ExtractOptions) -> None:
    """Find the faces of `pictures`, those of one canvas size together, and settle each one's outcome."""
    plans = {
        i: canvas.attempts(
            picture.width,
            picture.height,
            min_face_size=options.min_face_size,
            every_face=options.faces == "all",
            fixed=detector.fixed_size,
        )
        for i, picture in enumerate(pictures)
        if picture.pixels is not None
    }
    while plans:
        by_size: dict[int, list[tuple[int, canvas.Placement]]] = defaultdict(list)
        for i in list(plans):
            placement = next(plans[i], None)
            if placement is None:
                del plans[i]
            else:
                by_size[placement.size].append((i, placement))
        for size, placed in by_size.items():
            canvases = np.zeros((len(placed), size, size, 3), np.uint8)
            for blank, (i, placement) in zip(canvases, placed, strict=True):
                canvas.draw(pictures[i].pixels, placement, blank)
            for (i, placement), found in zip(placed, detector.detect(canvases, options.min_confidence), strict=True):
                choose(pictures[i], canvas.to_source(found, placement), options)
                if len(pictures[i].found):
                    del plans[i]


def choose(picture: Picture, found: Detections, options: ExtractOptions) -> None:
    """Keep of `found` what the options ask for, the main face first, and set the picture's outcome."""
    if not len(found):
        return
    size = np.sqrt(np.clip(found.boxes[:, 2:] - found.boxes[:, :2], 0, None).prod(axis=1))
    order = np.lexsort((found.boxes[:, 0], -found.scores, -prominence(found.boxes, picture.width, picture.height)))
    order = order[size[order] >= options.min_face_size]
    if not len(order):
        picture.outcome = Outcome.TOO_SMALL
        picture.reason = f"largest face {size.max():.0f} px, the least is {options.min_face_size:g}"
        return
    picture.outcome, picture.reason = Outcome.FACES, ""
    picture.found = found.take(order[:1] if options.faces == "largest" else order)


def prominence(boxes: Float32, width: int, height: int) -> Float32:
    """How much each of (n, 4) `boxes` is the main face of its picture, (n,) in square pixels; larger is more.

    Its area inside the picture less twice the squared distance of its centre from the picture's: a bystander
    cut off by the edge is often larger than the person the photo is of. The rule that FaceNet's
    `align_dataset_mtcnn.py` (Sandberg 2016) prepared LFW with.
    """
    limits = np.array([width, height, width, height], np.float32)
    inside = np.clip(boxes, 0, limits)
    area = np.clip(inside[:, 2:] - inside[:, :2], 0, None).prod(axis=1)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - limits[:2] / 2
    return np.asarray(area - 2 * (centre**2).sum(axis=1), np.float32)


def aligned(picture: Picture) -> list[Image]:
    """The faces of a picture as 112 x 112 RGB chips, in the order of `picture.found`."""
    if picture.pixels is None or not len(picture.found):
        return []
    return [align.warp(picture.pixels, matrix) for matrix in align.estimate(picture.found.landmarks)]


def _unit(raw: Float32) -> Float32:
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), np.float32)


def _none(dim: int) -> Float32:
    return np.empty((0, dim), np.float32)


def _rows(pictures: Sequence[Picture], embeddings: Float32, stages: Stages) -> Chunk:
    counts = [len(p.found) for p in pictures]
    found = Detections.concatenate([p.found for p in pictures])
    faces = Faces.empty(
        len(found),
        file_index=np.repeat(np.arange(len(pictures), dtype=np.int64), counts),
        face_index=np.concatenate([np.arange(c, dtype=np.int32) for c in counts]),
        box=found.boxes,
        landmarks=found.landmarks,
        score=found.scores,
    )
    files = Files(
        path=[p.path for p in pictures],
        outcome=np.array([p.outcome for p in pictures], np.uint8),
        reason=[p.reason for p in pictures],
        width=np.array([p.width for p in pictures], np.int32),
        height=np.array([p.height for p in pictures], np.int32),
        bytes=np.array([p.bytes for p in pictures], np.int64),
        mtime_ns=np.array([p.mtime_ns for p in pictures], np.int64),
    )
    return Chunk(embeddings, faces, files, stages)


def _table(chunks: Sequence[Chunk], stamp: Stamp) -> FaceTable:
    starts = np.cumsum([0] + [len(c.files) for c in chunks])
    faces = Faces.concatenate([c.faces for c in chunks])
    faces.file_index[:] += np.repeat(starts[:-1], [len(c.faces) for c in chunks])
    embeddings = np.concatenate([c.embeddings for c in chunks]) if chunks else _none(stamp.dim)
    return FaceTable(embeddings, faces, Files.concatenate([c.files for c in chunks]), stamp)
