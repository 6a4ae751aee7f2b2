"""The built-in pack gives what OpenCV gives for the same files.

OpenCV unpacks the quantised weights itself and has kernels of its own, so rounding differs. Seen on these
photos with OpenCV 4.14 and ONNX Runtime 1.26: boxes and landmarks within 1.3e-4 px, scores within 6e-7,
cosines of the same face 0.9999998, of the whole way with OpenCV's alignment 0.99998.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import letterbox, read_rgb

from face_organizer.detect import open_detector
from face_organizer.geometry.align import estimate, warp
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.recognize import open_embedder

PIXELS = 1e-3
SCORE = 1e-5
COSINE = 0.99999
WHOLE_WAY = 0.9999


@pytest.fixture(scope="module")
def photos(dev_faces: Path) -> list[np.ndarray]:
    paths = sorted((dev_faces / "identities").glob("*/*_0001.jpg"))[:30]
    paths += sorted((dev_faces / "group_photos").rglob("*.jpg"))[::4]
    paths += sorted((dev_faces / "detection_gt_dlib").glob("*.jpg"))[::3]
    return [read_rgb(path) for path in paths]


@pytest.mark.parametrize("size", [320, 640])
def test_yunet_equals_opencv(photos: list[np.ndarray], size: int) -> None:
    pack = packs.find("opencv")
    ours = open_detector(pack, CPU)
    theirs = cv2.FaceDetectorYN.create(str(pack.detector.path), "", (size, size), 0.5, 0.3, 5000)
    total = 0
    for photo in photos:
        canvas, _ = letterbox(photo, size)
        _, rows = theirs.detect(np.ascontiguousarray(canvas[..., ::-1]))
        expected = np.empty((0, 15), np.float32) if rows is None else rows
        found = ours.detect(canvas[None], 0.5)[0]
        assert len(found) == len(expected)
        corners = np.concatenate([expected[:, :2], expected[:, :2] + expected[:, 2:4]], axis=1)
        np.testing.assert_allclose(found.boxes, corners, atol=PIXELS)
        np.testing.assert_allclose(found.landmarks.reshape(-1, 10), expected[:, 4:14], atol=PIXELS)
        np.testing.assert_allclose(found.scores, expected[:, 14], atol=SCORE)
        total += len(found)
    assert total >= 50


def test_sface_equals_opencv(photos: list[np.ndarray]) -> None:
    pack = packs.find("opencv")
    detector, embedder = open_detector(pack, CPU), open_embedder(pack, CPU)
    theirs = cv2.FaceRecognizerSF.create(str(pack.embedder.path), "")
    total = 0
    for photo in photos[::2]:
        canvas, _ = letterbox(photo, 640)
        found = detector.detect(canvas[None], 0.5)[0]
        found = found.take(np.arange(min(3, len(found))))
        if not len(found):
            continue
        bgr = np.ascontiguousarray(canvas[..., ::-1])
        aligned = np.stack([warp(canvas, matrix) for matrix in estimate(found.landmarks)])
        for face, vector, box, points in zip(
            aligned, embedder.embed(aligned), found.boxes, found.landmarks, strict=True
        ):
            # The network alone, on the same face …
            assert cosine(vector, theirs.feature(np.ascontiguousarray(face[..., ::-1]))) > COSINE
            # … and the whole way, with OpenCV's alignment.
            row = np.concatenate([box[:2], box[2:] - box[:2], points.ravel(), [1]]).astype(np.float32)
            assert cosine(vector, theirs.feature(theirs.alignCrop(bgr, row))) > WHOLE_WAY
            total += 1
    assert total >= 25


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
