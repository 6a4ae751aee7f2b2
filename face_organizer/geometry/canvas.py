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
_REMAP_LIMIT = 32766  # cv2.warpAffine refuses sources with a side of SHRT_MAX or more


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


def uncut(boxes: Float32, placement: Placement, width: int, height: int) -> NDArray[np.bool_]:
    """(n,) whether no edge of the canvas cuts off the face in each of `boxes` (n, 4), in pixels of the
    picture of `width` x `height`, where the picture goes on behind that edge. A canvas that is turned cuts
    nothing."""
    if placement.turn:
        return np.ones(len(boxes), np.bool_)
    half = np.array([placement.width, placement.height]) / placement.scale / 2
    middle, limits, near = (
        np.array([placement.x, placement.y]),
        np.array([width, height]),
        2 / placement.scale,
    )
    low, high = middle - half, middle + half
    cut_low = (boxes[:, :2] < low + near) & (low > near)
    cut_high = (boxes[:, 2:] > high - near) & (high < limits - near)
    return np.asarray(~(cut_low | cut_high).any(axis=1))


def draw(image: Image, reduction: float, placement: Placement, canvas: Image | None = None) -> Image:
    """The canvas, (height, width, 3) uint8, with `image`, the picture shrunk by `reduction`, on it, black
    around; drawn over `canvas`, where that is given. Bilinear: `image` is to be less than twice too large.
    """
    return warped(image, placement.matrix(reduction), placement.width, placement.height, canvas)


def warped(
    image: Image,
    matrix: NDArray[np.floating],
    width: int,
    height: int,
    onto: Image | None = None,
    *,
    spread: bool = False,
) -> Image:
    """(height, width, 3) uint8 of `image` (h, w, 3) under the (2, 3) `matrix`: bilinear, black where there is
    no picture, or as the pixel nearest to it where `spread` is asked for. Of very large pictures OpenCV gets
    only what is shown."""
    import cv2

    if max(image.shape[:2]) > _REMAP_LIMIT:
        linear, shift = matrix[:, :2].astype(np.float64), matrix[:, 2].astype(np.float64)
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
        source = np.linalg.solve(linear, (corners - shift).T).T
        low = np.clip(np.floor(source.min(axis=0)).astype(np.int64) - 2, 0, None)
        high = np.minimum(np.ceil(source.max(axis=0)).astype(np.int64) + 2, low + _REMAP_LIMIT)
        image = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
        image = image if image.size else np.zeros((1, 1, 3), np.uint8)
        matrix = np.column_stack([linear, shift + linear @ low])
    border = cv2.BORDER_REPLICATE if spread else cv2.BORDER_CONSTANT
    drawn = cv2.warpAffine(
        image, matrix, (width, height), dst=onto, flags=cv2.INTER_LINEAR, borderMode=border
    )
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
