"""The plain kind of PNG, fast: 8-bit RGB as FaceSwap writes its crops by the hundred thousand.

Most of the time that reading a PNG takes is inflating it, which ISA-L does in less than half of zlib's time,
and without holding other threads up. Every other kind of PNG is Pillow's: see `images`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from face_organizer.types import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = b"\x08\x02\x00\x00\x00"  # 8 bits, RGB, the one compression and filter method, not interlaced
_ELSEWHERE = (b"eXIf", b"tRNS", b"acTL")  # an orientation, transparency, an animation
_KEYWORDS = (b"Raw profile type", b"XML:com.adobe.xmp")  # of texts that may hold an orientation


@dataclass(frozen=True, slots=True)
class PlainPng:
    """An RGB picture of `width` x `height` pixels, still compressed."""

    width: int
    height: int
    _data: bytes
    _parts: tuple[slice, ...]

    def pixels(self) -> Image | None:
        """(height, width, 3) RGB uint8; None where a line has a filter other than none and Sub.

        Raises `ValueError` or `zlib.error` where the data is cut off or damaged (its Adler-32 is checked).
        """
        from isal import isal_zlib

        view = memoryview(self._data)
        packed = view[self._parts[0]] if len(self._parts) == 1 else b"".join(view[p] for p in self._parts)
        line, stream = 1 + 3 * self.width, isal_zlib.decompressobj()
        raw = stream.decompress(packed, self.height * line)
        # No more than the picture needs is unpacked; what is left of the stream must be its checksum.
        more = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
        if len(raw) != self.height * line or more or not stream.eof:
            raise ValueError("its data is cut off, or more than its size tells")
        lines = np.frombuffer(raw, np.uint8).reshape(self.height, line)
        filters = lines[:, 0]
        if filters.max() > 1:
            return None
        pixels = lines[:, 1:].reshape(self.height, self.width, 3)
        # Sub: each value is the difference to that of the pixel on its left, modulo 256.
        if filters.all():
            return np.asarray(np.add.accumulate(pixels, axis=1, dtype=np.uint8))
        pixels = pixels.copy()
        sub = filters == 1
        pixels[sub] = np.add.accumulate(pixels[sub], axis=1, dtype=np.uint8)
        return pixels


def plain(data: bytes) -> PlainPng | None:
    """The picture in `data` where it is a whole PNG of the plain kind that does not say which way is up."""
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR" or data[24:29] != _RGB:
        return None
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        return None
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    parts: list[slice] = []
    at = 33
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IDAT":
            parts.append(slice(at + 8, at + 8 + length))
        elif kind == b"IEND":
            return PlainPng(width, height, data, tuple(parts)) if parts and width and height else None
        elif kind in _ELSEWHERE or data[at + 8 : at + 8 + 32].startswith(_KEYWORDS):
            return None
        at += 12 + length
    return None
