"""Non-maximum suppression: of boxes that overlap, the best stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Float32, Int64


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
