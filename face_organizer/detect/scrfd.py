"""SCRFD, the detector of InsightFace's packs (J. Guo et al., "Sample and Computation Redistribution for
Efficient Face Detection", 2021). Decoding as in `insightface/model_zoo/scrfd.py`."""

from __future__ import annotations

from functools import partial

import numpy as np

from face_organizer.detect.network import STRIDES, Detector, grid
from face_organizer.errors import PackError
from face_organizer.geometry.boxes import Candidates
from face_organizer.networks.sessions import planes
from face_organizer.types import Float32

ANCHORS = 2
"""Anchors at each place of the grid."""


class Scrfd(Detector):
    """A `Detector`: nine outputs, (score, box, landmarks) × strides 8, 16, 32; RGB, about -1 to 1."""

    portrait = 160
    sure = 0.75
    real = 0.41
    straight = 15.0
    iou = 0.4
    extra = 1.0
    prepare = partial(planes, mean=127.5, std=128.0)

    def _candidates(
        self, outputs: dict[str, Float32], height: int, width: int, min_score: float
    ) -> list[Candidates]:
        found = []
        for stride, (scores, distances, offsets) in zip(STRIDES, self._levels(outputs), strict=True):
            at = np.nonzero(scores[..., 0] >= min_score)
            centre = grid(height, width, stride, ANCHORS)[at[1]]
            reach = distances[at] * np.float32(stride)
            boxes = np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1)
            points = centre[:, None] + offsets[at].reshape(-1, 5, 2) * np.float32(stride)
            found.append(Candidates(at[0], boxes, scores[..., 0][at], points, boxes))
        return found

    def _levels(self, outputs: dict[str, Float32]) -> list[tuple[Float32, Float32, Float32]]:
        """Scores (N, rows, 1), distances (N, rows, 4) and landmarks (N, rows, 10) of each stride in turn."""
        by_width: dict[int, list[Float32]] = {1: [], 4: [], 10: []}
        for output in outputs.values():
            by_width.setdefault(output.shape[2], []).append(output)
        if [len(by_width[k]) for k in (1, 4, 10)] != [3, 3, 3] or len(by_width) != 3:
            raise PackError(
                f"{self._path} is no SCRFD with landmarks: outputs of widths 1, 4, 10 × 3 expected"
            )
        # The finest grid has most rows: names and order of outputs differ from export to export.
        columns = [sorted(by_width[k], key=lambda output: -output.shape[1]) for k in (1, 4, 10)]
        return list(zip(*columns, strict=True))
