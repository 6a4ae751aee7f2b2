"""Where the landmarks of a source frame lie in the crop that FaceSwap cut from it.

FaceSwap brings the 51 inner landmarks nearest to a mean face that fills the unit square (turn, scale,
shift), moves the middle according to the centering, and adds padding on all sides. The middle of `face` and
`head` is a point of a mean head in space, seen in the pose that solvePnP finds for 26 of the landmarks.
Source of the procedure and of all numbers: deepfakes/faceswap, `lib/align/aligned_face.py`, `pose.py`,
`constants.py`, the same since alignments version 2.1; the head is glAnthropometric3DModel's.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from face_organizer.geometry.align import in_plane
from face_organizer.types import Float32

Complex = NDArray[np.complex128]


class Centering(StrEnum):
    """What lies in the middle of a crop, and with it how much of the head is on it: of the skull (what
    FaceSwap extracts since alignments version 2.1), of the face (what it cuts from a `head` crop for
    training), or the nose (crops made before 2.1)."""

    HEAD = "head"
    FACE = "face"
    LEGACY = "legacy"


PADDING = {Centering.LEGACY: 0.375, Centering.FACE: 0.5, Centering.HEAD: 0.625}
"""Share of a crop's side that is padding, both sides together."""

MISFIT = 0.15
"""Mean distance of the 51 inner landmarks to the mean face, in x and y each, above which they are no face's.
In units of the mean face's width. Seen: dlib's on 43 faces up to 0.044, the mean head in full profile and
looking 30 degrees down 0.12; mirrored landmarks from 0.19, shuffled ones from 0.21."""

# fmt: off
MEAN_FACE = np.array([
    [0.010086, 0.106454], [0.085135, 0.038915], [0.191003, 0.018748], [0.300643, 0.034489],
    [0.403270, 0.077391], [0.596729, 0.077391], [0.699356, 0.034489], [0.808997, 0.018748],
    [0.914864, 0.038915], [0.989913, 0.106454], [0.500000, 0.203352], [0.500000, 0.307009],
    [0.500000, 0.409805], [0.500000, 0.515625], [0.376753, 0.587326], [0.435909, 0.609345],
    [0.500000, 0.628106], [0.564090, 0.609345], [0.623246, 0.587326], [0.131610, 0.216423],
    [0.196995, 0.178758], [0.275698, 0.179852], [0.344479, 0.231733], [0.270791, 0.245099],
    [0.192616, 0.244077], [0.655520, 0.231733], [0.724301, 0.179852], [0.803005, 0.178758],
    [0.868389, 0.216423], [0.807383, 0.244077], [0.729208, 0.245099], [0.264022, 0.780233],
    [0.350858, 0.745405], [0.438731, 0.727388], [0.500000, 0.742578], [0.561268, 0.727388],
    [0.649141, 0.745405], [0.735977, 0.780233], [0.652032, 0.864805], [0.566594, 0.902192],
    [0.500000, 0.909281], [0.433405, 0.902192], [0.347967, 0.864805], [0.300252, 0.784792],
    [0.437969, 0.778746], [0.500000, 0.785343], [0.562030, 0.778746], [0.699747, 0.784792],
    [0.563237, 0.824182], [0.500000, 0.831803], [0.436763, 0.824182],
])
"""(51, 2) where the inner landmarks (iBUG 17 to 67) of a mean face lie in the unit square."""

POSE_POINTS = np.array([
    6, 7, 8, 9, 10, 17, 21, 22, 26, 31, 32, 33, 34, 35, 36, 39, 42, 45, 48, 50, 51, 52, 54, 56, 57, 58,
])
"""(26,) the landmarks that the pose is found from."""

MEAN_HEAD = np.array([
    [4.056931, -11.432347, 1.636229], [1.833492, -12.542305, 4.061275], [0.0, -12.901019, 4.070434],
    [-1.833492, -12.542305, 4.061275], [-4.056931, -11.432347, 1.636229], [6.825897, 1.275284, 4.402142],
    [1.330353, 1.636816, 6.903745], [-1.330353, 1.636816, 6.903745], [-6.825897, 1.275284, 4.402142],
    [1.930245, -5.060977, 5.914376], [0.746313, -5.136947, 6.263227], [0.0, -5.485328, 6.76343],
    [-0.746313, -5.136947, 6.263227], [-1.930245, -5.060977, 5.914376], [5.311432, 0.0, 3.987654],
    [1.78993, -0.091703, 4.413414], [-1.78993, -0.091703, 4.413414], [-5.311432, 0.0, 3.987654],
    [2.774015, -7.566103, 5.048531], [0.509714, -7.056507, 6.566167], [0.0, -7.131772, 6.704956],
    [-0.509714, -7.056507, 6.566167], [-2.774015, -7.566103, 5.048531], [-0.589441, -8.443925, 6.109526],
    [0.0, -8.601736, 6.097667], [0.589441, -8.443925, 6.109526],
])
"""(26, 3) where the `POSE_POINTS` lie on a mean head, in its own units."""
# fmt: on

MIDDLE = {Centering.FACE: np.array([0.0, -1.5, 4.2]), Centering.HEAD: np.array([0.0, 0.0, -2.3])}
"""(3,) the point of the mean head that is the middle of a crop."""

