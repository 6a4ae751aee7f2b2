"""What the pixels of a face tell of its worth for training: sharpness, light, mouth and eyes, a tiny picture.

All is measured on one cut of the face of `SIDE` pixels, which is about what a network that is trained on
crops of 256 pixels sees: a small face is enlarged to it, and a large one shrunk, before anything is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_organizer.faceswap import Header
from face_organizer.faceswap.landmarks import pose
from face_organizer.geometry import align
from face_organizer.media.images import Shrinkable
from face_organizer.types import Columns, Float32, Image, column

SIDE = 224
"""Pixels of the cut that everything is measured on: two for each of the aligned face (`align.SIZE`)."""
TINY = 32
"""Pixels of the tiny picture's side."""
WHOLE = 24
"""Pixels of the side of the whole picture's."""
TEMPLATE: Float32 = align.TEMPLATE * np.float32(1.6) + np.array([22.4, 8.0], np.float32)
"""(5, 2) where the five landmarks lie in the cut: brows, chin and ears are on it."""
_DARK, _BRIGHT = 16, 250  # luma that holds no detail any more
_BLOCK = 8  # pixels of JPEG's blocks


@dataclass(frozen=True, slots=True, eq=False)
class Figures(Columns):
    """One row per face; NaN where it is not known."""

    yaw: Float32 = column((), "float32", np.nan)
    """Degrees that the face looks to the viewer's right, by the 68 points of a FaceSwap header, else NaN."""
    pitch: Float32 = column((), "float32", np.nan)
    """Degrees that it looks down, in the same way."""
    sharpness: Float32 = column((), "float32", np.nan)
    """0 (no detail) to 1, as training sees it: 1 less the blur of Crété et al. 2007, "The blur effect", which
    is the share of the differences between neighbours that blurring leaves as they are. Some 0.5 for faces
    that fill the cut, 0.4 for soft ones, below 0.28 for what is out of focus or was a few pixels large."""
    noise: Float32 = column((), "float32", np.nan)
    """Standard deviation in luma, 0 to 255, read in the smoothest quarter of the face (Immerkær 1996)."""
    blocks: Float32 = column((), "float32", np.nan)
    """How much larger steps are at the borders of JPEG's 8-pixel blocks than elsewhere: 0 none, 1 twice."""
    brightness: Float32 = column((), "float32", np.nan)
    """Median luma of the face, 0 to 255."""
    contrast: Float32 = column((), "float32", np.nan)
    """The luma that 5 of 100 pixels exceed less the one that 95 do, 0 to 255."""
    clipped: Float32 = column((), "float32", np.nan)
    """Share of the face, 0 to 1, that is black or white and holds no detail."""
    outside: Float32 = column((), "float32", np.nan)
    """Share of the face, 0 to 1, that lies outside the picture or, of a FaceSwap crop, outside its frame."""
    side: Float32 = column((), "float32", np.nan)
    """Light from the viewer's left (negative) or right: the difference of the halves' luma over their sum."""
    above: Float32 = column((), "float32", np.nan)
    """Light from below (negative) or above: the same of the upper and the lower half."""
    warmth: Float32 = column((), "float32", np.nan)
    """Colour of the light and skin: log2 of red over blue; larger is warmer."""
    mouth: Float32 = column((), "float32", np.nan)
    """How far the mouth is open. With the 68 points of a FaceSwap header the gap between the lips over the
    mouth's width, from 0 up; else how dark it is between the corners, in deviations of the face's luma."""
    eyes: Float32 = column((), "float32", np.nan)
    """How far the eyes are open: with the 68 points their height over their width, else how dark they are."""
    smile: Float32 = column((), "float32", np.nan)
    """Width of the mouth over the distance of the eyes, as they are seen."""
    brow: Float32 = column((), "float32", np.nan)
    """Height of the brows above the eyes over the distance of the eyes; NaN without the 68 points."""
    tiny: NDArray[np.uint8] = column((TINY, TINY), "uint8")
    """The luma of the cut, shrunk and spread to mean 128 and deviation 48: tells what hides a face."""
    whole: NDArray[np.uint8] = column((WHOLE, WHOLE), "uint8")
    """The same of the green of the whole picture, whose edges no detector shifts: tells copies."""


