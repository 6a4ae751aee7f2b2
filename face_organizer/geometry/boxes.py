"""Boxes of faces: how much they overlap, which of several is the best, which is the main face's.

A box is x1, y1, x2, y2 in pixels; boxes are (n, 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Detections, Float32, Int64


def area(boxes: NDArray[Any], extra: float = 0.0) -> NDArray[Any]:
    """(n,) the area of each box, 0 where it is inside out; `extra` is added to widths and heights."""
    return _area(boxes[..., :2], boxes[..., 2:], extra)


def _area(low: NDArray[Any], high: NDArray[Any], extra: float) -> NDArray[Any]:
    sides = np.maximum(high - low + extra, 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def shared(boxes: NDArray[Any], others: NDArray[Any], extra: float = 0.0) -> NDArray[Any]:
    """(n, m) the area that each of `boxes` has in common with each of (m, 4) `others`; see `area`."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return _area(low, high, extra)


def overlap(boxes: Float32, others: Float32) -> Float32:
    """(n, m) intersection over union of each of `boxes` with each of (m, 4) `others`; 0 where both are
    without area."""
    common = shared(boxes, others)
    union = area(boxes)[:, None] + area(others) - common
    return np.asarray(common / np.where(union > 0, union, 1), np.float32)


def nms(boxes: NDArray[np.floating], scores: Float32, iou: float, extra: float = 0.0) -> Int64:
    """Non-maximum suppression: rows of `boxes` that stay, best score first; equal scores in the order given.

    `scores` is (n,). A box goes when its intersection over union with a better one that stays is larger than
    `iou`. `extra` is 1 for the convention that x2 is the last pixel inside (insightface), 0 for x2 being the
    edge (OpenCV). Boxes without area stay.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = boxes[order].astype(np.float64)
    areas = area(ordered, extra)
    alive = np.ones(len(order), dtype=np.bool_)
    for i in range(len(order)):
        if alive[i]:
            rest = slice(i + 1, None)
            common = shared(ordered[i : i + 1], ordered[rest], extra)[0]
            alive[rest] &= common <= iou * (areas[i] + areas[rest] - common)
    return np.asarray(order[alive], np.int64)


class Candidates(NamedTuple):
    """What one level of a detector finds on a batch of canvases, n rows in order of their canvas.

    `canvas` is the number of each one's canvas; `compared` the boxes to suppress by.
    """

    canvas: NDArray[np.intp]
    boxes: Float32
    scores: Float32
    landmarks: Float32
    compared: Float32


def best_of_each(
    count: int, levels: Sequence[Candidates], iou: float, extra: float = 0.0
) -> list[Detections]:
    """The faces on each of `count` canvases, doubles suppressed, best score first; see `nms`."""
    columns = [np.concatenate(column) for column in zip(*levels, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    canvas, boxes, scores, landmarks, compared = (column[order] for column in columns)
    found = []
    for start, stop in pairwise(np.searchsorted(canvas, np.arange(count + 1)).tolist()):
        keep = start + nms(compared[start:stop], scores[start:stop], iou, extra)
        found.append(Detections(boxes[keep], scores[keep], landmarks[keep]))
    return found


def prominence(
    boxes: Float32, width: int | NDArray[np.integer], height: int | NDArray[np.integer]
) -> Float32:
    """How much each of `boxes` is the main face of its picture, (n,) in square pixels; larger is more.

    `width` and `height` are the picture's, or (n,) of each one's. It is the area inside the picture less
    twice the squared distance of the centers (as in FaceNet's `align_dataset_mtcnn.py`): a bystander cut off
    by the edge is often larger than the person the photo is of.
    """
    limits = np.stack([width, height], axis=-1).astype(np.float32)
    inside = np.clip(boxes, 0, np.concatenate([limits, limits], axis=-1))
    off = (boxes[:, :2] + boxes[:, 2:]) / 2 - limits / 2
    return np.asarray(area(inside) - 2 * (off**2).sum(axis=1), np.float32)


def main_face(boxes: Float32, width: int, height: int) -> int:
    """The row of `boxes`, n > 0, that is the main face of the picture."""
    return 0 if len(boxes) == 1 else int(np.argmax(prominence(boxes, width, height)))
