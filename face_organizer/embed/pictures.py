"""The way of a picture: read, detect, align, embed, a row of the face table.

`extract_chunk` is the whole path. A lane is a thread that takes chunk after chunk; each lane runs the
networks on its own chunk, so that one decodes while another computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from face_organizer.detect import Detector, Found, finder
from face_organizer.embed.picture import ExtractOptions, Picture, Run, read
from face_organizer.embed.rows import Chunk, chunk_of, table_of
from face_organizer.errors import ImageError
from face_organizer.faceswap.trust import Crops
from face_organizer.geometry import align, boxes, quality
from face_organizer.machine import in_order
from face_organizer.media import images
from face_organizer.recognize import Embedder
from face_organizer.types import Detections, FaceTable, Float32, Image, Outcome, Stamp

CHUNK_FILES = 16
CHUNK_PIXELS = 64_000_000  # pixels of the pictures that one lane holds at a time, about 200 MB


@dataclass(frozen=True, slots=True)
class Engine:
    """The networks of one pack on one device."""

    detector: Detector
    embedder: Embedder


def extract(
    paths: Sequence[str],
    engine: Engine,
    options: ExtractOptions,
    *,
    stamp: Stamp,
    lanes: int,
    samples: Mapping[str, Sequence[str]] | None = None,
    crops: Crops | None = None,
    on_chunk: Callable[[Chunk], None] = lambda chunk: None,
) -> tuple[FaceTable, Run]:
    """The face table of `paths` (sorted), and what it took, over `lanes` threads.

    The table depends on files and options alone, not on the number of lanes. `samples` are the pictures by
    which each folder's FaceSwap headers are judged (see `crops.samples`); `crops` has judged some already.
    `on_chunk` is called in order.
    """
    if crops is None and options.headers:
        crops = Crops(engine.detector, options.look, samples or {})
    each = extract_each([paths], engine, options, stamp=stamp, lanes=lanes, crops=crops, on_chunk=on_chunk)
    ((table, run),) = each
    return table, run


def extract_each(
    shards: Iterable[Sequence[str]],
    engine: Engine,
    options: ExtractOptions,
    *,
    stamp: Stamp,
    lanes: int,
    crops: Crops | None,
    on_chunk: Callable[[Chunk], None] = lambda chunk: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[FaceTable, Run]]:
    """The face table of each of `shards` in turn, see `extract`.

    Lanes that find no more to do in one begin with the next, which `shards` is asked for just then. Once
    `stopping` says so, no chunk is begun any more, and the last table may hold a part of its shard: whole
    chunks from its start.
    """

    def work(item: tuple[Sequence[str], bool]) -> tuple[Chunk, bool]:
        return extract_chunk(item[0], engine, options, crops), item[1]

    done: list[Chunk] = []
    for chunk, last in in_order(_chunks(shards, stopping), work, lanes):
        done.append(chunk)
        on_chunk(chunk)
        if last:
            yield _joined(done, engine, stamp, crops)
            done = []
    if done:
        yield _joined(done, engine, stamp, crops)


def _joined(
    chunks: Sequence[Chunk], engine: Engine, stamp: Stamp, crops: Crops | None
) -> tuple[FaceTable, Run]:
    run = Run()
    for chunk in chunks:
        run.add(chunk.run)
    run.notes += [*engine.detector.notes, *engine.embedder.notes, *(crops.notes() if crops else [])]
    return table_of(chunks, stamp), run


def _chunks(
    shards: Iterable[Sequence[str]], stopping: Callable[[], bool]
) -> Iterator[tuple[Sequence[str], bool]]:
    """The chunks of each shard, and whether it is its last."""
    for paths in shards:
        for start in range(0, max(len(paths), 1), CHUNK_FILES):
            if stopping():
                return
            yield paths[start : start + CHUNK_FILES], start + CHUNK_FILES >= len(paths)


def extract_chunk(
    paths: Sequence[str], engine: Engine, options: ExtractOptions, crops: Crops | None
) -> Chunk:
    """Read, detect, align and embed the pictures at `paths`, in parts of bounded memory."""
    run = Run()
    return look(_read_in_parts(paths, options, run), engine, options, crops, run)


def look(
    parts: Iterable[list[Picture]], engine: Engine, options: ExtractOptions, crops: Crops | None, run: Run
) -> Chunk:
    """Detect, align and embed pictures that are read, part after part; each lets go of its pixels."""
    pictures: list[Picture] = []
    chips: list[Image] = []
    for part in parts:
        with run.stage("detect"):
            unknown = [p for p in part if p.source and not (crops and by_header(p, crops))]
            detect(unknown, engine.detector, options, run)
            choose(part, options, run)
        with run.stage("align"):
            chips += aligned(part)
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
        return chunk_of(pictures, chips, raw, run)


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


def by_header(picture: Picture, crops: Crops) -> bool:
    """Take the face from the picture's FaceSwap header; False where it has none that can be believed."""
    assert isinstance(picture.source, images.Source)
    crop = crops.read(picture.path, picture.source)
    picture.header, picture.reason = crop.header, crop.reason
    if crop.found is None:
        return False
    picture.seen, picture.reason = Found(crop.found), "aligned by its FaceSwap header"
    return True


