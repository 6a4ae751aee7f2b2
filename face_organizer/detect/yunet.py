"""YuNet, the detector of OpenCV's model zoo (W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face
Detector", 2023). Decoding as in OpenCV's `modules/objdetect/src/face_detect.cpp`."""

from __future__ import annotations

from functools import partial

import numpy as np

from face_organizer.detect.network import STRIDES, Detector, grid
from face_organizer.geometry.boxes import Candidates
from face_organizer.networks.sessions import planes
from face_organizer.types import Float32


class YuNet(Detector):
    """A `Detector`: class, object, box and landmarks × strides 8, 16, 32; BGR, 0 to 255.

    Its landmarks start with the person's right eye, which is the viewer's left: the order of `types`.
    """

    portrait = 256
    sure = 0.9
    real = 0.64
    straight = 7.0
    iou = 0.3  # OpenCV's default
    prepare = partial(planes, bgr=True)
    required = frozenset(f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in STRIDES)

    def _candidates(
        self, outputs: dict[str, Float32], height: int, width: int, min_score: float
    ) -> list[Candidates]:
        found = []
        for stride in STRIDES:
            kind, thing = (outputs[f"{part}_{stride}"][..., 0].clip(0, 1) for part in ("cls", "obj"))
            scores = np.sqrt(kind * thing)
            at = np.nonzero(scores >= min_score)
            place = grid(height, width, stride, 1)[at[1]]
            box = outputs[f"bbox_{stride}"][at]
            size = np.exp(box[:, 2:]) * np.float32(stride)
            corner = place + box[:, :2] * np.float32(stride) - size / 2
            points = place[:, None] + outputs[f"kps_{stride}"][at].reshape(-1, 5, 2) * np.float32(stride)
            boxes = np.concatenate([corner, corner + size], axis=1)
            # OpenCV suppresses on boxes cut to whole pixels (Rect2i of corner and size).
            whole = np.trunc(np.concatenate([corner, np.trunc(corner) + np.trunc(size)], axis=1))
            found.append(Candidates(at[0], boxes, scores[at], points, whole))
        return found