FOCAL_LENGTH = 4.0
"""Of the camera that looks at the unit square, its axis through the middle, in units of the square's side."""
_CAMERA = np.array([[FOCAL_LENGTH, 0, 0.5], [0, FOCAL_LENGTH, 0.5], [0, 0, 1]])


def five_points(points: Float32) -> Float32:
    """iBUG's 68 landmarks (n, 68, 2) as the five of `types` (n, 5, 2): eyes (means of six), nose tip, mouth
    corners."""
    eyes = points[:, 36:48].reshape(-1, 2, 6, 2).mean(axis=2)
    return np.concatenate([eyes, points[:, [30, 48, 54]]], axis=1)


def crop_matrix(landmarks: Float32, size: int, centering: Centering) -> Float32 | None:
    """(2, 3) that cuts a face's crop of `size` pixels out of its frame, as FaceSwap would, from the (68, 2)
    landmarks; None where they are no face's."""
    placed = in_plane(crop_points(landmarks[None], size, centering))[0]
    if not np.isfinite(placed).all():
        return None
    points = in_plane(landmarks)
    middle = points.mean()
    turn = ((points - middle).conj() @ (placed - placed.mean())) / (np.abs(points - middle) ** 2).sum()
    shift = placed.mean() - turn * middle
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.array(rows, np.float32)


_STEADY = np.flatnonzero((POSE_POINTS >= 17) & (POSE_POINTS < 48))
"""Of the `POSE_POINTS` those that no jaw moves."""
_INVERSE = np.linalg.pinv((MEAN_HEAD - MEAN_HEAD[_STEADY].mean(axis=0))[_STEADY] * [-1, -1, 1])


def pose(landmarks: Float32) -> tuple[float, float]:
    """Yaw and pitch in degrees, with the signs of `types.Faces`, of one face's (68, 2) landmarks, in any
    pixels: the first step of POS, as `geometry.quality.angles` takes it, with a mean head's brows, eyes and
    nose. What `crop_points` solves, with perspective, has two solutions that look nearly alike."""
    points = landmarks[POSE_POINTS[_STEADY]].astype(np.float64)
    across, down = (points - points.mean(axis=0)).T @ _INVERSE.T  # rows of scale times rotation
    rolled = np.angle(down[1] - 1j * across[1])
    turn = (across + 1j * down) * np.exp(-1j * rolled)
    (cos, _, sin), (x, y, z) = turn.real, turn.imag
    yaw = np.arctan2(sin, cos)
    pitch = np.arctan2(z * np.cos(yaw) - x * np.sin(yaw), y)
    return float(np.degrees(yaw)), float(np.degrees(pitch))


def crop_points(landmarks: Float32, sizes: int | NDArray[np.integer], centering: Centering) -> Float32:
    """Where the 68 landmarks of each face lie in its crop: (n, 68, 2) float32, crop pixels.

    `landmarks` is (n, 68, 2) in pixels of the source frame, finite; `sizes` the side of each (square) crop in
    pixels, one number or (n,). A face comes back as NaN where its landmarks are no face's (`MISFIT`) or no
    pose can be found for them: detection is the way for it.
    """
    unit = _to_unit(in_plane(landmarks))
    if centering is not Centering.LEGACY:
        unit -= np.array([_middle(points, MIDDLE[centering]) for points in unit], np.complex128)[:, None]
    side = np.broadcast_to(np.asarray(sizes, np.float64), len(unit))
    padding = np.rint(side * PADDING[centering] / 2)
    points = unit * (side - 2 * padding)[:, None] + (padding * (1 + 1j))[:, None]
    return np.stack([points.real, points.imag], axis=-1).astype(np.float32)


def _to_unit(points: Complex) -> Complex:
    """(n, 68) frame pixels in the mean face's unit square; NaN where they are no face's.

    Turn, scale and shift by least squares over the inner landmarks, as in `align.estimate`.
    """
    goal = in_plane(MEAN_FACE)
    inner = points[:, 17:]
    centre = inner.mean(axis=1, keepdims=True)
    centred = inner - centre
    power = (centred.real**2 + centred.imag**2).sum(axis=1)
    turn = (centred.conj() @ (goal - goal.mean())) / np.where(power > 0, power, 1.0)
    unit: Complex = (points - centre) * turn[:, None] + goal.mean()
    away = unit[:, 17:] - goal
    misfit = (np.abs(away.real) + np.abs(away.imag)).mean(axis=1) / 2
    unit[~(misfit < MISFIT)] = complex(np.nan, np.nan)
    return unit


def _middle(unit: Complex, place: NDArray[np.float64]) -> complex:
    """How far a crop's middle is from that of the unit square, by the pose of its landmarks `unit` (68,); NaN
    where there is no pose."""
    import cv2

    points, nowhere = unit[POSE_POINTS], complex(np.nan, np.nan)
    if np.isnan(points[0]):
        return nowhere
    points = np.stack([points.real, points.imag], axis=1)
    try:
        found, rotation, shift = cv2.solvePnP(MEAN_HEAD, points, _CAMERA, None, flags=cv2.SOLVEPNP_ITERATIVE)
    except cv2.error:
        return nowhere
    x, y, z = cv2.Rodrigues(rotation)[0] @ place + shift[:, 0]
    return FOCAL_LENGTH * complex(x, y) / float(z) if found and z else nowhere
