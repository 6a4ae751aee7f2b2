"""Placing pictures on the canvases that detectors look at, and bringing what they find back.

A placement is one similarity transform from pixels of the whole picture to those of a canvas, so that a whole
picture, a part of it and a turned one are drawn and brought back the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Detections, Float32, Image

Matrix = NDArray[np.float64]

STRIDE = 32
"""Sides of a canvas are multiples of this many pixels."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies on a canvas of `height` x `width` pixels.

    `scale` is canvas pixels per picture pixel. The picture is turned by `turn` degrees counter-clockwise
    about (`x`, `y`), in picture pixels, and that point lies in the middle of the canvas.
    """

    height: int
    width: int
    scale: float
    x: float
    y: float
    turn: int = 0

    def matrix(self, reduction: float = 1.0) -> Matrix:
        """(2, 3) from pixels of the picture, shrunk by `reduction`, to those of the canvas.

        Whole numbers are the centers of pixels, so a shrunk picture's pixel p lies at r·p + (r − 1)/2.
        """
        at = np.array([self.x, self.y]) - (reduction - 1) / 2
        placed = _about(self._linear, at, self._middle)
        placed[:, :2] *= reduction
        return placed

    def inverse(self) -> Matrix:
        """(2, 3) from pixels of the canvas to those of the picture."""
        return _about(self._linear.T / self.scale**2, self._middle, np.array([self.x, self.y]))

    @property
    def _linear(self) -> Matrix:
        """(2, 2) turn and scale."""
        angle = math.radians(self.turn)
        along, across = self.scale * math.cos(angle), self.scale * math.sin(angle)
        return np.array([[along, across], [-across, along]])

    @property
    def _middle(self) -> Matrix:
        return np.array([self.width - 1, self.height - 1]) / 2


def _about(linear: Matrix, point: Matrix, goal: Matrix) -> Matrix:
    """(2, 3) `linear`, then shifted so that `point` comes to `goal`."""
    return np.column_stack([linear, goal - linear[:, 0] * point[0] - linear[:, 1] * point[1]])


def whole(width: int, height: int, longer_side: int, border: float = 0.0, turn: int = 0) -> Placement:
    """The whole picture on a canvas whose longer side has `longer_side` pixels, a multiple of `STRIDE`.

    `border` times the picture's longer side stays free around it, for faces that fill a picture. Half-quarter
    turns (45°) get a square canvas that holds the turned corners.
    """
    across = (height, width) if turn % 180 == 90 else (width, height)
    if turn % 90:
        across = (round(math.hypot(width, height)),) * 2
    longer = max(across)
    scale = longer_side / (longer * (1 + 2 * border))
    sides = (side * scale + 2 * border * longer * scale for side in across)
    canvas_w, canvas_h = (max(STRIDE, math.ceil((side - 1e-6) / STRIDE) * STRIDE) for side in sides)
    return Placement(canvas_h, canvas_w, scale, (width - 1) / 2, (height - 1) / 2, turn)


def around(box: Float32, side: int, face: float, turn: int = 0) -> Placement:
    """The part of a picture around `box` (4,), on a square canvas of `side` pixels, the face `face` large."""
    x1, y1, x2, y2 = (float(v) for v in box)
    size = max(math.sqrt(max((x2 - x1) * (y2 - y1), 0.0)), 1.0)
    return Placement(side, side, face / size, (x1 + x2) / 2, (y1 + y2) / 2, turn)


def draw(image: Image, reduction: float, placement: Placement, canvas: Image | None = None) -> Image:
    """The canvas, (height, width, 3) uint8, with `image`, the picture shrunk by `reduction`, on it, black
    around; drawn over `canvas`, where that is given. Bilinear: `image` is to be less than twice too large.
    """
    import cv2

    size = placement.width, placement.height
    drawn = cv2.warpAffine(image, placement.matrix(reduction), size, dst=canvas, flags=cv2.INTER_LINEAR)
    return np.asarray(drawn, np.uint8)


def to_picture(found: Detections, placement: Placement) -> Detections:
    """What was found on the canvas, in pixels of the picture. Boxes stay upright: those of a turned canvas
    are turned back where that leaves their sides upright, else (45°) keep their size and move."""
    if not len(found):
        return found
    inverse = placement.inverse()
    corners = found.boxes.reshape(-1, 2, 2) @ inverse[:, :2].T + inverse[:, 2]
    if placement.turn % 90:
        middle = corners.mean(axis=1)
        half = (found.boxes[:, 2:] - found.boxes[:, :2]) / placement.scale / 2
        boxes = np.concatenate([middle - half, middle + half], axis=1)
    else:
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    landmarks = found.landmarks @ inverse[:, :2].T + inverse[:, 2]
    return Detections(boxes.astype(np.float32), found.scores, landmarks.astype(np.float32))
