"""The way of a picture: read, detect, align, embed, a row of the face table.

`extract_chunk` is the whole path. A lane is a thread that takes chunk after chunk; each lane runs the
networks on its own chunk, so that one decodes while another computes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from face_organizer import align, images, quality
from face_organizer.crops import Crops
from face_organizer.detect import Detector, finder
from face_organizer.embed import Embedder
from face_organizer.errors import ImageError
from face_organizer.faceswap import Header
from face_organizer.types import Detections, Faces, FaceTable, Files, Float32, Image, Outcome, Stamp

CHUNK_FILES = 16
CHUNK_PIXELS = 64_000_000  # pixels of the pictures that one lane holds at a time, about 200 MB


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """What to look for. `faces` is `largest` (one row a picture) or `all`; sizes are source pixels.

    `det_size` overrides the side of the first canvas, in pixels, a multiple of 32; `turns` allows to look at
    turned pictures; `max_side` shrinks pictures to that longer side first; `enhance` is `none` or `clahe`;
    `headers` believes FaceSwap headers that the detector confirms.
    """

    faces: str = "largest"
    min_confidence: float = 0.5
    min_face_size: float = 20.0
    max_pixels: int = images.DEFAULT_MAX_PIXELS
    det_size: int | None = None
    turns: bool = True
    max_side: int | None = None
    enhance: str = "none"
    headers: bool = True

    @property
    def look(self) -> finder.Look:
        """The part of the options that the finder needs."""
        return finder.Look(
            self.min_confidence, self.min_face_size, self.faces == "all", self.det_size, self.turns
        )


@dataclass(frozen=True, slots=True)
class Engine:
    """The networks of one pack on one device."""

    detector: Detector
    embedder: Embedder


@dataclass(slots=True)
class Run:
    """What looking took and met: seconds by stage summed over lanes, counters, notes for the user, each
    once."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as part of stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def add(self, other: Run) -> None:
        """Take in the figures of another chunk."""
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        self.counts.update(other.counts)
        self.notes += [note for note in other.notes if note not in self.notes]


@dataclass(slots=True)
class Picture:
    """One input file on its way: what is known of it so far."""

    path: str
    source: images.Source | None = None
    width: int = 0
    height: int = 0
    bytes: int = -1
    mtime_ns: int = -1
    content: int = 0
    outcome: Outcome = Outcome.NO_FACE
    reason: str = ""
    retry: bool = False
    turn: int = 0
    header: Header | None = None
    found: Detections = field(default_factory=Detections.empty)

    def fails(self, error: ImageError) -> None:
        """Settle the outcome of a picture that cannot be used."""
        self.outcome, self.reason, self.retry = error.outcome, error.reason, error.passing
        self.source, self.found = None, Detections.empty()


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows that some consecutive files became; `faces.file_index` counts from the chunk's first file."""

    embeddings: Float32
    faces: Faces
    files: Files
    run: Run


def extract(
    paths: Sequence[str],
    engine: Engine,
    options: ExtractOptions,
    *,
    stamp: Stamp,
    lanes: int,
    samples: Mapping[str, Sequence[str]] | None = None,
    on_chunk: Callable[[Chunk], None] = lambda chunk: None,
) -> tuple[FaceTable, Run]:
    """The face table of `paths` (sorted), and what it took, over `lanes` threads.

    The table depends on files and options alone, not on the number of lanes. `samples` are the pictures by
    which each folder's FaceSwap headers are judged (see `crops.samples`). `on_chunk` is called in order.
    """
    crops = Crops(engine.detector, options.look, samples or {}) if options.headers else None
    chunks = [paths[i : i + CHUNK_FILES] for i in range(0, len(paths), CHUNK_FILES)]
    done: list[Chunk] = []
    run = Run()
    for chunk in _in_order(chunks, lambda c: extract_chunk(c, engine, options, crops), lanes):
        done.append(chunk)
        run.add(chunk.run)
        on_chunk(chunk)
    run.notes += [*engine.detector.notes, *engine.embedder.notes, *(crops.notes() if crops else [])]
    return _table(done, stamp), run


def _in_order(
    chunks: Sequence[Sequence[str]], work: Callable[[Sequence[str]], Chunk], lanes: int
) -> Iterator[Chunk]:
    """`work` on every chunk in `lanes` threads, results in order; few wait at a time, so that memory is
    bounded."""
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


def extract_chunk(
    paths: Sequence[str], engine: Engine, options: ExtractOptions, crops: Crops | None
) -> Chunk:
    """Read, detect, align and embed the pictures at `paths`, in parts of bounded memory."""
    run = Run()
    pictures: list[Picture] = []
    chips: list[Image] = []
    for part in _read_in_parts(paths, options, run):
        with run.stage("detect"):
            unknown = [p for p in part if p.source and not (crops and by_header(p, crops, options))]
            detect(unknown, engine.detector, options, run)
        with run.stage("align"):
            chips += [chip for picture in part for chip in aligned(picture)]
        for picture in part:
            picture.source = None
        pictures += part
    with run.stage("embed"):
        raw = (
            engine.embedder.embed(np.stack(chips))
            if chips
            else np.empty((0, engine.embedder.dim), np.float32)
        )
    with run.stage("measure"):
        return _rows(pictures, chips, raw, run)


