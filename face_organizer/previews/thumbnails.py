"""Small upright pictures of faces, for people to look at: contact sheets, pages and reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.geometry import align
from face_organizer.machine import available_cores
from face_organizer.media import images, video
from face_organizer.types import FaceTable, Float32, Image

SIDE = 144
"""Pixels of a thumbnail's side."""

_ROOM = 0.6
"""How large the aligned face is in its thumbnail, of the 112-pixel chip's scale: the whole head fits."""
_GREY = 222
"""Around a picture shown as a whole, and in place of one that cannot be read."""
_SHIFT = 0.14  # of the side: so far a face may stand off the middle, that less lies outside the picture
_NEAR = 0.08  # of the side: so far outside the middle of another face that is seen in part
_RING = (255, 196, 0)
_RADIUS = 66  # of the ring around a face, in pixels of the aligned one


@dataclass(frozen=True, slots=True)
class Tile:
    """One face to show: the picture's path, its five landmarks (5, 2) in source pixels (NaN where they are
    not known: then the whole picture is shown), and a line or two of text below; of a video, the second of
    its frame. `others` (m, 2) are the middles of further faces, in source pixels."""

    path: str
    landmarks: Float32
    caption: str = ""
    time: float = math.nan
    others: Float32 = field(default_factory=lambda: np.empty((0, 2), np.float32))


def tile(table: FaceTable, row: int, path: str, caption: str = "") -> Tile:
    """A face of `table`, read from `path`, where its picture lies now; the others are those of its frame."""
    faces = table.faces
    start, end = np.searchsorted(faces.file_index, faces.file_index[row] + np.arange(2))
    beside = np.delete(np.arange(start, end), row - start)
    beside = beside[np.isnan(faces.time[row]) | (faces.time[beside] == faces.time[row])]
    others = faces.landmarks[beside].mean(axis=1)
    time = float(faces.time[row])
    return Tile(path, faces.landmarks[row], caption, time, others[np.isfinite(others).all(axis=1)])


def seconds(time: float) -> str:
    """Behind the name of a video: " at 12.4 s"; nothing behind that of a picture, whose time is NaN."""
    return "" if math.isnan(time) else f" at {time:.1f} s"


def thumbnails(tiles: Sequence[Tile], *, side: int = SIDE) -> Iterator[Image]:
    """Of each tile, in order, (side, side, 3) RGB uint8; plain grey where the picture cannot be read (any
    more)."""
    with ThreadPoolExecutor(available_cores().count, thread_name_prefix="thumbnail") as pool:
        yield from pool.map(lambda tile: thumbnail(tile, side), tiles)


def thumbnail(tile: Tile, side: int = SIDE) -> Image:
    """One face in the middle, upright, with its hair and chin; ringed where others are beside it."""
    try:
        source = video.picture(tile.path, tile.time)
        if align.usable(tile.landmarks[None])[0]:
            return _upright(source, tile, side)
        return _whole(source, side)
    except ImageError:
        return _ground(side)


def _ground(side: int) -> Image:
    return np.full((side, side, 3), _GREY, np.uint8)


def _upright(source: images.Shrinkable, tile: Tile, side: int) -> Image:
    import cv2

    matrix = align.estimate(tile.landmarks[None])[0]
    chip = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    # A tight crop has no room around the face: it is shown as large as the thumbnail.
    scale = max(chip * _ROOM * side / align.SIZE, side / min(source.width, source.height))
    middle = own = np.linalg.solve(matrix[:, :2], align.SIZE / 2 - matrix[:, 2])
    size = np.array([source.width, source.height])
    half = np.minimum(side / scale, size.min()) / 2
    most = _SHIFT * side / scale
    middle = own + np.clip(np.clip(own, half, size - half) - own, -most, most)
    linear = matrix[:, :2] * (scale / chip)
    placed = np.column_stack([linear, side / 2 - linear @ middle]).astype(np.float32)
    made = align.cut(source, placed, side, spread=True)
    face, *beside = np.vstack([own, tile.others]) @ linear.T + placed[:, 2]
    if any(-_NEAR * side < min(other) and max(other) < (1 + _NEAR) * side for other in beside):
        at, radius = np.rint(face).astype(int).tolist(), round(_RADIUS * scale / chip)
        cv2.circle(made, at, radius, _RING, max(1, side // 48), cv2.LINE_AA)
    return made


def _whole(source: images.Shrinkable, side: int) -> Image:
    import cv2

    pixels = source.pixels(side)[0]
    scale = side / max(pixels.shape[:2])
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    made = _ground(side)
    top, left = (side - height) // 2, (side - width) // 2
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    made[top : top + height, left : left + width] = small
    return made