def matrices(landmarks: Float32) -> Float32:
    """(n, 2, 3) that cut the faces of (n, 5, 2) landmarks, all of them `align.usable`, for `measure`."""
    return align.estimate(landmarks, template=TEMPLATE)


def measure(source: Shrinkable, matrix: Float32, landmarks: Float32, header: Header | None) -> Figures:
    """The figures of one face, one row: from its picture, the (2, 3) of `matrices`, its five landmarks (5, 2)
    and the header of a FaceSwap crop. Raises `ImageError` where the picture is damaged."""
    import cv2

    cut = align.cut(source, matrix, SIDE, spread=True)
    luma = np.asarray(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY), np.uint8)
    small = cv2.resize(luma, (TINY, TINY), interpolation=cv2.INTER_AREA).astype(np.float32)
    shade = _shade(small)
    pixels, reduction = align.pixels_for(source, matrix)
    whole = cv2.resize(cv2.extractChannel(pixels, 1), (WHOLE, WHOLE), interpolation=cv2.INTER_AREA)
    outside = _outside_picture(matrix, source.width, source.height)
    left, right, top, bottom = (_HALVES @ small.ravel() + 1).tolist()
    red, _, blue, _ = cv2.mean(cut[_CHEEKS])
    values = {
        "sharpness": _sharpness(luma),
        "noise": _noise(luma),
        "blocks": _blocks(pixels, landmarks) if reduction == 1 else math.nan,
        **_exposure(luma),
        "outside": max(outside, _outside_frame(header)),
        "side": (right - left) / (right + left),
        "above": (top - bottom) / (top + bottom),
        "warmth": float(np.log2((red + 1) / (blue + 1))),
        "mouth": -float(shade[_LIPS].mean()),
        "eyes": -float(shade[_EYES].mean()),
        "smile": math.dist(*landmarks[3:].tolist()) / max(math.dist(*landmarks[:2].tolist()), 1e-6),
        **(_by_points(header.landmarks) if header else {}),
    }
    row: dict[str, Any] = {name: np.array([value], np.float32) for name, value in values.items()}
    pictures = {"tiny": shade, "whole": _shade(whole.astype(np.float32))}
    row |= {name: _kept(values)[None] for name, values in pictures.items()}
    return Figures.empty(1, **row)


def _shade(luma: Float32) -> Float32:
    """Spread to mean 0 and deviation 1."""
    import cv2

    mean, spread = (float(one[0, 0]) for one in cv2.meanStdDev(luma))
    return np.asarray((luma - mean) / max(spread, 1.0), np.float32)


def _kept(shade: Float32) -> NDArray[np.uint8]:
    return np.rint(np.clip(128 + 48 * shade, 0, 255)).astype(np.uint8)


def _ellipse(size: int) -> NDArray[np.bool_]:
    """(size, size) where the face is on the cut."""
    y, x = (np.indices((size, size)) + 0.5) / size - 0.5
    return np.asarray((x / 0.33) ** 2 + ((y - 0.05) / 0.42) ** 2 < 1)


def _halves() -> Float32:
    """(4, TINY * TINY) weights that give the mean of the face's left, right, upper and lower half."""
    face, (y, x) = _ellipse(TINY), np.indices((TINY, TINY))
    middle = int(TEMPLATE[2, 1] * TINY / SIDE)
    parts = np.stack([face & part for part in (x < TINY / 2, x >= TINY / 2, y < middle, y >= middle)])
    weights = parts / parts.sum(axis=(1, 2), keepdims=True)
    return np.asarray(weights.reshape(4, -1), np.float32)


_MASK = _ellipse(SIDE).astype(np.uint8)
_HALVES = _halves()
_CHEEKS = np.s_[100:160, 62:162]
_LIPS, _EYES = np.s_[22:24, 13:19], np.s_[12:14, [11, 12, 19, 20]]  # in the tiny picture


def _exposure(luma: Image) -> dict[str, float]:
    import cv2

    counts = cv2.calcHist([luma], [0], _MASK, [256], [0, 256]).ravel()
    shares = np.cumsum(counts) / counts.sum()
    low, middle, high = np.searchsorted(shares, [0.05, 0.5, 0.95]).tolist()
    clipped = float(shares[_DARK] + 1 - shares[_BRIGHT])
    return {"brightness": middle, "contrast": high - low, "clipped": clipped}


