"""Non-maximum suppression: of boxes that overlap, the best stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Detections, Float32, Int64


@dataclass(frozen=True, slots=True)
class Candidates:
    """What one level of a detector finds on a batch of canvases, n rows in order of their canvas.

    `canvas` is the number of each one's canvas; `compared` the boxes to suppress by, where not `boxes`.
    """

    canvas: NDArray[np.intp]
    boxes: Float32
    scores: Float32
    landmarks: Float32
    compared: Float32 | None = None


def best_of_each(
    count: int, levels: Sequence[Candidates], iou: float, extra: float = 0.0
) -> list[Detections]:
    """The faces on each of `count` canvases, doubles suppressed, best score first; see `nms`."""
    canvas = np.concatenate([level.canvas for level in levels])
    order = np.argsort(canvas, kind="stable")
    boxes, scores, landmarks, compared = (
        np.concatenate(parts)[order]
        for parts in zip(
            *(
                (v.boxes, v.scores, v.landmarks, v.boxes if v.compared is None else v.compared)
                for v in levels
            ),
            strict=True,
        )
    )
    ends = np.searchsorted(canvas[order], np.arange(count + 1)).tolist()
    found = []
    for start, stop in pairwise(ends):
        keep = start + nms(compared[start:stop], scores[start:stop], iou, extra)
        found.append(Detections(boxes[keep], scores[keep], landmarks[keep]))
    return found


def overlap(boxes: Float32, others: Float32) -> Float32:
    """(n, m) intersection over union of each of (n, 4) `boxes` with each of (m, 4) `others`; 0 where both are
    without area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1) for b in (boxes, others)]
    union = areas[0][:, None] + areas[1] - shared
    return np.asarray(shared / np.where(union > 0, union, 1), np.float32)


def nms(boxes: NDArray[np.floating], scores: Float32, iou: float, extra: float = 0.0) -> Int64:
    """Rows of `boxes` that stay, best score first; equal scores in the order given.

    `boxes` is (n, 4) x1, y1, x2, y2; `scores` (n,). A box goes when its intersection over union with a better
    one that stays is larger than `iou`. `extra` is added to widths and heights: 1 for the convention that x2
    is the last pixel inside (insightface), 0 for x2 being the edge (OpenCV). Boxes without area stay.
    """
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = (boxes[order, i].astype(np.float64) for i in range(4))
    area = np.maximum(x2 - x1 + extra, 0) * np.maximum(y2 - y1 + extra, 0)
    alive = np.ones(len(order), dtype=np.bool_)
    for i in range(len(order)):
        if not alive[i]:
            continue
        rest = slice(i + 1, None)
        wide = np.minimum(x2[i], x2[rest]) - np.maximum(x1[i], x1[rest]) + extra
        high = np.minimum(y2[i], y2[rest]) - np.maximum(y1[i], y1[rest]) + extra
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        alive[rest] &= shared <= iou * (area[i] + area[rest] - shared)
    kept: Int64 = order[alive].astype(np.int64)
    return kept
