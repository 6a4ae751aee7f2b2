"""Five landmarks → an aligned face: upright, eyes, nose and mouth where recognition networks expect them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from face_organizer.geometry.canvas import warped
from face_organizer.types import Float32, Image

if TYPE_CHECKING:
    from face_organizer.media.images import Shrinkable

SIZE = 112
"""Side of an aligned face in pixels."""

TEMPLATE: Float32 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""(5, 2) pixels of an aligned face of `SIZE`, in the landmark order of `types`. Source: InsightFace,
`insightface/utils/face_align.py`, `arcface_dst`; OpenCV's FaceRecognizerSF uses the same points."""
TEMPLATE.setflags(write=False)

_EYES_IN_BOX = np.array([[0.31, 0.38], [0.69, 0.38]])
"""As shares of a box's sides: about there in Haar's, SSD's and YOLO's boxes."""
_SMALLEST_SPREAD = 1e-2  # pixels; below it five points are one, and scale and angle are rounding noise
_LARGEST = 1e7  # pixels; beyond any picture


def usable(landmarks: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(n,) whether `estimate` can align each row of `landmarks` (n, 5, 2): finite, of a sane size, not all
    one point, and not such that the best fit shrinks the face to nothing (as for the face in a mirror)."""
    with np.errstate(all="ignore"):
        fit, _, spread = _fit(landmarks, TEMPLATE)
        sane = np.isfinite(landmarks).all((1, 2)) & (np.abs(landmarks) < _LARGEST).all((1, 2))
        return np.asarray(sane & (spread > _SMALLEST_SPREAD) & (np.abs(fit) > 1e-6))


def estimate(landmarks: NDArray[np.floating], *, template: Float32 = TEMPLATE) -> Float32:
    """Similarity transforms (turn, scale, shift; no mirror) that bring landmarks nearest to the template.

    `landmarks` is (n, 5, 2) in source pixels; the result (n, 2, 3) float32 maps source pixels to pixels of
    the aligned face that the (5, 2) `template` is for. The least-squares optimum in closed form: S. Umeyama,
    "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991, which in
    the plane, without mirrors, is a regression in one complex number. Equals insightface's `estimate_norm`.

    ValueError where rows are not `usable` (it names them): filter first where landmarks come from outside.
    """
    bad = np.flatnonzero(~usable(landmarks))
    if len(bad):
        raise ValueError(f"landmarks of faces {bad[:5].tolist()} cannot be aligned (see `usable`)")
    turn, shift, _ = _fit(landmarks, template)
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.ascontiguousarray(np.moveaxis(np.array(rows), 2, 0), np.float32)


def in_plane(points: NDArray[np.floating]) -> NDArray[np.complex128]:
    """(…) numbers x + iy from (…, 2) points."""
    return points[..., 0].astype(np.float64) + 1j * points[..., 1].astype(np.float64)


def _fit(
    landmarks: NDArray[np.floating], template: Float32
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.float64]]:
    """turn·z + shift for points z = x + iy, each (n,), and the spread of the points in pixels."""
    points, goal = in_plane(landmarks), in_plane(template)
    middle, goal_middle = points.mean(axis=1), goal.mean()
    centred = points - middle[:, None]
    power = (centred.real**2 + centred.imag**2).sum(axis=1)
    turn = (centred.conj() * (goal - goal_middle)).sum(axis=1) / np.where(power > 0, power, 1.0)
    return turn, goal_middle - turn * middle, np.sqrt(power / 5)


def about_eyes(eyes: NDArray[np.floating]) -> NDArray[np.float64]:
    """(5, 2) landmarks about two eyes (2, 2), the viewer's left first: nose and mouth where the template has
    them."""
    points, goal = in_plane(TEMPLATE), in_plane(eyes)
    placed = goal[0] + (points - points[0]) * (goal[1] - goal[0]) / (points[1] - points[0])
    return np.stack([placed.real, placed.imag], axis=1)


def eyes_in(box: Sequence[float]) -> NDArray[np.float64]:
    """(2, 2) where the eyes are likely to be in the box of a detector that finds none."""
    corner, far = np.array(box, np.float64).reshape(2, 2)
    return np.asarray(corner + _EYES_IN_BOX * (far - corner))


def roll(landmarks: NDArray[np.floating]) -> Float32:
    """(n,) degrees in (-180, 180] that the faces of (n, 5, 2) `landmarks` are turned clockwise in their
    picture."""
    with np.errstate(all="ignore"):
        turn, _, _ = _fit(landmarks, TEMPLATE)
    return np.asarray(np.degrees(np.angle(turn.conj())), np.float32)


def misfit(landmarks: NDArray[np.floating]) -> Float32:
    """(n,) how unlike a frontal face (n, 5, 2) `landmarks` are, whatever their size, turn and place: the root
    mean square distance to the template laid on them, over its spread there. About 0.1 for frontal faces, up
    to 0.3 for profiles, 1 and more for no face; infinite where the points lie all in one place."""
    points, goal = in_plane(landmarks), in_plane(TEMPLATE)
    points, goal = points - points.mean(axis=1, keepdims=True), goal - goal.mean()
    laid = (points * goal.conj()).sum(axis=1) / (np.abs(goal) ** 2).sum()
    off = np.sqrt((np.abs(points - laid[:, None] * goal) ** 2).mean(axis=1))
    with np.errstate(all="ignore"):
        relative = off / (np.abs(laid) * np.sqrt((np.abs(goal) ** 2).mean()))
    return np.where(np.isfinite(relative), relative, np.inf).astype(np.float32)


def warp(image: Image, matrix: Float32, size: int = SIZE, *, spread: bool = False) -> Image:
    """The (size, size, 3) aligned face from `image` (h, w, 3) uint8 under one (2, 3) `matrix` of `estimate`.

    Bilinear; what lies outside the picture is black, as insightface and OpenCV do it, or where `spread` is
    asked for the pixel nearest to it.
    """
    return warped(image, matrix, size, size, spread=spread)


def cut(source: Shrinkable, matrix: Float32, size: int = SIZE, *, spread: bool = False) -> Image:
    """The aligned face from `source` under one `matrix`, from pixels shrunk no further than `matrix` itself
    shrinks them: a small face comes from the whole picture. Raises `ImageError`."""
    pixels, reduction = pixels_for(source, matrix)
    if reduction != 1:  # whole numbers are the centers of pixels
        shift = matrix[:, 2] + matrix[:, :2] @ np.full(2, (reduction - 1) / 2, np.float32)
        matrix = np.column_stack([matrix[:, :2] * np.float32(reduction), shift]).astype(np.float32)
    return warp(pixels, matrix, size, spread=spread)


def pixels_for(source: Shrinkable, matrix: Float32) -> tuple[Image, float]:
    """The pixels that `cut` takes a face from, and by how much they are shrunk. Raises `ImageError`."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return source.pixels(max(source.width, source.height) * scale)
