"""Reading pixels: nothing else in the package opens a picture.

`Source` is one file, decoded to RGB uint8 with its EXIF orientation applied and only as large as someone
needs it; what cannot be used raises `ImageError` with the outcome and the reason that go into the table.
`decoders` says by which decoder each kind of picture is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.files import reason
from face_organizer.media import decoders
from face_organizer.media.kinds import ending as ending
from face_organizer.media.kinds import kind, unsupported
from face_organizer.types import Image, Outcome

DEFAULT_MAX_PIXELS = 256_000_000
"""Largest picture that is decoded, in pixels (a 200-megapixel phone photo passes): 768 MB as RGB."""

WORTH_DECODING = 800
"""Longer side, in pixels, below which no picture is decoded: undoing a JPEG's Huffman codes takes half of the
time at any size, and most faces are cut from pixels as large as this."""

_MAX_BYTES = 2**31 - 1


def content_of(data: bytes) -> int:
    """The first 64 bits of the BLAKE2b of a file's bytes."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def content_of_file(path: str) -> int:
    """What `content_of` gives for the bytes of a file of any size. Raises `ImageError`."""
    with opened(path) as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
    return int.from_bytes(digest.digest(), "big")


@contextlib.contextmanager
def opened(path: str) -> Iterator[io.BufferedReader]:
    """A regular file that is not empty, open for reading. Raises `ImageError` for what cannot be read, with
    the reason, inside the block too."""
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(Outcome.UNREADABLE, "not a regular file")
            if not status.st_size:
                raise ImageError(Outcome.UNREADABLE, "empty file")
            yield file
    except OSError as error:
        raise ImageError(Outcome.UNREADABLE, reason(error), passing=True) from error


class Shrinkable:
    """A picture of `width` x `height` pixels that gives them as small as will do, and keeps what it gave.

    `decode` gives it whole, shrunk by 1, 2, 4 or 8. `max_side` shrinks the picture until its longer side is
    below twice that; `enhance` lights it evenly, for dark pictures.
    """

    def __init__(
        self,
        width: int,
        height: int,
        decode: Callable[[int], Image],
        *,
        max_side: int | None = None,
        enhance: bool = False,
    ) -> None:
        self.width, self.height = width, height
        self._decode, self._enhance = decode, enhance
        self._largest = max_side or math.inf
        self._shrunk: dict[int, Image] = {}

    def pixels(self, longer_side: float = math.inf) -> tuple[Image, float]:
        """(h, w, 3) RGB uint8 with a longer side of at least `longer_side` or the whole, and the reduction r.

        r is 1, 2, 4 or 8: how much the picture is shrunk. Raises `ImageError` (`unreadable`) for one that is
        cut off or damaged: half a picture is never passed on as a whole one.
        """
        reduction = self._reduction(longer_side)
        if reduction not in self._shrunk:
            # Always from the same pixels, in whatever order the sizes are asked for.
            decoded = min(reduction, self._reduction(WORTH_DECODING))
            if decoded not in self._shrunk:
                with decoders.damage(self.width, self.height):
                    pixels = self._decode(decoded)
                    if pixels.shape[:2] != (-(-self.height // decoded), -(-self.width // decoded)):
                        raise ImageError(Outcome.UNREADABLE, "damaged: its size is not what its header says")
                    self._shrunk[decoded] = _evenly_lit(pixels) if self._enhance else pixels
            self._shrunk[reduction] = decoders.shrunk(self._shrunk[decoded], reduction // decoded)
        return self._shrunk[reduction], float(reduction)

    @property
    def missing(self) -> tuple[int, int, int, int] | None:
        """What its file lacks of the picture, x1, y1, x2, y2 in pixels; known once it is decoded."""
        return getattr(self._decode, "missing", None)

    def _reduction(self, longer_side: float) -> int:
        longer, wanted = max(self.width, self.height), min(longer_side, self._largest)
        return next((r for r in (8, 4, 2) if longer / r >= wanted), 1)


class Source(Shrinkable):
    """The bytes of one picture file: their header now, pixels when and as large as they are needed; of a
    `raw` photo its preview.

    `width` and `height` are pixels after EXIF; `content` is `content_of` the bytes. Raises `ImageError` when
    made: `unsupported` for a picture over `max_pixels`, of which nothing is decoded; `unreadable` for what is
    no picture. JPEGs are shrunk while they are decoded, others after. Grey becomes three equal channels, 16
    bits become 8, alpha is dropped, the first frame of an animation is taken.
    """

    def __init__(
        self,
        data: bytes,
        *,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        max_side: int | None = None,
        enhance: bool = False,
        raw: bool = False,
    ) -> None:
        self.data, self.content = data, content_of(data)
        opened = decoders.open_raw(data, max_pixels) if raw else decoders.open_picture(data, max_pixels)
        super().__init__(*opened, max_side=max_side, enhance=enhance)


class Decoded(Shrinkable):
    """A picture that is decoded already, such as a frame of a video: `image` is (h, w, 3) RGB uint8."""

    def __init__(self, image: Image, *, max_side: int | None = None, enhance: bool = False) -> None:
        decode, (height, width) = partial(decoders.shrunk, image), image.shape[:2]
        super().__init__(width, height, decode, max_side=max_side, enhance=enhance)


def _evenly_lit(pixels: Image) -> Image:
    """Contrast-limited adaptive equalisation of lightness (Zuiderveld 1994): 8 x 8 tiles, limit 2."""
    import cv2

    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def open_source(
    path: str, *, max_pixels: int = DEFAULT_MAX_PIXELS, max_side: int | None = None, enhance: bool = False
) -> Source:
    """The picture file at `path`. Raises `ImageError`, for a file of 2 GB or more too."""
    if kind(path) == "unsupported":
        raise ImageError(Outcome.UNSUPPORTED, unsupported(path))
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MAX_BYTES:
            raise ImageError(Outcome.UNSUPPORTED, f"a file of {size / 1e9:.1f} GB, the limit is 2")
        data = file.read()
    raw = kind(path) == "raw"
    return Source(data, max_pixels=max_pixels, max_side=max_side, enhance=enhance, raw=raw)


def read(path: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """One whole picture as (height, width, 3) RGB uint8 with EXIF applied. Raises `ImageError`."""
    return open_source(path, max_pixels=max_pixels).pixels()[0]
