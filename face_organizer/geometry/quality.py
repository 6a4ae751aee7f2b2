"""What a face's picture tells of it, from what is at hand anyway: the aligned face, the box, the landmarks.

All functions take n faces at once; together they cost some tens of microseconds per face.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from face_organizer.geometry.align import TEMPLATE, roll
from face_organizer.geometry.boxes import area
from face_organizer.types import Float32, Image

_DEPTH = np.array([0.0, 0.0, 14.0, 2.0, 2.0])
"""How far eyes, nose tip and corners of the mouth stand out towards the viewer, in pixels of the template,
whose 35 pixels between the eyes are some 63 mm: the nose tip about 25 mm before the eyes, the corners of the
mouth 4."""
_SOLID: NDArray[np.float64] = np.column_stack([TEMPLATE.astype(np.float64), _DEPTH])
"""(5, 3) the template as a solid face: x to the right, y down, z towards the viewer."""
_INVERSE = np.linalg.pinv(_SOLID - _SOLID.mean(axis=0))


def size(boxes: Float32) -> Float32:
    """(n,) square root of the area of (n, 4) boxes, in pixels."""
    return np.asarray(np.sqrt(area(boxes)), np.float32)


def outside(boxes: Float32, widths: NDArray[np.integer], heights: NDArray[np.integer]) -> Float32:
    """(n,) share of each box's area outside its picture, 0 to 1; 1 for a box without area."""
    boxes = boxes.astype(np.float64)  # as the limits: a box inside is outside by 0, not by rounding
    whole, limits = area(boxes), np.stack([widths, heights, widths, heights], axis=1)
    share = 1 - area(np.clip(boxes, 0, limits)) / np.where(whole > 0, whole, np.inf)
    return np.asarray(np.clip(share, 0, 1), np.float32)


def angles(landmarks: Float32) -> tuple[Float32, Float32, Float32]:
    """Yaw, pitch and roll, each (n,) degrees, of (n, 5, 2) landmarks; see `types.Faces` for their signs.

    The face is taken for a solid one seen from afar: the first step of POS (DeMenthon & Davis, "Model-based
    object pose in 25 lines of code", 1995), after its roll is turned away. Good to some 10°: enough to tell a
    frontal face from a profile, not to measure one.
    """
    rolled = roll(landmarks)
    turn = np.exp(-1j * np.radians(rolled.astype(np.float64)))
    flat = (landmarks[..., 0] + 1j * landmarks[..., 1]) * turn[:, None]
    upright = np.stack([flat.real, flat.imag], axis=1)
    upright = upright - upright.mean(axis=2, keepdims=True)
    camera = upright @ _INVERSE.T
    yaw = np.degrees(np.arctan2(camera[:, 0, 2], camera[:, 0, 0]))
    pitch = np.degrees(np.arctan2(camera[:, 1, 2], camera[:, 1, 1]))
    return yaw.astype(np.float32), pitch.astype(np.float32), rolled


def light(faces: Sequence[Image]) -> tuple[Float32, Float32]:
    """Sharpness and brightness, each (n,), of n aligned RGB faces (see `align.warp`).

    Sharpness is the variance of the Laplacian of the luma (Pech-Pacheco et al. 2000), its mean taken for 0: 0
    for an even area, below some 50 for what is blurred or was enlarged, several hundreds for sharp photos.
    Brightness is the mean luma, 0 to 255.
    """
    import cv2

    measured = np.empty((2, len(faces)), np.float32)
    for i, face in enumerate(faces):
        luma = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
        edges = cv2.Laplacian(luma, cv2.CV_16S)
        measured[:, i] = cv2.norm(edges, cv2.NORM_L2SQR) / edges.size, cv2.mean(luma)[0]
    return measured[0], measured[1]