def _read_in_parts(paths: Sequence[str], options: ExtractOptions, run: Run) -> Iterator[list[Picture]]:
    part: list[Picture] = []
    pixels = 0
    for path in paths:
        with run.stage("read"):
            picture = read(path, options)
        part.append(picture)
        pixels += picture.width * picture.height
        if pixels >= CHUNK_PIXELS:
            yield part
            part, pixels = [], 0
    if part:
        yield part


def read(path: str, options: ExtractOptions) -> Picture:
    """The picture at `path` with the pixels of its first look, or with the outcome and the reason why it has
    none."""
    picture = Picture(path)
    try:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            picture.bytes, picture.mtime_ns = status.st_size, status.st_mtime_ns
        source = images.open_source(
            path,
            max_pixels=options.max_pixels,
            max_side=options.max_side,
            enhance=options.enhance == "clahe",
        )
        picture.source, picture.content = source, source.content
        picture.width, picture.height = source.width, source.height
        source.pixels(finder.LARGEST_LOOK if options.faces == "all" else finder.FIRST_LOOK)
    except ImageError as error:
        picture.fails(error)
    return picture


def by_header(picture: Picture, crops: Crops, options: ExtractOptions) -> bool:
    """Take the face from the picture's FaceSwap header; False where it has none that can be believed."""
    assert picture.source is not None
    crop = crops.read(picture.path, picture.source)
    picture.header, picture.reason = crop.header, crop.reason
    if crop.found is None:
        return False
    choose(picture, finder.Found(crop.found), options)
    picture.reason = picture.reason or "aligned by its FaceSwap header"
    return True


def detect(pictures: Sequence[Picture], detector: Detector, options: ExtractOptions, run: Run) -> None:
    """Find the faces of `pictures` and settle each one's outcome."""
    sources = [p.source for p in pictures if p.source]
    try:
        found = finder.find(sources, detector, options.look)
    except ImageError:
        # A file that can be decoded small but not whole (it is damaged far in) fails alone.
        if len(pictures) > 1:
            for picture in pictures:
                detect([picture], detector, options, run)
        else:
            _fail_alone(pictures[0], detector, options)
        return
    for picture, one in zip(pictures, found, strict=True):
        choose(picture, one, options)
        run.counts["looked again"] += one.looks > 1
        run.counts["turned"] += 45 <= one.turn <= 315
        run.counts["straightened"] += 0 < one.turn < 45 or one.turn > 315


def _fail_alone(picture: Picture, detector: Detector, options: ExtractOptions) -> None:
    try:
        assert picture.source is not None
        finder.find([picture.source], detector, options.look)
    except ImageError as error:
        picture.fails(error)


def choose(picture: Picture, found: finder.Found, options: ExtractOptions) -> None:
    """Keep of `found` what the options ask for, the main face first, and set the picture's outcome."""
    faces = found.faces.take(align.usable(found.faces.landmarks))
    if not len(faces):
        return
    size = quality.size(faces.boxes)
    prominence = finder.prominence(faces.boxes, picture.width, picture.height)
    order = np.lexsort((faces.boxes[:, 0], -faces.scores, -prominence))
    order = order[size[order] >= options.min_face_size]
    if not len(order):
        picture.outcome = Outcome.TOO_SMALL
        picture.reason = f"largest face {size.max():.0f} px, the least is {options.min_face_size:g}"
        return
    picture.outcome, picture.turn = Outcome.FACES, found.turn
    picture.found = faces.take(order[:1] if options.faces == "largest" else order)


def aligned(picture: Picture) -> list[Image]:
    """The faces of a picture as 112 x 112 RGB chips, in the order of `picture.found`.

    Cut from pixels shrunk no further than the chip itself shrinks them: a small face comes from the whole
    picture.
    """
    if picture.source is None or not len(picture.found):
        return []
    matrices = align.estimate(picture.found.landmarks)
    chips = []
    try:
        for matrix in matrices:
            scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
            pixels, reduction = picture.source.pixels(max(picture.width, picture.height) * scale)
            chips.append(align.warp(pixels, align.for_reduced(matrix, reduction)))
    except ImageError as error:
        picture.fails(error)
        return []
    return chips


def _rows(pictures: Sequence[Picture], chips: Sequence[Image], raw: Float32, run: Run) -> Chunk:
    counts = [len(p.found) for p in pictures]
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
    faces = Faces(
        file_index=np.repeat(np.arange(len(pictures), dtype=np.int64), counts),
        face_index=np.concatenate([np.arange(c, dtype=np.int32) for c in counts]),
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
    return Chunk(np.asarray(raw / norm[:, None], np.float32), faces, _files(pictures), run)


def _files(pictures: Sequence[Picture]) -> Files:
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


def _table(chunks: Sequence[Chunk], stamp: Stamp) -> FaceTable:
    starts = np.cumsum([0] + [len(c.files) for c in chunks])
    faces = Faces.concatenate([c.faces for c in chunks])
    faces.file_index[:] += np.repeat(starts[:-1], [len(c.faces) for c in chunks])
    embeddings = (
        np.concatenate([c.embeddings for c in chunks]) if chunks else np.empty((0, stamp.dim), np.float32)
    )
    return FaceTable(embeddings, faces, Files.concatenate([c.files for c in chunks]), stamp)
