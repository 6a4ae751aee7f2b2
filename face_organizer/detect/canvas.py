"""Placing pictures on the square canvases that detectors look at, and bringing what they find back.

A detector finds faces of some tens to some hundreds of canvas pixels, with room around them: a picture is
scaled to fit, a tight crop gets a border, and only what is found no other way is looked at larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from face_organizer.types import Detections, Image

SMALL, LARGE = 320, 640
_SMALLEST_ON_CANVAS = 16.0  # pixels: YuNet and SCRFD find few faces below twice the first stride of 8


@dataclass(frozen=True, slots=True)
class Placement:
    """A picture on a canvas of `size` x `size` pixels: scaled by `scale`, its corner at (`left`, `top`)."""

    size: int
    scale: float
    left: int
    top: int


def fit(width: int, height: int, size: int, border: float = 0.0) -> Placement:
    """The picture as large as fits, with `border` times its longer side kept free on every side."""
    longer = max(width, height)
    room = size / (1 + 2 * border)
    scale = room / longer
    margin = (size - longer * scale) / 2 if border else 0.0
    return Placement(size, scale, round(margin), round(margin))


def attempts(
    width: int, height: int, *, min_face_size: float, every_face: bool, fixed: int | None
) -> Iterator[Placement]:
    """The canvases to try for a picture of this size, in turn, until a face is found.

    First the whole picture with a border of an eighth, for faces that fill it, at 320 px; where every face
    is wanted and `min_face_size` would be lost there, at 640 px or as large as keeps it. Then once more,
    larger and without a border.
    """
    if fixed:
        yield fit(width, height, fixed, 0.125)
        yield fit(width, height, fixed)
        return
    longer = max(width, height)
    keeps_smallest = _SMALLEST_ON_CANVAS / max(min_face_size, 1.0) * longer
    first = SMALL
    if every_face:
        first = min(max(SMALL, _multiple(keeps_smallest)), 4 * SMALL)
    yield fit(width, height, first, 0.125)
    yield fit(width, height, min(max(LARGE, first), 4 * SMALL))


def _multiple(value: float, of: int = 32) -> int:
    return math.ceil(value / of) * of


@cache
def _cv2() -> Any:
    import cv2

    return cv2


def draw(image: Image, placement: Placement, canvas: Image) -> None:
    """Draw (h, w, 3) `image` on the zeroed (size, size, 3) `canvas` as `placement` says."""
    cv2 = _cv2()
    height, width = image.shape[:2]
    drawn_w = max(1, min(round(width * placement.scale), placement.size - placement.left))
    drawn_h = max(1, min(round(height * placement.scale), placement.size - placement.top))
    # Averaging when shrinking by more than half keeps thin faces from breaking up; below that, bilinear as
    # the detectors were trained with.
    method = cv2.INTER_AREA if placement.scale < 0.5 else cv2.INTER_LINEAR
    resized = cv2.resize(image, (drawn_w, drawn_h), interpolation=method)
    canvas[placement.top : placement.top + drawn_h, placement.left : placement.left + drawn_w] = resized


def to_source(found: Detections, placement: Placement) -> Detections:
    """What was found on the canvas, in pixels of the picture."""
    offset = np.array([placement.left, placement.top], np.float32)
    scale = np.float32(placement.scale)
    return Detections(
        ((found.boxes.reshape(-1, 2, 2) - offset) / scale).reshape(-1, 4),
        found.scores,
        (found.landmarks - offset) / scale,
    )
