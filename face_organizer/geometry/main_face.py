"""Which of the faces on a picture it is a picture of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Float32


def prominence(
    boxes: Float32, width: int | NDArray[np.integer], height: int | NDArray[np.integer]
) -> Float32:
    """How much each of (n, 4) `boxes` is the main face of its picture, (n,) in square pixels; larger is more.

    `width` and `height` are the picture's, or (n,) those of each one's. A face's area inside the picture less
    twice the squared distance of its center from the picture's: a bystander cut off by the edge is often
    larger than the person the photo is of. The rule that FaceNet's `align_dataset_mtcnn.py` (Sandberg 2016)
    prepared LFW with.
    """
    limits = np.stack([width, height], axis=-1).astype(np.float32)
    size = np.minimum(np.maximum(boxes[:, 2:], 0), limits) - np.minimum(np.maximum(boxes[:, :2], 0), limits)
    off = (boxes[:, :2] + boxes[:, 2:]) / 2 - limits / 2
    return np.asarray(np.maximum(size, 0).prod(axis=1) - 2 * (off**2).sum(axis=1), np.float32)


def main_face(boxes: Float32, width: int, height: int) -> int:
    """The row of (n, 4) `boxes`, n > 0, that is the main face of the picture."""
    if len(boxes) == 1:
        return 0
    return int(np.argmax(prominence(boxes, width, height)))
