"""Faces rendered from a few photos of a person along the way of a film: known yaw, pitch, mouth, light and
blur; and pictures spoilt in known ways."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from face_organizer.geometry import align
from face_organizer.media import images
from face_organizer.types import FaceTable, Float32, Image, Int64

SIDE = 256
TEMPLATE = align.TEMPLATE * np.float32(1.45) + np.array([(SIDE - 162.4) / 2, 48], np.float32)
_EYES = float(TEMPLATE[1, 0] - TEMPLATE[0, 0])
_NOSE = np.array([SIDE / 2, TEMPLATE[:2, 1].mean() + 0.45 * _EYES])
_GRID = np.stack(np.meshgrid(*[np.arange(0, SIDE, 4) + 1.5] * 2), -1)
SPOILT = (
    "microphone",
    "hand",
    "mask",
    "sunglasses",
    "hair",
    "blur",
    "motion",
    "dark",
    "bright",
    "small",
    "cut",
    "noise",
)
OCCLUDED = SPOILT[:5]


class Frame(NamedTuple):
    """What is true of a rendered face: degrees, 0 shut to 1 wide open, stops, -1 left to 1 right, pixels."""

    yaw: float
    pitch: float
    mouth: float
    gain: float
    side: float
    blur: float


def bases(table: FaceTable, rows: Int64) -> list[Image]:
    """The faces of `rows`, upright, with room about them."""
    paths, matrices = table.face_paths(), align.estimate(table.faces.landmarks[rows], template=TEMPLATE)
    return [
        align.cut(images.open_source(paths[row]), matrix, SIDE, spread=True)
        for row, matrix in zip(rows.tolist(), matrices, strict=True)
    ]


def _depth(x: Any, y: Any) -> Any:
    """Of a head, an ellipsoid with a nose, in distances of the eyes."""
    head = 1.1 * np.sqrt(np.clip(1 - (x / 1.35) ** 2 - (y / 1.75) ** 2, 0.02, None))
    return head + 0.33 * np.exp(-((x / 0.2) ** 2) - ((y - 0.15) / 0.22) ** 2)


def render(base: Image, to: Frame) -> Image:
    """`base`, frontal, turned, its jaw let down, and lit: the head is a solid seen from afar."""
    u, v = np.moveaxis((_GRID - _NOSE) / _EYES, -1, 0)
    a, b = np.radians([to.yaw, to.pitch])
    x, y = u.copy(), v.copy()
    for _ in range(8):  # where each pixel comes from, by fixed point
        z = _depth(x, y) - 0.66
        x = (u - z * np.sin(a)) / np.cos(a)
        y = (v - (z * np.cos(a) - x * np.sin(a)) * np.sin(b)) / np.cos(b)
    line, half = (TEMPLATE[3:, 1].mean() - _NOSE[1]) / _EYES, 0.5 * (TEMPLATE[4, 0] - TEMPLATE[3, 0]) / _EYES
    gap = 0.38 * to.mouth * np.sqrt(np.clip(1 - (x / (half * 1.25)) ** 2, 0, 1))
    below = y - line
    inside = np.clip(below / 0.04, 0, 1) * np.clip((gap - below) / 0.04, 0, 1)
    y = np.where(below > 0, np.where(below < gap, line + 0.02, y - gap), y)
    maps = [
        cv2.resize((one * _EYES + middle).astype(np.float32), (SIDE, SIDE))
        for one, middle in ((x, _NOSE[0]), (y, _NOSE[1]))
    ]
    mouth = cv2.resize(inside.astype(np.float32), (SIDE, SIDE))[..., None]
    face = cv2.remap(base, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    face = face * (1 - mouth) + np.array([48, 18, 18], np.float32) * mouth
    across = (np.arange(SIDE) - SIDE / 2) / (SIDE / 2)
    face *= (2.0**to.gain * (1 + 0.6 * to.side * across))[None, :, None]
    if to.blur > 0.3:
        face = cv2.GaussianBlur(face, (0, 0), to.blur)
    return np.clip(face, 0, 255).astype(np.uint8)


def film(random: np.random.Generator, frames: int) -> list[Frame]:
    """A way through poses as films have it: mostly frontal and shut, in one light, now and then out of
    focus."""

    def wander(slowness: float, spread: float) -> Float32:
        steps, keep = random.normal(size=frames) * spread, np.exp(-1 / slowness)
        for i in range(1, frames):
            steps[i] = steps[i - 1] * keep + steps[i] * np.sqrt(1 - keep**2)
        return np.convolve(np.pad(steps, 4, mode="edge"), np.ones(9) / 9, "valid").astype(np.float32)

    lively = random.choice([0.4, 1.0, 2.0], p=[0.6, 0.3, 0.1])
    yaw = np.clip(wander(60, 12 * lively) + random.normal() * 5 * lively, -32, 32)
    pitch = np.clip(wander(60, 7 * lively) + random.normal() * 3 * lively, -24, 24)
    mouth = np.clip(np.abs(wander(8, 0.35)) - 0.15, 0, 1)
    gain = np.clip(random.normal() * 0.35 + wander(200, 0.1), -1.6, 0.8)
    side = np.clip(random.normal() * 0.3 + wander(200, 0.1), -1, 1)
    soft = np.interp(
        np.arange(frames) / 10, np.arange(frames // 10 + 2), np.abs(random.normal(size=frames // 10 + 2))
    )
    return [Frame(*map(float, one)) for one in zip(yaw, pitch, mouth, gain, side, 1.1 * soft, strict=True)]


def spoil(face: Image, how: str, random: np.random.Generator) -> Image:
    """`face` (SIDE, SIDE, 3), spoilt in one of the ways of `SPOILT`."""
    h, out = SIDE, face.copy()
    middle, mouth, eyes = h / 2, 0.71 * h, 0.47 * h
    match how:
        case "microphone":
            at = (int(middle + random.normal() * 6), int(mouth + random.normal() * 5))
            cv2.line(out, at, (at[0] + int(random.normal() * 30), h), (30, 30, 30), int(0.08 * h))
            cv2.ellipse(out, at, (int(0.1 * h), int(0.11 * h)), 0, 0, 360, (28, 25, 25), -1)
        case "hand":
            skin = np.median(face[int(0.52 * h) : int(0.6 * h), int(0.4 * h) : int(0.6 * h)], axis=(0, 1))
            skin, side = skin * random.uniform(0.75, 1.1), random.choice([-1, 1])
            for finger in range(4):
                a = (int(middle + side * 0.28 * h), int(mouth + (finger * 0.055 - 0.08) * h))
                b = (
                    int(middle - side * (0.04 - 0.02 * finger) * h),
                    int(mouth + (finger * 0.055 - 0.12) * h),
                )
                cv2.line(out, a, b, skin.tolist(), int(0.05 * h), cv2.LINE_AA)
                edge = [(x, y + int(0.027 * h)) for x, y in (a, b)]
                cv2.line(out, *edge, (skin * 0.7).tolist(), 2, cv2.LINE_AA)
        case "mask":
            shape = np.array(
                [[0.32, 0.58], [0.5, 0.52], [0.68, 0.58], [0.66, 0.78], [0.5, 0.88], [0.34, 0.78]]
            )
            cv2.fillPoly(
                out, [(shape * h).astype(int)], (160, 190, 215) if random.random() < 0.5 else (40, 40, 40)
            )
        case "sunglasses":
            for side in (-1, 1):
                at = (int(middle + side * 0.1 * h), int(eyes))
                cv2.ellipse(out, at, (int(0.085 * h), int(0.065 * h)), 0, 0, 360, (15, 15, 20), -1)
        case "hair":
            side = random.choice([-1, 1])
            for _ in range(40):
                x, shade = middle + side * random.uniform(0.02, 0.22) * h, int(random.integers(20, 60))
                ends = (int(x), int(0.15 * h)), (int(x + random.normal() * 8), int(0.66 * h))
                cv2.line(out, *ends, (shade, shade, shade), 3, cv2.LINE_AA)
        case "blur":
            out = cv2.GaussianBlur(out, (0, 0), random.uniform(3, 5))
        case "motion":
            size, angle = int(random.uniform(15, 25)), random.uniform(0, np.pi)
            kernel, way = (
                np.zeros((size, size), np.float32),
                size / 2 * np.array([np.cos(angle), np.sin(angle)]),
            )
            cv2.line(kernel, *[tuple((size / 2 + s * way).astype(int).tolist()) for s in (-1, 1)], 1.0)
            out = cv2.filter2D(out, -1, kernel / kernel.sum())
        case "dark":
            out = (out * random.uniform(0.06, 0.14)).astype(np.uint8)
        case "bright":
            out = np.clip(out * random.uniform(4, 6), 0, 255).astype(np.uint8)
        case "small":
            size = int(random.uniform(44, 60))
            out = cv2.resize(
                cv2.resize(out, (size, size), interpolation=cv2.INTER_AREA),
                (h, h),
                interpolation=cv2.INTER_CUBIC,
            )
        case "cut":
            width, side = int(random.uniform(0.42, 0.52) * h), random.integers(3)
            out[(np.s_[:, :width], np.s_[:, -width:], np.s_[int(0.62 * h) :])[side]] = 0
        case "noise":
            out = np.clip(out + random.normal(size=out.shape) * 35, 0, 255).astype(np.uint8)
    return out
