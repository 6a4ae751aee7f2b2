"""One picture on its way through extraction: how to look at it, what is known of it, what looking took."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from face_organizer.detect import Found, Look, canvases
from face_organizer.errors import ImageError
from face_organizer.faceswap import Header
from face_organizer.media import images
from face_organizer.types import NO_FACES, Detections, Outcome


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """What to look for. `faces` is `largest` (one row a picture) or `all`; sizes are source pixels.

    `det_size` overrides the side of the first canvas, in pixels, a multiple of 32; `turns` allows to look at
    turned pictures; `max_side` shrinks pictures to that longer side first; `enhance` is `none` or `clahe`;
    `headers` believes FaceSwap headers that the detector confirms; `fps` frames of each second of a video are
    looked at.
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
    fps: float = 1.0

    @property
    def look(self) -> Look:
        """The part of the options that the finder needs."""
        return Look(self.min_confidence, self.min_face_size, self.faces == "all", self.det_size, self.turns)


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
    turn: int = 0
    header: Header | None = None
    seen: Found = field(default_factory=Found)
    """Every face on it."""
    found: Detections = NO_FACES
    """The faces that become rows of the table, the main one first."""

    @classmethod
    def at(cls, path: str) -> Picture:
        """The file at `path` with its size and time, where it has any."""
        picture = cls(path)
        with contextlib.suppress(OSError):
            status = os.stat(path)
            picture.bytes, picture.mtime_ns = status.st_size, status.st_mtime_ns
        return picture

    def fails(self, error: ImageError) -> None:
        """Settle the outcome of a picture that cannot be used."""
        self.outcome, self.reason, self.retry = error.outcome, error.reason, error.passing
        self.source, self.seen, self.found = None, Found(), NO_FACES


def read(path: str, options: ExtractOptions) -> Picture:
    """The picture at `path` with the pixels of its first look, or with the outcome and the reason why it has
    none."""
    picture = Picture.at(path)
    try:
        source = images.open_source(
            path,
            max_pixels=options.max_pixels,
            max_side=options.max_side,
            enhance=options.enhance == "clahe",
        )
        picture.source, picture.content = source, source.content
        picture.width, picture.height = source.width, source.height
        source.pixels(canvases.LARGEST_LOOK if options.faces == "all" else canvases.FIRST_LOOK)
    except ImageError as error:
        picture.fails(error)
    return picture
