"""Small upright pictures of faces, for people to look at: contact sheets, pages and reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.geometry import align
from face_organizer.machine import available_cores
from face_organizer.media import images, video
from face_organizer.types import Float32, Image

SIDE = 144
"""Pixels of a thumbnail's side."""

_ROOM = 0.6
"""How large the aligned face is in its thumbnail, of the 112-pixel chip's scale: the whole head fits."""
_GREY = 96


@dataclass(frozen=True, slots=True)
class Tile:
    """One face to show: the picture's path, its five landmarks (5, 2) in source pixels (NaN where they are
    not known: then the whole picture is shown), and a line of text below; of a video, the second of its
    frame."""

    path: str
    landmarks: Float32
    caption: str = ""
    time: float = math.nan


def thumbnails(tiles: Sequence[Tile], *, side: int = SIDE) -> Iterator[Image]:
    """Of each tile, in order, (side, side, 3) RGB uint8; plain grey where the picture cannot be read (any
    more)."""
    with ThreadPoolExecutor(available_cores().count, thread_name_prefix="thumbnail") as pool:
        yield from pool.map(lambda tile: thumbnail(tile, side), tiles)


def thumbnail(tile: Tile, side: int = SIDE) -> Image:
    """One face, upright, with its hair and chin."""
    try:
        source = video.picture(tile.path, tile.time)
        if align.usable(tile.landmarks[None])[0]:
            return _upright(source, tile.landmarks, side)
        return _whole(source, side)
    except ImageError:
        return np.full((side, side, 3), _GREY, np.uint8)


def _upright(source: images.Shrinkable, landmarks: Float32, side: int) -> Image:
    matrix = align.estimate(landmarks[None])[0]
    shorter = min(source.width, source.height)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0])) * _ROOM * side / align.SIZE
    # A tight crop has no room around the face: what lies outside the picture would be black.
    scale = max(scale, side / shorter)
    linear = matrix[:, :2] * (scale / np.hypot(matrix[0, 0], matrix[1, 0]))
    middle = np.linalg.solve(matrix[:, :2], align.SIZE / 2 - matrix[:, 2])
    half = min(side / scale, shorter) / 2
    middle = np.clip(middle, half, np.array([source.width, source.height]) - half)
    placed = np.column_stack([linear, side / 2 - linear @ middle]).astype(np.float32)
    return align.cut(source, placed, side)


def _whole(source: images.Shrinkable, side: int) -> Image:
    import cv2

    pixels = source.pixels(side)[0]
    scale = side / max(pixels.shape[:2])
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    made = np.full((side, side, 3), _GREY, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    made[top : top + height, left : left + width] = small
    return made