def _outside_picture(matrix: Float32, width: int, height: int) -> float:
    """Share of the face that lies outside a picture of that size."""
    import cv2

    back = cv2.invertAffineTransform(matrix)
    at = _GRID @ back[:, :2].T + back[:, 2]
    seen = (at >= 0) & (at <= (width, height))
    return 1 - np.count_nonzero(seen[:, 0] & seen[:, 1]) / len(seen)


_GRID = np.argwhere(_ellipse(16))[:, ::-1] * (SIDE / 16) + SIDE / 32


def _outside_frame(header: Header | None) -> float:
    """Share of the box about the 68 points that lies outside the frame that a FaceSwap crop was cut from."""
    if header is None or header.frame_dims is None:
        return 0.0
    low, high = header.landmarks.min(axis=0), header.landmarks.max(axis=0)
    seen = np.clip([low, high], 0, [header.frame_dims[::-1]] * 2)
    area = float(np.prod(high - low))
    return 1 - float(np.prod(seen[1] - seen[0])) / area if area > 0 else 0.0


def _sharpness(luma: Image) -> float:
    import cv2

    found = []
    for taps, one, two in (((9, 1), np.s_[:, 1:], np.s_[:, :-1]), ((1, 9), np.s_[1:], np.s_[:-1])):
        blurred = cv2.blur(luma, taps)
        before, after = cv2.absdiff(luma[one], luma[two]), cv2.absdiff(blurred[one], blurred[two])
        lost = cv2.subtract(before, after)  # nothing below 0
        found.append(cv2.mean(lost, _MASK[one])[0] / max(cv2.mean(before, _MASK[one])[0], 0.1))
    return min(found)


def _noise(luma: Image) -> float:
    import cv2

    second = cv2.convertScaleAbs(cv2.filter2D(luma, cv2.CV_16S, _LAPLACIANS))
    means = np.sort(cv2.resize(second, (28, 28), interpolation=cv2.INTER_AREA), axis=None)
    return float(np.sqrt(np.pi / 2) / 6 * means[len(means) // 4])


_LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def _blocks(pixels: Image, landmarks: Float32) -> float:
    """In the picture's own pixels, about the middle of the face."""
    import cv2

    x, y = (np.maximum(landmarks.mean(axis=0) - 96, 0) // _BLOCK * _BLOCK).astype(int).tolist()
    green = cv2.extractChannel(pixels[y : y + 192, x : x + 192], 1)
    if min(green.shape) < 6 * _BLOCK:
        return math.nan
    across = cv2.reduce(cv2.absdiff(green[:, 1:], green[:, :-1]), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[0]
    down = cv2.reduce(cv2.absdiff(green[1:], green[:-1]), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[:, 0]
    at_borders, elsewhere = (
        float(sum(one[first::_BLOCK][:_FEWEST].sum() for one in (across, down)))
        for first in (_BLOCK - 1, _BLOCK // 2 - 1)
    )
    return max(at_borders / max(elsewhere, 0.5 * green.size / _BLOCK) - 1, 0.0)


_FEWEST = 5  # borders that there are in every direction of what is looked at


def _by_points(p: Float32) -> dict[str, float]:
    """Of iBUG's 68 points (68, 2); eyes as Soukupová & Čech 2016, "Real-time eye blink detection"."""

    def apart(a: int, b: int) -> float:
        return float(np.linalg.norm(p[a] - p[b]))

    left, right = p[36:42].mean(axis=0), p[42:48].mean(axis=0)
    between = max(float(np.linalg.norm(right - left)), 1e-6)
    yaw, pitch = pose(p)
    gap = (apart(61, 67) + apart(62, 66) + apart(63, 65)) / 3
    heights = (apart(37, 41) + apart(38, 40)) / 2 / max(apart(36, 39), 1e-6)
    heights += (apart(43, 47) + apart(44, 46)) / 2 / max(apart(42, 45), 1e-6)
    up = (left + right - p[17:22].mean(axis=0) - p[22:27].mean(axis=0)) / 2
    down = np.array([left[1] - right[1], right[0] - left[0]]) / between
    return {
        "yaw": yaw,
        "pitch": pitch,
        "mouth": gap / max(apart(48, 54), 1e-6),
        "eyes": heights / 2,
        "brow": float(up @ down) / between,
    }
