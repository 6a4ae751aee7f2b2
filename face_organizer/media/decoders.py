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

_FORMATS = ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF", "HEIF"]
_FORMATS += ["JPEG2000", "PSD", "PPM", "TGA", "QOI"]

LEAST_PREVIEW = 1000
"""Longer side, in pixels, below which the preview in a raw photo is a thumbnail."""
LEAST_ROWS = 0.95
"""Share of a JPEG's rows that must be in the file: every viewer shows one that lacks its last bytes."""


def open_picture(data: bytes, max_pixels: int) -> tuple[int, int, Callable[[int], Image]]:
    """Width and height of the picture in `data` after EXIF, by its header, and what decodes it, shrunk by 1,
    2, 4 or 8, to (h, w, 3) RGB uint8; that may raise anything, see `damage`.

    Raises `ImageError`: `unsupported` for more than `max_pixels`, of which nothing is decoded, `unreadable`
    for what is no picture.
    """
    if plain := png.plain(data):
        check_size(plain.width, plain.height, max_pixels)
        return plain.width, plain.height, partial(_decode_png, plain, data)
    picture = pillow_picture(data)
    width, height = picture.size
    check_size(width, height, max_pixels)
    if picture.format == "PNG":
        # EXIF may stand behind the pixels: reading it loads them, and hides damage
        with damage(width, height):
            picture.load()
    # Pillow gives a TIFF's size as it will be turned, every other picture's as it lies.
    if picture.format != "TIFF" and _orientation(picture) >= 5:
        width, height = height, width
    if picture.format == "TIFF" and picture.tag_v2.get(284) == 2 and max(picture.tag_v2.get(258, (1,))) > 8:
        # Pillow takes their uncompressed planes for pixels side by side.
        raise ImageError(Outcome.UNSUPPORTED, f"a TIFF of {_kind_of_tiff(data)}; convert it to 8 bits")
    if picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB"):
        return width, height, _Jpeg(data)
    return width, height, partial(by_pillow, picture)


def open_raw(data: bytes, max_pixels: int) -> tuple[int, int, Callable[[int], Image]]:
    """As `open_picture`, of a raw photo: the preview in it, upright, or, where that is small, the photo
    itself, developed at half its size. Raises `ImageError`, `unsupported` where LibRaw is not installed."""
    try:
        import rawpy
    except ImportError as error:
        mend = "`pip install rawpy==0.28.0` lets its preview be read; or give the JPEG beside it"
        raise ImageError(Outcome.UNSUPPORTED, f"a raw photo: {mend}") from error
    with damage(0, 0), rawpy.imread(io.BytesIO(data)) as raw:
        pixels = _raw_preview(raw)
        if pixels is None or max(pixels.shape) < LEAST_PREVIEW:
            check_size(raw.sizes.width, raw.sizes.height, max_pixels)
            pixels = raw.postprocess(half_size=True, use_camera_wb=True)
    height, width = pixels.shape[:2]
    check_size(width, height, max_pixels)
    return width, height, partial(shrunk, np.ascontiguousarray(pixels, np.uint8))


