"""How the faces of a picture are cut for a gender network: under matrices from its pixels to the crop's."""

from __future__ import annotations

import numpy as np

from face_organizer.geometry import align
from face_organizer.media.images import Shrinkable
from face_organizer.types import Float32, Image


def around(boxes: Float32, margin: float, clockwise: Float32, size: int) -> Float32:
    """(n, 2, 3) matrices that bring the middle of each of (n, 4) `boxes` to that of a `size`-pixel crop, its
    longer side to `size` / `margin` pixels, and turn back `clockwise` degrees."""
    scale = size / ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * margin)
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
