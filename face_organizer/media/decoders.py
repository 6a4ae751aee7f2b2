"""How a picture file is read: which decoder takes which, in `open_picture` alone.

Headers, for size and orientation, are read by Pillow; pixels of JPEGs are decoded by OpenCV, which shrinks
them on the way and takes half of Pillow's time for the same pixels; 8-bit RGB PNGs, as FaceSwap writes them,
by `png`; everything else by Pillow.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.media import png
from face_organizer.types import Image, Outcome

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def open_picture(data: bytes, max_pixels: int) -> tuple[int, int, Callable[[int], Image]]:
    """Width and height of the picture in `data` after EXIF, by its header, and what decodes it, shrunk by 1,
    2, 4 or 8, to (h, w, 3) RGB uint8; that may raise anything, see `damage`.

    Raises `ImageError`: `unsupported` for more than `max_pixels`, of which nothing is decoded, `unreadable`
    for what is no picture.
    """
    if plain := png.plain(data):
        _check_size(plain.width, plain.height, max_pixels)
        return plain.width, plain.height, partial(_decode_png, plain, data)
    picture = _pillow_picture(data)
    width, height = picture.size
    _check_size(width, height, max_pixels)
    if picture.format == "PNG":
        # EXIF may stand behind the pixels: reading it loads them, and hides damage
        with damage(width, height):
            picture.load()
    # Pillow gives a TIFF's size as it will be turned, every other picture's as it lies.
    if picture.format != "TIFF" and _orientation(picture) >= 5:
        width, height = height, width
    if picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB"):
        return width, height, partial(_decode_jpeg, data)
    return width, height, partial(_decode_by_pillow, picture)


@contextlib.contextmanager
def damage(width: int, height: int) -> Iterator[None]:
    """Turn whatever decoding raises into an `ImageError`: decoders raise almost anything on hostile files."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        reason = f"not enough memory for {width} x {height}"
        raise ImageError(Outcome.UNREADABLE, reason, passing=True) from error
    except Exception as error:
        reason = f"damaged: {str(error) or type(error).__name__}"[:200]
        raise ImageError(Outcome.UNREADABLE, reason) from error


def shrunk(pixels: Image, reduction: int) -> Image:
    """(h, w, 3) `pixels` averaged over squares of `reduction` x `reduction`, the last over what is there."""
    if reduction == 1:
        return pixels
    import cv2

    height, width = pixels.shape[:2]
    below, right = -height % reduction, -width % reduction
    if below or right:
        pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    size = pixels.shape[1] // reduction, pixels.shape[0] // reduction
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        size = f"{width} x {height}: {width * height / 1e6:.0f} megapixels"
        limit = f"the limit is {max_pixels / 1e6:.0f} (--max-megapixels)"
        raise ImageError(Outcome.UNSUPPORTED, f"{size}, {limit}")


def _decode_png(plain: png.PlainPng, data: bytes, reduction: int) -> Image:
    if (pixels := plain.pixels()) is None:
        return _decode_by_pillow(_pillow_picture(data), reduction)
    return shrunk(pixels, reduction)


def _decode_jpeg(data: bytes, reduction: int) -> Image:
    import cv2

    # The greyscale flag is the bare reduction.
    flag = 0 if reduction == 1 else getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{reduction}")
    with contextlib.suppress(cv2.error):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_COLOR_RGB)
        if pixels is not None:
            return np.asarray(pixels, np.uint8)
    return _decode_by_pillow(_pillow_picture(data), reduction)


def _decode_by_pillow(picture: Any, reduction: int) -> Image:
    """The first frame, turned upright. Raises `ImageError` for 32 bits per pixel."""
    from PIL import ImageOps

    if picture.mode in ("I", "F"):
        raise ImageError(Outcome.UNSUPPORTED, "32 bits per pixel; convert it to 8 or 16")
    if picture.mode.startswith("I;16"):  # `convert` would cut off at 255, not scale
        picture = _pillow().fromarray((np.asarray(ImageOps.exif_transpose(picture)) >> 8).astype(np.uint8))
    return shrunk(np.array(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8), reduction)


@cache
def _pillow() -> Any:
    """Pillow's module `Image`, its own pixel limit off: ours is applied first."""
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None
    return PIL.Image


def _pillow_picture(data: bytes) -> Any:
    """The picture in `data`, its header read. Formats are named: one of Pillow's starts another program."""
    try:
        return _pillow().open(io.BytesIO(data), formats=_FORMATS)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise almost anything on hostile files; all means one thing
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            raise ImageError(Outcome.UNSUPPORTED, "HEIC under another name; convert it to JPEG") from error
        raise ImageError(Outcome.UNREADABLE, "not a picture, or damaged at its start") from error


def _orientation(picture: Any) -> int:
    """The EXIF orientation, 1 to 8; 1 where a damaged EXIF block hides it: the pixels may be whole."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:
        return 1
