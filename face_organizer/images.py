"""Listing pictures and reading their pixels. Nothing else in the package opens a picture.

`listing` walks folders in one order on every machine; `read` turns one file into RGB uint8 with its EXIF
orientation applied, or raises `ImageError` with the outcome and the reason that go into the table.
"""

from __future__ import annotations

import fnmatch
import io
import os
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import ImageError, UsageError
from face_organizer.types import Image, Outcome

READABLE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif"}
)
"""Endings, in lower case, that `read` can decode."""

UNSUPPORTED_ENDINGS = frozenset(
    {".heic", ".heif", ".jxl", ".jp2", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"}
)
"""Endings of pictures that cannot be decoded here: listed all the same, so that none goes unsaid."""

MARKER = ".face-organizer"
"""Name of the folder that every output folder of this program holds; a listing leaves such folders out."""

DEFAULT_MAX_PIXELS = 256_000_000
"""Largest picture that is decoded, in pixels (a 200-megapixel phone photo passes): 768 MB as RGB."""

_MAX_BYTES = 2**31 - 1
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


@dataclass(frozen=True, slots=True)
class Listing:
    """The pictures under some folders.

    `paths` are absolute, each once, sorted by their bytes. `other` counts files that are no pictures by
    their ending; `skipped` are output folders of this program; `problems` are folders that could not be
    listed, with the reason.
    """

    paths: Sequence[str]
    other: int = 0
    skipped: Sequence[str] = ()
    problems: Sequence[str] = ()


@dataclass(slots=True)
class _Walk:
    """State of one walk: what was found, and the folders seen, by device and inode, so that loops end."""

    recursive: bool
    exclude: Sequence[str]
    paths: set[str] = field(default_factory=set)
    other: int = 0
    skipped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def folder(self, root: str) -> None:
        """Walk `root`; folders behind symbolic links come last, so that a folder goes by its own path."""
        pending = deque([root])
        while pending:
            folder = pending.pop()
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in self.seen:
                    continue
                self.seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda e: os.fsencode(e.name))
            except OSError as error:
                self.problems.append(f"{folder}: {(error.strerror or str(error)).lower()}")
                continue
            if any(entry.name == MARKER for entry in entries):
                self.skipped.append(folder)
                continue
            for entry in entries:
                if self._excluded(entry.name, entry.path[len(root) :].lstrip("/")):
                    continue
                if not os.path.isdir(entry.path):
                    self.file(entry.path)
                elif self.recursive:
                    pending.appendleft(entry.path) if entry.is_symlink() else pending.append(entry.path)

    def _excluded(self, *names: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in self.exclude)

    def single(self, path: str) -> None:
        """A file that was named itself."""
        if not self._excluded(os.path.basename(path)):
            self.file(path)

    def file(self, path: str) -> None:
        if os.path.splitext(path)[1].lower() in READABLE_ENDINGS | UNSUPPORTED_ENDINGS:
            self.paths.add(path)
        else:
            self.other += 1


def listing(inputs: Sequence[str | Path], *, recursive: bool = True, exclude: Sequence[str] = ()) -> Listing:
    """The pictures in `inputs` (folders or single files), sorted, each once however often it is reached.

    Endings are matched without regard to case. Symbolic links are followed, loops end. `exclude` are
    shell patterns (`*_mask.png`, `thumbs`, `2017/*`), matched against the name and the path below the input;
    a folder that is an input itself is never left out by them. Output folders of this program are, so that an
    output inside an input is never read back. Raises `UsageError` when an input is not there.
    """
    walk = _Walk(recursive, exclude)
    for item in inputs:
        path = os.path.abspath(item)
        if not os.fspath(item):
            raise UsageError("an empty name is no folder or picture")
        if os.path.isdir(path):
            walk.folder(path)
        elif os.path.lexists(path):
            walk.single(path)
        else:
            raise UsageError(f"{printable(path)}: no such folder or picture")
    return Listing(sorted(walk.paths, key=os.fsencode), walk.other, walk.skipped, walk.problems)


def printable(path: str | os.PathLike[str]) -> str:
    """`path` fit for one line of a terminal: control characters and bytes that are no UTF-8 are escaped."""
    text = os.fspath(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def load(path: str) -> bytes:
    """The bytes of a file. Raises `ImageError` for what cannot be read, with the reason."""
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(Outcome.UNREADABLE, "not a regular file")
            if status.st_size > _MAX_BYTES:
                raise ImageError(
                    Outcome.UNSUPPORTED, f"a file of {status.st_size / 1e9:.1f} GB, the limit is 2"
                )
            data = file.read()
    except OSError as error:
        raise ImageError(Outcome.UNREADABLE, (error.strerror or str(error)).lower()) from error
    if not data:
        raise ImageError(Outcome.UNREADABLE, "empty file")
    return data


@cache
def _pillow() -> Any:
    """Pillow's module `Image`, its own pixel limit off: `decode` applies ours first."""
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None
    return PIL.Image


def _open(data: bytes) -> Any:
    """The picture in `data`, its header read. Formats are named: one of Pillow's starts another program."""
    try:
        return _pillow().open(io.BytesIO(data), formats=_FORMATS)
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # Pillow's plugins raise almost anything on hostile files; all of it means one thing
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            raise ImageError(Outcome.UNSUPPORTED, "HEIC under another name; convert it to JPEG") from error
        raise ImageError(Outcome.UNREADABLE, "not a picture, or damaged at its start") from error


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """The pixels of a picture: (height, width, 3) RGB uint8, EXIF orientation applied.

    Grey becomes three equal channels, 16 bits become 8, alpha is dropped, the first frame of an animation
    is taken. Raises `ImageError`: `unsupported` for one over `max_pixels`, of which nothing is decoded, and
    `unreadable` for one that is cut off or damaged: half a picture is never passed on as a whole one.
    """
    picture = _open(data)
    width, height = picture.size
    if width * height > max_pixels:
        megapixels = f"{width * height / 1e6:.0f} megapixels, the limit is {max_pixels / 1e6:.0f}"
        raise ImageError(Outcome.UNSUPPORTED, f"{width} x {height}: {megapixels}")
    try:
        pixels = (
            _decode_jpeg(data) if picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB") else None
        )
        return _decode_pillow(picture) if pixels is None else pixels
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(Outcome.UNREADABLE, f"not enough memory for {width} x {height}") from error
    except Exception as error:  # as in _open: whatever the plugin calls it, the file is damaged
        raise ImageError(
            Outcome.UNREADABLE, f"damaged: {str(error) or type(error).__name__}"[:200]
        ) from error


def _decode_jpeg(data: bytes) -> Image | None:
    """What OpenCV makes of a JPEG, the same pixels as Pillow in half the time; None for a damaged one."""
    import cv2

    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _decode_pillow(picture: Any) -> Image:
    from PIL import ImageOps

    if picture.mode in ("I", "F"):
        raise ImageError(Outcome.UNSUPPORTED, "32 bits a pixel; convert it to 8 or 16")
    if picture.mode.startswith("I;16"):  # `convert` would cut off at 255, not scale
        picture = _pillow().fromarray((np.asarray(ImageOps.exif_transpose(picture)) >> 8).astype(np.uint8))
    return np.array(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)


def read(path: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """One picture as (height, width, 3) RGB uint8 with EXIF applied. Raises `ImageError`."""
    ending = os.path.splitext(path)[1]
    if ending.lower() in UNSUPPORTED_ENDINGS:
        raise ImageError(
            Outcome.UNSUPPORTED, f"{printable(ending)} cannot be decoded here; convert it to JPEG"
        )
    return decode(load(path), max_pixels=max_pixels)
