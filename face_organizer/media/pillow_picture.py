"""Every picture that is no plain JPEG or PNG: Pillow reads it."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.types import Image, Outcome

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


@cache
def _pillow() -> Any:
    """Pillow's module `Image`, its own pixel limit off: `images` applies ours first."""
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None
    return PIL.Image


def open_picture(data: bytes) -> Any:
    """The picture in `data`, its header read. Formats are named: one of Pillow's starts another program.

    Raises `ImageError` for what is none.
    """
    try:
        return _pillow().open(io.BytesIO(data), formats=_FORMATS)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise almost anything on hostile files; all means one thing
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
            raise ImageError(Outcome.UNSUPPORTED, "HEIC under another name; convert it to JPEG") from error
        raise ImageError(Outcome.UNREADABLE, "not a picture, or damaged at its start") from error


def orientation(picture: Any) -> int:
    """The EXIF orientation, 1 to 8; 1 where a damaged EXIF block does not tell: the pixels may be whole."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:
        return 1


def decode(picture: Any) -> Image:
    """(h, w, 3) RGB uint8, turned upright, of the first frame. Raises `ImageError` for 32 bits a pixel, and
    whatever Pillow raises for damage."""
    from PIL import ImageOps

    if picture.mode in ("I", "F"):
        raise ImageError(Outcome.UNSUPPORTED, "32 bits a pixel; convert it to 8 or 16")
    if picture.mode.startswith("I;16"):  # `convert` would cut off at 255, not scale
        picture = _pillow().fromarray((np.asarray(ImageOps.exif_transpose(picture)) >> 8).astype(np.uint8))
    return np.array(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)
