"""How gender networks want a face cut, each as it was trained: matrices from source pixels to the crop's."""

from __future__ import annotations

import numpy as np

from face_organizer.geometry import align
from face_organizer.media.images import Shrinkable
from face_organizer.types import Faces, Float32, Image

DLIB_PADDING = 0.2
"""Margin around the mean face, in widths of it. Source: dlib, `get_face_chip_details`'s default, with which
its examples `dnn_age_predictor_v1` and `dnn_gender_classifier_v1` cut what their networks see."""

_MEAN_POINTS = np.array(
    [
        [0.225619, 0.215993],
        [0.754635, 0.215993],
        [0.490127, 0.515625],
        [0.254149, 0.780233],
        [0.726104, 0.780233],
    ]
)
"""(5, 2) eyes, nose tip, corners of the mouth of dlib's mean face in the unit square: of its 68 points
(`image_transforms/interpolation.h`, `mean_face_shape_x/y`) the means of 36 to 41 and 42 to 47, 30, 48, 54."""

INSIGHTFACE_MARGIN = 1.5
"""Side of the crop over the longer side of the box. Source: insightface, `model_zoo/attribute.py`."""


def dlib(landmarks: Float32, size: int) -> Float32:
    """(n, 2, 3) matrices to upright `size`-pixel chips, dlib's geometry, of (n, 5, 2) landmarks.

    dlib fits eye corners and the base of the nose; here the eyes' centers, nose tip and corners of the mouth
    are fitted to the same mean face.
    """
    template = (DLIB_PADDING + _MEAN_POINTS) / (1 + 2 * DLIB_PADDING) * size
    return align.estimate(landmarks, template=template.astype(np.float32))


def insightface(faces: Faces, size: int) -> Float32:
    """(n, 2, 3) matrices to `size`-pixel crops around the boxes, turned only as their picture has to be."""
    sides = (faces.box[:, 2:] - faces.box[:, :2]).max(axis=1)
    return _around(faces.box, size / (sides * INSIGHTFACE_MARGIN), faces.turn.astype(np.float64), size)


def deepface(faces: Faces, size: int) -> Float32:
    """(n, 2, 3) matrices to `size`-pixel crops that hold the whole box, with its eyes level.

    Source: deepface, `modules/detection.py` `extract_face` (the box, after the picture is turned around its
    middle until the eyes are level) and `modules/preprocessing.py` `resize_image`.
    """
    eyes = faces.landmarks[:, 1] - faces.landmarks[:, 0]
    angle = np.nan_to_num(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0])).astype(np.float64))
    return _around(faces.box, size / (faces.box[:, 2:] - faces.box[:, :2]).max(axis=1), angle, size)


def _around(boxes: Float32, scale: Float32, clockwise: Float32, size: int) -> Float32:
    """Matrices that bring the boxes' middles to the crop's, scale, and turn back `clockwise` degrees."""
    middle = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) @ np.array([0.5, 0.5j])
    turn = scale * np.exp(-1j * np.radians(clockwise))
    shift = (1 + 1j) * size / 2 - turn * middle
    matrix = np.empty((len(boxes), 2, 3), np.float32)
    matrix[:, 0] = np.stack([turn.real, -turn.imag, shift.real], axis=1)
    matrix[:, 1] = np.stack([turn.imag, turn.real, shift.imag], axis=1)
    return matrix


def cut(source: Shrinkable, matrices: Float32, size: int) -> Image:
    """(n, size, size, 3) RGB uint8 crops of one picture under (n, 2, 3) `matrices`.

    The picture is decoded once, as large as the smallest face needs it. Raises `ImageError`.
    """
    crops = np.empty((len(matrices), size, size, 3), np.uint8)
    finest_first = np.argsort(-np.hypot(matrices[:, 0, 0], matrices[:, 1, 0]))
    for i in finest_first:
        crops[i] = align.cut(source, matrices[i], size)
    return crops


def shrunk(crops: Image, factor: int) -> Image:
    """(n, s, s, 3) crops shrunk to s / `factor`, each pixel the mean of those it stands for."""
    import cv2

    side = crops.shape[1] // factor
    small = np.empty((len(crops), side, side, 3), np.uint8)
    for source, target in zip(crops, small, strict=True):
        cv2.resize(source, (side, side), dst=target, interpolation=cv2.INTER_AREA)
    return small