def detect(pictures: Sequence[Picture], detector: Detector, options: ExtractOptions, run: Run) -> None:
    """Find the faces of each of `pictures`. One that turns out to be damaged fails."""
    try:
        found = finder.find([p.source for p in pictures if p.source], detector, options.look)
    except ImageError as error:
        # A file that can be decoded small but not whole (it is damaged far in) fails alone.
        if len(pictures) == 1:
            pictures[0].fails(error)
        else:
            for picture in pictures:
                detect([picture], detector, options, run)
        return
    for picture, picture.seen in zip(pictures, found, strict=True):
        run.counts["looked again"] += picture.seen.again
        run.counts["turned"] += 45 <= picture.seen.turn <= 315
        run.counts["straightened"] += 0 < picture.seen.turn < 45 or picture.seen.turn > 315


def choose(pictures: Sequence[Picture], options: ExtractOptions, run: Run) -> None:
    """Keep of the faces seen on each picture what the options ask for, the main face first, and settle the
    picture's outcome."""
    faces = Detections.concatenate([p.seen.faces for p in pictures])
    owner = np.repeat(np.arange(len(pictures)), [len(p.seen.faces) for p in pictures])
    widths, heights = (np.array([getattr(p, side) for p in pictures])[owner] for side in ("width", "height"))
    size = quality.size(faces.boxes)
    prominence = boxes.prominence(faces.boxes, widths, heights)
    order = np.lexsort((faces.boxes[:, 0], -faces.scores, -prominence, owner))
    order = order[align.usable(faces.landmarks)[order]]
    ends = np.searchsorted(owner[order], np.arange(len(pictures) + 1)).tolist()
    for picture, (start, stop) in zip(pictures, pairwise(ends), strict=True):
        rows = order[start:stop]
        large = rows[size[rows] >= options.min_face_size]
        if len(large):
            picture.outcome, picture.turn = Outcome.FACES, picture.seen.turn
            picture.found = faces.take(large[:1] if options.faces == "largest" else large)
            if options.faces == "all":
                run.counts["with smaller faces left out"] += len(large) < len(rows)
        elif len(rows):
            picture.outcome = Outcome.TOO_SMALL
            picture.reason = f"largest face {size[rows].max():.0f} px, the least is {options.min_face_size:g}"


def aligned(pictures: Sequence[Picture]) -> list[Image]:
    """The faces of `pictures` as 112 x 112 RGB chips, in the order of their `found`.

    Cut from pixels shrunk no further than the chip itself shrinks them: a small face comes from the whole
    picture.
    """
    matrices = iter(align.estimate(np.concatenate([p.found.landmarks for p in pictures])))
    return [
        chip for picture in pictures for chip in _chips(picture, list(islice(matrices, len(picture.found))))
    ]


def _chips(picture: Picture, matrices: Sequence[Float32]) -> list[Image]:
    chips = []
    try:
        for matrix in matrices:
            assert picture.source is not None
            chips.append(align.cut(picture.source, matrix))
    except ImageError as error:
        picture.fails(error)
        return []
    return chips