def _raw_preview(raw: Any) -> Image | None:
    """The preview in a raw photo that LibRaw has open, upright; None where there is none that it reads."""
    import rawpy

    try:
        preview = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    turn = {3: 2, 5: 1, 6: 3}.get(raw.sizes.flip, 0)  # LibRaw's names for half and quarter turns
    if preview.format == rawpy.ThumbFormat.BITMAP:
        return np.asarray(np.rot90(preview.data, turn))
    picture = pillow_picture(preview.data)
    pixels = by_pillow(picture, 1)
    return pixels if _orientation(picture) > 1 else np.rot90(pixels, turn)


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


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise `ImageError` for a picture of more than `max_pixels`."""
    if width * height > max_pixels:
        size = f"{width} x {height}: {width * height / 1e6:.0f} megapixels"
        limit = f"the limit is {max_pixels / 1e6:.0f} (--max-megapixels)"
        raise ImageError(Outcome.UNSUPPORTED, f"{size}, {limit}")


def _decode_png(plain: png.PlainPng, data: bytes, reduction: int) -> Image:
    if (pixels := plain.pixels()) is None:
        return by_pillow(pillow_picture(data), reduction)
    return shrunk(pixels, reduction)


class _Jpeg:
    """Decodes a JPEG. Where its end is cut off and few of its rows with it, `missing` is the part of the
    upright picture, x1, y1, x2, y2 in pixels, that is black for that."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.missing: tuple[int, int, int, int] | None = None

    def __call__(self, reduction: int) -> Image:
        import cv2

        # The greyscale flag is the bare reduction.
        flag = 0 if reduction == 1 else getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{reduction}")
        with contextlib.suppress(cv2.error):
            pixels = cv2.imdecode(np.frombuffer(self._data, np.uint8), flag | cv2.IMREAD_COLOR_RGB)
            if pixels is not None:
                return np.asarray(pixels, np.uint8)
        try:
            return by_pillow(pillow_picture(self._data), reduction)
        except OSError:
            if (short := self._without_end()) is None:
                raise
            return shrunk(short, reduction)

    def _without_end(self) -> Image | None:
        """The picture, where at least `LEAST_ROWS` of its rows are in the file; None for a progressive one,
        whose missing bytes are everywhere."""
        from PIL import ImageOps

        picture = pillow_picture(self._data + b"\xff\xd9")
        if picture.info.get("progressive"):
            return None
        stored = np.array(picture.convert("RGB"), np.int16)
        # libjpeg makes grey of the blocks that are not there: of the last one that is, some may be smeared.
        grey = np.asarray((np.abs(stored - 128) <= 2).all(axis=2))
        rows = int(np.flatnonzero(~np.asarray(grey.all(axis=1))).max(initial=-1)) + 1
        if rows < LEAST_ROWS * picture.height:
            return None
        gone, last = np.zeros(grey.shape, np.uint8), (rows - 1) // 16 * 16
        if grey[-4:, -4:].all():  # colours of the row above reach a little down
            gone[last:] = 255
        mask = _pillow().fromarray(gone)
        mask.getexif()[0x0112] = _orientation(picture)
        self.missing = ImageOps.exif_transpose(mask).getbbox()
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)


def by_pillow(picture: Any, reduction: int) -> Image:
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
    import pi_heif
    import PIL.Image

    pi_heif.register_heif_opener(thumbnails=False)
    PIL.Image.MAX_IMAGE_PIXELS = None
    return PIL.Image


def pillow_picture(data: bytes) -> Any:
    """The picture in `data`, its header read. Formats are named: one of Pillow's starts another program."""
    try:
        return _pillow().open(io.BytesIO(data), formats=_FORMATS)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise almost anything on hostile files; all means one thing
        if kind := _kind_of_tiff(data):
            raise ImageError(Outcome.UNSUPPORTED, f"a TIFF of {kind}; convert it to 8 bits") from error
        raise ImageError(Outcome.UNREADABLE, "not a picture, or damaged at its start") from error


def _kind_of_tiff(data: bytes) -> str:
    """The bits and the layout of a TIFF in words; empty for what is none, or damaged."""
    from PIL import TiffImagePlugin

    if data[:4] not in (b"II*\0", b"MM\0*"):
        return ""
    try:
        tags, file = TiffImagePlugin.ImageFileDirectory_v2(data[:8]), io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        bits, floating = tags.get(258, (1,)), 3 in tags.get(339, ())
    except Exception:  # as above: damaged
        return ""
    layout = " in planes" if tags.get(284) == 2 else ""
    return f"{len(bits)} × {max(bits)} bits{' floating point' * floating}{layout}"


def _orientation(picture: Any) -> int:
    """The EXIF orientation, 1 to 8; 1 where a damaged EXIF block hides it: the pixels may be whole."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:
        return 1
